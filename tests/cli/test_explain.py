from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from recsys_lightning.cli.explain import in_words
from recsys_lightning.explain.explanation import Attention, Effect, Explanation, Fidelity, Influence, Share
from tests.conftest import Recsys

WORLD = [
    *("--data", "MovieTweetings", "--data.recipe.split", "random", "--data.recipe.limit_users", "300"),
    *("--model", "Ranking", "--trainer.accelerator", "cpu"),
]
EASE = [*WORLD, "--model.recommender", "EASE"]


@pytest.fixture(scope="module")
def user() -> str:
    """Who has the most."""
    from recsys_lightning.cli.advice import ask

    advisor = ask(EASE, None, "explain").advisor
    return advisor.catalogue.users[int(advisor.views.train.degree.argmax())]


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_help_names_every_explainer(recsys: Recsys, words: list[str]) -> None:
    from recsys_lightning.explain.advisor import EXPLAINERS

    outcome = recsys("explain", *words)
    assert outcome.status == 0
    assert set(EXPLAINERS) <= set(outcome.out.split())
    assert "minutes for ten items: use --item" in outcome.out and "the edges in question" in outcome.out
    assert all(option in outcome.out for option in ("--item ID", "--fidelity", "--page FILE", "--json", "--user ID"))


def test_the_ten_best_are_explained_in_words(recsys: Recsys, user: str) -> None:
    listed = recsys("recommend", *EASE, "--user", user, "--json")
    lines = json.loads(listed.out)["recommendations"]
    outcome = recsys("explain", *EASE, "--user", user, "--fidelity")
    assert outcome.status == 0, outcome.err
    heads = [line for line in outcome.out.splitlines() if line and not line.startswith(" ")]
    assert len(heads) == 11 and heads[-1].startswith("exact: The values are parts of the score")
    for line, head in zip(lines, heads, strict=False):
        assert head == f"{line['title']} [{line['item']}]: rank {line['rank']}, score {line['score']:.4f}"
    assert outcome.out.count("  without the first 5 of these: rank ") == 10


def test_json_is_all_that_is_printed(recsys: Recsys, user: str) -> None:
    item = json.loads(recsys("recommend", *EASE, "--user", user, "--json").out)["recommendations"][2]["item"]
    outcome = recsys("explain", *EASE, "--user", user, "--item", item, "--explainer", "integrated_gradients", "--json")
    found = json.loads(outcome.out)
    (one,) = found["explanations"]
    assert found["user"] == user and (one["item"], one["rank"], one["explainer"]) == (item, 3, "integrated_gradients")
    assert sum(effect["value"] for effect in one["effects"]) + one["rest"] == pytest.approx(one["score"], abs=1e-5)


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_a_page(recsys: Recsys, user: str, tmp_path: Path, suffix: str) -> None:
    page = tmp_path / f"page.{suffix}"
    outcome = recsys("explain", *EASE, "--user", user, "--page", page)
    assert outcome.status == 0, outcome.err
    assert outcome.last_line == str(page)
    text = page.read_text(encoding="utf-8")
    assert user in text and "2013-" in text


def test_a_page_that_cannot_be_is_refused_before_the_model_is_made(
    recsys: Recsys, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "page.html"
    folder.mkdir()
    monkeypatch.setattr("recsys_lightning.cli.advice.ask", None)
    outcome = recsys("explain", *EASE, "--user", user, "--page", folder)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"The page {folder} cannot be written: that is a folder. Name a file in it." in outcome.err
    assert not list(folder.iterdir())


def test_the_explanation_is_told_although_the_page_fails(
    recsys: Recsys, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full)
    outcome = recsys("explain", *EASE, "--user", user, "--page", tmp_path / "pages" / "page.html")
    assert outcome.status == 2 and "No space left on device" in outcome.err
    assert outcome.last_line.startswith("exact: ") and not list((tmp_path / "pages").iterdir())


def test_an_item_that_the_user_has_is_not_measured(recsys: Recsys, user: str) -> None:
    from recsys_lightning.cli.advice import ask

    advisor = ask(EASE).advisor
    index = advisor.catalogue.user(user)
    item = advisor.catalogue.items[int(advisor.views.train.select(torch.tensor([index]))[1][0])]
    outcome = recsys("explain", *EASE, "--user", user, "--item", item, "--fidelity")
    assert outcome.status == 0, outcome.err
    assert "  the user has it, so it is not ranked and nothing is measured by taking edges away" in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--user", "nobody"], "There is no user 'nobody' among the "),
        (["--user", "USER", "--item", "-1"], "There is no movie '-1' among the "),
        (["--user", "USER", "--explainer", "shap"], "There is no explainer shap; there are exact, contrast, occlusion"),
        (
            ["--user", "USER", "--page", "page.pdf"],
            "The page page.pdf cannot be written: its name must end in .html or .md.",
        ),
        (["--item", "1"], "Say for whom: recsys explain --user ID"),
        (["--user", "USER", "--ckpt_path", "no.ckpt"], "There is no checkpoint no.ckpt."),
        (
            ["--user", "USER", "--model.recommender", "Popularity", "--explainer", "gnn"],
            "Popularity cannot be explained",
        ),
        (
            ["--user", "USER", "--model.recommender", "HybridRecommender", "--model.recommender.views", "graph"],
            "HybridRecommender reads histories, and no explainer takes these apart yet: `recsys recommend` works.",
        ),
    ],
)
def test_what_is_wrong_is_said(recsys: Recsys, user: str, words: list[str], message: str) -> None:
    outcome = recsys("explain", *EASE, *(user if word == "USER" else word for word in words))
    assert outcome.status == 2
    assert message in outcome.err and "Traceback" not in outcome.err and not outcome.out


def test_all_that_an_explanation_can_say() -> None:
    influence = Influence(0.25, 0.1, (Share("Drama", 0.4, 0.5, 0.35),), 7 * (Share("War", 0.0, 0.5, -0.1),))
    effects = tuple(Effect("rates", "u", f"m{n}", f"Movie {n}", 0.7 - n / 10) for n in range(8))
    full = Explanation(
        user="u",
        item="a",
        title="Alien",
        score=3.5,
        rank=2,
        terms={"base": 3.25, "genre": 0.25},
        explainer="exact",
        meaning="Parts.",
        effects=(*effects, Effect("has_genre", "a", "Drama", "Drama", 0.65)),
        rest=0.5,
        attention=(Attention("m1", "Movie 1", 0.25, (0.2, 0.3)),),
        influences={"genre": influence},
        fidelity=Fidelity(5, 1.0, 31, 3.0, 2.5),
    )
    bare = Explanation("u", "b", "Brazil", 1.0, None, {"base": 1.0}, "exact", (), meaning="Parts.")
    silent = Explanation("u", "c", "Cube", 1.0, 4, {"base": 1.0}, "exact", effects[:1], meaning="Parts.")
    few = Explanation(
        **{**vars(silent), "title": "Dune", "item": "d", "fidelity": Fidelity(1, 0.5, 9, None, None)},
    )
    assert in_words([full, bare, silent, few], fidelity=True) == "\n".join(
        [
            "Alien [a]: rank 2, score 3.5000 = +3.2500 base +0.2500 genre",
            "  +0.7000  Movie 0",
            "  +0.6000  Movie 1",
            "  +0.5000  Movie 2",
            "  +0.4000  Movie 3",
            "  +0.3000  Movie 4",
            "  +0.9500  4 others",
            "  +0.5000  the rest",
            f"  genre +0.2500, weight 0.10; of the user: Drama +0.3500; new to the user: {5 * 'War -0.1000, '}2 more",
            "  attention: Movie 1 25%",
            "  without the first 5 of these: rank 31, score 1.0000; without 5 random ones of "
            "the edges of the user and of the item's attributes: rank 2.5, score 3.0000",
            "",
            "Brazil [b]: the user has it, score 1.0000",
            "  the user has it, so it is not ranked and nothing is measured by taking edges away",
            "",
            "Cube [c]: rank 4, score 1.0000",
            "  +0.7000  Movie 0",
            "  nothing to measure: nothing of these speaks for it",
            "",
            "Dune [d]: rank 4, score 1.0000",
            "  +0.7000  Movie 0",
            "  without the first 1 of these: rank 9, score 0.5000; these were all of the user's edges, so as many "
            "random ones would be the same",
            "",
            "exact: Parts.",
        ]
    )
