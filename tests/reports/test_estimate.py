from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.reports.estimate import (
    NOTHING,
    Estimate,
    Event,
    Kind,
    Plan,
    Seconds,
    in_words,
    size_in_words,
    time_in_words,
    times,
)

START = Seconds(10.0, 5.0)
PLAN = Plan(10, 2, 0.5, 60)


def events(*kinds: tuple[Kind, float]) -> list[Event]:
    return [Event(kind, Seconds(seconds, seconds / 2)) for kind, seconds in kinds]


def epoch(steps: int, batches: int, first: float = 2.0, between: float = 0.25) -> list[Event]:
    """One whose parts are known: steps of 1 s but for the first, batches of 3 s, 4 s for the first."""
    validation = [("rank", 0.5), ("ranked", 4.0), *[("ranked", 3.0)] * (batches - 1), ("figures", 0.75)]
    return events(("epoch", between), ("step", first), *[("step", 1.0)] * (steps - 1), *validation, ("end", 0.5))


@given(steps=st.integers(2, 9), batches=st.integers(2, 9))
def test_two_whole_epochs_foretell_the_next_ones(steps: int, batches: int) -> None:
    watched = [*epoch(steps, batches, first=7.0, between=0.0), *epoch(steps, batches)]
    found = times(START, watched, Plan(steps, batches, 1.0, 10))
    whole = sum(event.took.wall for event in epoch(steps, batches))
    assert found.epoch.wall == pytest.approx(whole) and found.epoch.cpu == pytest.approx(whole / 2)
    assert found.step.wall == pytest.approx(1.0)
    assert found.start.wall == pytest.approx(10 + 7 - 1)
    assert (found.steps, found.batches) == (2 * steps, 2 * batches)


@given(steps=st.integers(2, 50), batches=st.integers(2, 50), more=st.integers(1, 10))
def test_a_part_of_an_epoch_foretells_the_whole(steps: int, batches: int, more: int) -> None:
    found = times(START, epoch(steps, batches), Plan(steps * more, batches * more, 1.0, None))
    validation = 0.5 + 4.0 + 3.0 * (batches * more - 1) + 0.75 * more  # the figures are of more users
    assert found.validation.wall == pytest.approx(validation)
    assert found.epoch.wall == pytest.approx(steps * more + validation + 0.5)


def test_validations_in_mid_epoch_and_in_every_second_one() -> None:
    [begin, *steps, rank, one, two, figures, end] = epoch(4, 2)
    late = Event("step", Seconds(30.0, 1.0))  # with a checkpoint of the validation before it
    watched = [begin, *steps, rank, one, two, figures, late, *steps[1:], rank, one, two, figures, end]
    found = times(NOTHING, watched, Plan(8, 2, 2.0, 1))
    assert found.step.wall == 1.0
    assert found.epoch.wall == pytest.approx(8 + 2 * 8.25 + 0.5)
    assert times(NOTHING, watched, Plan(8, 2, 0.5, 1)).epoch.wall == pytest.approx(8 + 0.5 * 8.25 + 0.5)


def test_a_single_step_and_no_validation_tell_what_they_can() -> None:
    found = times(START, events(("epoch", 0.0), ("step", 3.0), ("end", 0.0)), Plan(2, 0, 0.0, 5))
    assert found.epoch.wall == 6.0 and found.validation == NOTHING and found.steps == 1


def estimate(peak: int | None = 700_000_000, plan: Plan | None = PLAN) -> Estimate:
    memory = {"program and libraries": 500_000_000, "a training step, on top": None}
    found = None if plan is None else times(START, epoch(10, 2), plan)
    solve = {} if plan else {"solving": Seconds(90.0, 30.0)}
    return Estimate("MF", "a world", "cpu, 32-true", memory, peak, 10**9, plan, found, solve, ("So it is.",))


def test_in_words() -> None:
    text = in_words(estimate())
    assert "MF on a world; cpu, 32-true" in text and text.endswith("So it is.")
    assert "700 MB of 1.0 GB available: fits" in text and "not known" in text
    assert "once in 2 epochs" in text and "60 epochs and the start" in text
    assert "does not fit" in in_words(estimate(peak=2 * 10**9))
    assert "available" not in in_words(estimate(peak=None)).replace("1.0 GB available: ", "")
    assert "epochs and the start" not in in_words(estimate(plan=Plan(10, 2, 1.0, None)))
    solved = in_words(estimate(plan=None))
    assert "solving" in solved and "30 s of CPU" in solved


def test_as_json() -> None:
    found = json.loads(json.dumps(estimate().to_dict()))
    assert found["fits"] is True and found["peak"] == 700_000_000
    epochs, start = found["times"]["epoch"]["wall"], found["times"]["start"]["wall"]
    assert found["total"]["wall"] == pytest.approx(60 * epochs + start)
    assert json.loads(json.dumps(estimate(plan=None).to_dict()))["total"] == {"wall": 90.0, "cpu": 30.0}
    assert estimate(peak=None).to_dict()["fits"] is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12.3 ms"), (0.45, "450 ms"), (2.345, "2.35 s"), (99.4, "99.4 s"), (795, "13 min 15 s"),
     (7260, "2 h 1 min"), (10 * 86400, "10.0 days")],
)  # fmt: skip
def test_times_have_units(seconds: float, text: str) -> None:
    assert time_in_words(seconds) == text


def test_sizes_have_units() -> None:
    assert [size_in_words(size) for size in (1_850_000, 528 * 10**6, 20_800_000_000)] == ["1.9 MB", "528 MB", "20.8 GB"]
