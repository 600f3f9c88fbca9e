from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_lightning.reports.run.blocks import Plot, Remark, Table
from recsys_lightning.reports.run.page import write_pages
from recsys_lightning.reports.run.swap import section_of, sentences, terminal, verdict
from recsys_lightning.reports.run.values import Values
from tests.reports.run import runs

BETTER, UNSURE, WORSE = (0.01, 0.005, 0.015), (0.001, -0.002, 0.004), (-0.01, -0.02, -0.001)


def less(mean: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"mean": mean, "low": low, "high": high}


def domain(name: str = "movie", others: Any = BETTER, user: Any = BETTER, shift: Any = BETTER, **changes: Any) -> Any:
    differences = {"others": less(*others), "user": less(*user), "shift": less(*shift)}
    ndcg = {"condition": 0.05, **{side: 0.05 - one["mean"] for side, one in differences.items()}}
    described = {"beyond_mean": 0.4, "identified": 0.97, "cosine": 0.9, "cosine_centred": 0.8}
    described |= {"jacobian": 1.1, "jacobian_beyond": 0.3}
    figures = {"users": 1234, "ndcg": {"5": ndcg}, "less": {"5": differences}}
    return {"name": name, **figures, **described} | changes


def found(*domains: Any) -> Values:
    pairs = [{"domains": ["movie", "book"], "cosine": 0.5, "cosine_centred": 0.4, "cka": 0.3}]
    return Values({"k": [5], "compared": 1000, "domains": list(domains), "pairs": pairs}, Path("swap.json"))


def said(entry: Any) -> str:
    values = found(entry)
    return verdict(next(iter(values["domains"])), values)


def test_a_domain_passes_where_it_is_better_than_all() -> None:
    sentence = said(domain())
    assert sentence.startswith(
        "movie passes in this training: its condition (ndcg@5 0.0500, 1,234 users) is better than "
    )
    assert "better than user vectors (0.0400; +0.0100, +0.0050 to +0.0150)" in sentence and "not shown" not in sentence


@pytest.mark.parametrize("side", ["others", "user", "shift"])
@pytest.mark.parametrize(("value", "words"), [(UNSURE, "not shown to be better than"), (WORSE, "worse than")])
def test_one_claim_that_fails_fails_the_domain(side: str, value: Any, words: str) -> None:
    sentence = said(domain(**{side: value}))
    named = {"others": "conditions of other", "user": "user vectors (", "shift": "user vectors moved by the mean shift"}
    assert sentence.startswith("movie FAILS") and f"{words} {named[side]}" in sentence
    assert sentence.count("better than") == 3 - (words == "worse than")


def test_the_gaps_are_told_as_shares_of_the_ndcg_of_user_vectors() -> None:
    own = domain(others=(0.002, 0.001, 0.003), user=(0.01, 0.005, 0.015), shift=(0.03, 0.02, 0.04))
    assert "The gaps are +5.0%, +25.0% and +75.0% of the ndcg of user vectors." in said(own)
    section = section_of(found(own))
    assert section is not None
    table = next(block for panel in section.panels for block in panel.blocks if isinstance(block, Table))
    assert table.rows[0][-1] == "+5.0%, +25.0%, +75.0%" and table.header[-1] == "gaps by user vector's"
    assert "+5.0%, +25.0%, +75.0%" in terminal(found(own))


def test_there_are_no_shares_of_nothing() -> None:
    own = domain()
    own["ndcg"]["5"]["user"] = 0.0
    assert "The gaps" not in said(own) and terminal(found(own))


def test_the_best_of_several_others_is_named() -> None:
    sentence = said(domain(best_other={"5": "song"}))
    assert "better than the condition of song, the best of other domains' (0.0400; +0.0100" in sentence
    assert "best of other" not in said(domain(best_other={"5": ""}))


def test_sentences_are_the_verdicts_and_whether_they_speak_against_the_model() -> None:
    values = found(domain(), domain("book", user=UNSURE), {"name": "song", "users": 0})
    verdicts = [verdict(entry, values) for entry in values["domains"]]
    against = [False, True, True]
    assert sentences(values) == [{"text": t, "against": a} for t, a in zip(verdicts, against, strict=True)]


def test_an_end_at_zero_is_not_above_it() -> None:
    assert said(domain(user=(0.01, 0.0, 0.02))).startswith("movie FAILS")


def test_too_few_users_prove_nothing() -> None:
    sentence = said(domain(user=(0.01, None, None), users=1))
    assert "FAILS" in sentence and "too few users for an interval" in sentence
    assert said({"name": "book", "users": 0}) == "book was not tested: no user has test rows there."


def test_a_shift_for_everybody_is_called_so() -> None:
    assert "nearly one shift for everybody: 2.0% of it is their own" in said(domain(beyond_mean=0.02))
    assert "shift for everybody" not in said(domain())


def test_the_terminal_counts_what_passes() -> None:
    text = terminal(found(domain(), domain("book", user=UNSURE), {"name": "song", "users": 0}))
    assert text.endswith("Swap test: 1 of 3 domains pass.")
    assert text.index("movie passes") < text.index("book FAILS") < text.index("song was not tested")


def test_the_page_has_it(tmp_path: Path) -> None:
    section = section_of(found(domain(), domain("book", user=UNSURE), {"name": "song", "users": 0}))
    assert section is not None
    blocks = [block for panel in section.panels for block in panel.blocks]
    assert sum(isinstance(block, Remark) for block in blocks) == 3
    assert sum(isinstance(block, Plot) for block in blocks) == 2
    assert [len(block.rows) for block in blocks if isinstance(block, Table)] == [3, 3, 1]
    folder = runs.tested(tmp_path)
    runs.write(folder / "swap.json", found(domain(), domain("book", user=UNSURE)).value)
    markdown, html = (file.read_text() for file in write_pages(folder))
    assert "\n## Swap test\n" in markdown and "book FAILS" in markdown and "+0.0010, -0.0020 to +0.0040" in html


def test_a_run_without_one_has_no_section(tmp_path: Path) -> None:
    assert section_of(Values(None, Path("swap.json"))) is None
    assert "Swap test" not in write_pages(runs.tested(tmp_path), html=False)[0].read_text()
