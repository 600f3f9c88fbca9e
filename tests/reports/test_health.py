from __future__ import annotations

from recsys_lightning.reports.health import Finding, in_words


def test_each_finding_has_its_line_in_its_group() -> None:
    found = [
        Finding("versions", "torch", "ok", "2.13"),
        Finding("places", "runs", "problem", "full " * 40 + "end"),
        Finding("versions", "lightning", "note", "old"),
    ]
    lines = in_words(found).splitlines()
    assert lines[0] == "versions" and lines[3:5] == ["", "places"]
    assert lines[1].split() == ["ok", "torch", "2.13"] and lines[2].split() == ["note", "lightning", "old"]
    assert lines[5].startswith("  problem  runs") and lines[6].startswith(" " * 10) and lines[-3].endswith("end")
    assert max(map(len, lines)) <= 120
    assert lines[-1] == "1 problem, 1 note"
    assert in_words(found[:1]).endswith("0 problems, 0 notes")
