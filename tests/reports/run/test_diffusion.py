from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.reports.run.blocks import Remark, Table
from recsys_lightning.reports.run.diffusion import diffusion, sentences
from recsys_lightning.reports.run.folder import read_run
from recsys_lightning.reports.run.html import page_html
from recsys_lightning.reports.run.page import page_of

Found = dict[str, Any]


def found(
    final: float = 0.0, spread: float = 0.3, steps: int = 20, p: float = 0.001, **differences: tuple[float, float]
) -> Found:
    """What checks find of one domain; differences by `of__against`, as the ends of their intervals."""
    names = {"tested": "as tested", "others": "other users' conditions", "nothing": "no condition"}
    compared = []
    for pair, (low, high) in differences.items():
        of, _, against = pair.partition("__")
        interval = {"mean": (low + high) / 2, "low": low, "high": high, "holm": p}
        compared.append({"of": names[of], "against": names.get(against, against), "domain": "book"} | interval)
    ways = [
        {"name": name, "domain": "book", "users": 9, "mean": 0.1, "low": 0.05, "high": 0.15}
        for name in (*names.values(), "Popularity", "EASE", "one step")
    ]
    return {
        "figure": "ndcg_10",
        "domains": ["book"],
        "schedule": {"timesteps": 100, "final_alpha_bar": final, "prediction": "v"},
        "sampler": {"steps": steps, "guidance": 2.0, "samples": 1, "seed": 0},
        "start": [{"domain": "book", "mean": 0.01, "std": 1.0, "spread": spread}],
        "ways": ways,
        "differences": compared,
        "notes": [],
    }


@pytest.mark.parametrize(
    ("case", "words", "against"),
    [
        (found(), "The schedule ends in noise: the final alpha-bar is 0.0000", False),
        (found(final=0.2), "does not end in noise: the final alpha-bar is 0.2000, above 0.05", True),
        (found(), "book: samples start from noise of mean 0.010 and deviation 1.000, which makes 30%", False),
        (found(spread=0.001), "the samples hardly depend on it", True),
        (found(steps=1), "it is a regressor", True),
        (found(others__Popularity=(-0.1, 0.1)), "it is not shown to differ from popularity", False),
        (found(others__Popularity=(-0.01, 0.026)), "it is not shown to differ from popularity", False),
        (found(others__Popularity=(-0.02, 0.02)), "it falls to popularity: the interval lies within 25 % of", False),
        (found(others__Popularity=(-0.2, -0.1)), "it falls below popularity, which is not its quality", False),
        (found(others__Popularity=(0.1, 0.2)), "it stays above", True),
        (found(others__Popularity=(0.1, 0.2), p=0.2), "it is not shown to differ from popularity", False),
        (found(others__Popularity=(-0.2, -0.1), p=0.2), "it is not shown to differ from popularity", False),
        (found(tested__others=(-0.1, 0.1)), "the users' own conditions are no better than those of others", True),
        (found(nothing__Popularity=(-0.2, -0.1)), "without conditions ndcg@10 is 0.1000", False),
        (found(tested__others=(0.1, 0.2), p=0.2), "the users' own conditions are no better than those of others", True),
        (
            found(tested__EASE=(0.1, 0.2)),
            "book: ndcg@10 0.1000 of this training beats EASE, 0.1000 (difference +0.1500, 95 %",
            False,
        ),
        (
            found(tested__EASE=(0.1, 0.2), p=0.2),
            "does not beat EASE, 0.1000 (difference +0.1500, 95 % interval +0.1000 to +0.2000): among so many "
            "comparisons the difference may be chance (p 0.2000 by Holm).",
            True,
        ),
        (found(tested__EASE=(0.1, 0.2)), "The 1 comparison is claimed at 5 % by Holm", False),
        (found(tested__EASE=(0.1, 0.2), tested__others=(0.1, 0.2)), "All 2 comparisons together are claimed", False),
        (found(spread=1.03), "which makes all of the variance of single samples", False),
        (found(spread=0.997), "which makes all of the variance of single samples", False),
        (found(tested__EASE=(-0.1, 0.2)), "does not beat EASE, 0.1000 (difference +0.0500, 95 % interval", True),
        (found(tested__EASE=(-0.2, -0.1)), "-0.2000 to -0.1000): it is worse.", True),
        (found(**{"tested__one step": (-0.1, 0.2)}), "does not beat the same network in one step", True),
    ],
)
def test_what_figures_mean_is_said(case: Found, words: str, against: bool) -> None:
    (sentence,) = [entry for entry in sentences(case) if words in entry["text"]]
    assert sentence["against"] == against


def test_a_share_of_variance_is_never_above_all() -> None:
    assert not any("103%" in entry["text"] for entry in sentences(found(spread=1.03)))


def test_guidance_on_test_rows_is_said_not_to_choose() -> None:
    case = found()
    assert not any("guidance" in entry["text"] for entry in sentences(case))
    sweep = [{"name": f"guidance {g}", "domain": "book", "users": 9, "mean": 0.2, "low": 0, "high": 1} for g in (1, 8)]
    (said,) = [entry for entry in sentences(case | {"ways": case["ways"] + sweep}) if "guidance" in entry["text"]]
    assert "guidance 1, guidance 8" in said["text"] and "test rows" in said["text"] and not said["against"]
    assert "choose guidance on val rows (`recsys validate`)" in said["text"]


def test_own_conditions_that_are_better_need_no_words() -> None:
    assert not any("no better" in entry["text"] for entry in sentences(found(tested__others=(0.1, 0.2))))


def test_a_domain_without_tested_users_and_a_floor_without_figures_are_said() -> None:
    case = found() | {"ways": [], "notes": ["EASE needs more memory."]}
    assert [entry["text"] for entry in sentences(case)][-2:] == ["book: nobody was tested.", "EASE needs more memory."]


def written(folder: Path, case: Found) -> Path:
    (folder / "metrics.json").write_text("{}")
    (folder / "checks.json").write_text(json.dumps(case | {"sentences": sentences(case)}))
    return folder


def test_the_section_shows_every_way_and_marks_what_speaks_against_the_model(tmp_path: Path) -> None:
    run = read_run(written(tmp_path, found(tested__EASE=(-0.2, -0.1), others__Popularity=(-0.1, 0.1))))
    section = diffusion(run)
    assert section is not None and "in 20 deterministic steps with guidance 2, 1 of each user" in section.about
    blocks = [block for panel in section.panels for block in panel.blocks]
    (remark,) = [block for block in blocks if isinstance(block, Remark)]
    assert "does not beat EASE" in remark.text
    ways, differences = [block for block in blocks if isinstance(block, Table)]
    assert len(ways.rows) == 6 and ways.rows[0][:2] == ("as tested", 0.1)
    assert differences.rows[0] == ("book", "as tested", "EASE", pytest.approx(-0.15), "-0.2000 to -0.1000", 0.001)
    assert "Does it diffuse" in page_html(page_of(run))


def test_runs_without_checks_have_no_section(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    assert diffusion(read_run(tmp_path)) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    run = read_run(written(tmp_path, found()))
    (tmp_path / "checks.json").write_text('{"ways": [3], "domains": ["book"]}')
    with pytest.raises(InputError, match=r"checks\.json is damaged: ways\[0\] is 3"):
        diffusion(run)
