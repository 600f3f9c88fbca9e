"""What a training will take, out of what its first steps took: arithmetic and words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

Kind = Literal["epoch", "step", "rank", "ranked", "figures", "end"]
MB, GB = 10**6, 10**9
FEW = 4
"""Steps that are all of them counted."""


class Seconds(NamedTuple):
    """A duration."""

    wall: float
    cpu: float  # of all threads

    def __add__(self, other: Any) -> Seconds:
        """Both, one after the other."""
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def times(self, factor: float) -> Seconds:
        """So many of it."""
        return Seconds(self.wall * factor, self.cpu * factor)


NOTHING = Seconds(0.0, 0.0)


class Event(NamedTuple):
    """Something ended in a training, and how long it took since what ended before it.

    Kinds: `epoch` what lies between epochs; `step`; `rank` what comes before a validation; `ranked` a batch of it, the
    first with what the model encodes; `figures` its metrics; `end` what is left of an epoch, checkpoints above all.
    """

    kind: Kind
    took: Seconds


class Plan(NamedTuple):
    """How much of everything a whole training has.

    Attributes:
        steps: batches of an epoch on each device.
        batches: of a validation, likewise.
        validations: in an epoch; less than 1 where not every epoch has one.
        epochs: at most; None without an end.
    """

    steps: int
    batches: int
    validations: float
    epochs: int | None


class Times(NamedTuple):
    """How long the parts of a training take.

    Attributes:
        start: until the first step: importing, data, and what only the first step does.
        step: one of training.
        validation: one, with checkpoints behind it.
        epoch: one, validation included.
        steps: of training that were measured.
        batches: of validations that were.
    """

    start: Seconds
    step: Seconds
    validation: Seconds
    epoch: Seconds
    steps: int
    batches: int


def times(start: Seconds, events: Sequence[Event], plan: Plan) -> Times:
    """Durations of a whole training by those of its beginning.

    The first step of all belongs to the start. The first steps of later epochs say what beginning an epoch takes; so
    do steps behind a validation in mid-epoch, which are not counted as steps.
    """
    found: dict[str, list[Seconds]] = {"step": [], "first": [], "ranked": [], "encoded": []}
    before: Kind = "epoch"
    once: Seconds | None = None
    for kind, took in events:
        name: str = kind
        if kind == "step" and before != "step":
            if once is None:
                once, name = took, ""
            else:
                name = "first" if before == "epoch" else ""
        elif kind == "ranked" and before == "rank":
            name = "encoded"
        if name:
            found.setdefault(name, []).append(took)
        before = kind
    step = _usual(found["step"] or found["first"] or [once or NOTHING])
    excess = _less(_mean(found["first"]), step) if found["first"] else NOTHING
    validation = NOTHING
    if found["encoded"]:
        encoded, ranked = _mean(found["encoded"]), _mean(found["ranked"] or found["encoded"])
        seen = (len(found["ranked"]) + len(found["encoded"])) / len(found["encoded"])
        figures = _mean(found.get("figures", [])).times(plan.batches / seen)
        validation = _mean(found.get("rank", [])) + encoded + ranked.times(plan.batches - 1) + figures
    end = _mean(found.get("end", [])) + _mean(found.get("epoch", [])[1:])
    epoch = step.times(plan.steps) + excess + validation.times(plan.validations) + end
    started = start + (_less(once, step) if once else NOTHING) + (found.get("epoch") or [NOTHING])[0]
    counted = len(found["step"]) + len(found["first"]) + (once is not None)
    return Times(started, step, validation, epoch, counted, len(found["ranked"]) + len(found["encoded"]))


def _mean(values: Sequence[Seconds]) -> Seconds:
    return sum(values, NOTHING).times(1 / len(values)) if values else NOTHING


def _usual(values: Sequence[Seconds]) -> Seconds:
    """The mean without the slowest tenth: what happens now and then would weigh too much among few."""
    kept = len(values) - max(len(values) // 10, len(values) > FEW)
    walls, cpus = (sorted(side)[:kept] for side in zip(*values, strict=True))
    return Seconds(sum(walls) / kept, sum(cpus) / kept)


def _less(one: Seconds, other: Seconds) -> Seconds:
    return Seconds(max(0.0, one.wall - other.wall), max(0.0, one.cpu - other.cpu))


class Estimate(NamedTuple):
    """What a training will take.

    Attributes:
        model: name of the network.
        data: users, items and rows in words.
        device: and precision, in words.
        memory: bytes by part, in the order in which they are shown; None where the system does not tell.
        peak: the most bytes at a time; likewise.
        available: bytes that were, before anything was made of the data; likewise.
        plan: how much of everything there is; None of a closed form.
        times: None of a closed form that was not solved.
        solve: of a closed form: solving it, and ranking for the test.
        notes: sentences.
    """

    model: str
    data: str
    device: str
    memory: dict[str, int | None]
    peak: int | None
    available: int | None
    plan: Plan | None
    times: Times | None
    solve: dict[str, Seconds]
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool | None:
        """Whether the memory that is there suffices; None where it is not known."""
        return None if self.peak is None or self.available is None else self.peak <= self.available

    def to_dict(self) -> dict[str, Any]:
        """For JSON: bytes and seconds."""
        total = _total(self)
        return {
            **{name: getattr(self, name) for name in ("model", "data", "device", "memory", "peak", "available")},
            "fits": self.fits,
            "plan": self.plan and self.plan._asdict(),
            "times": self.times and {name: _plain(value) for name, value in self.times._asdict().items()},
            "solve": {name: _plain(value) for name, value in self.solve.items()},
            "total": total and _plain(total),
            "notes": list(self.notes),
        }


def in_words(estimate: Estimate) -> str:
    """All of it for a terminal."""
    lines = [f"{estimate.model} on {estimate.data}; {estimate.device}", "", "memory"]
    lines += [f"  {name:<28}{size_in_words(size):>12}" for name, size in estimate.memory.items()]
    there = "" if estimate.available is None else f" of {size_in_words(estimate.available)} available: "
    fits = {None: "", True: "fits", False: "does not fit"}[estimate.fits]
    lines += [f"  {'at most at a time':<28}{size_in_words(estimate.peak):>12}{there}{fits}", "", "time"]
    lines += [f"  {name:<28}{time_in_words(took.wall):>12}{more}" for name, took, more in _rows(estimate)]
    return "\n".join([*lines, "", *estimate.notes]) if estimate.notes else "\n".join(lines)


def _rows(estimate: Estimate) -> Iterator[tuple[str, Seconds, str]]:
    plan, found = estimate.plan, estimate.times
    if plan is not None and found is not None:
        yield "until the first step", found.start, "  data from the cache, if they lie there by now"
        yield "a step", found.step, f"  {plan.steps:,} in an epoch"
        if plan.validations:
            often = f", once in {1 / plan.validations:g} epochs" if plan.validations < 1 else ""
            yield (
                "a validation",
                found.validation,
                f"  {plan.batches:,} batch{'es' * (plan.batches != 1)} of users{often}",
            )
        yield "an epoch", found.epoch, f"  {time_in_words(found.epoch.cpu)} of CPU"
        if (total := _total(estimate)) is not None:
            yield f"{plan.epochs:,} epochs and the start", total, "  at most: early stopping may end it before"
    for name, took in estimate.solve.items():
        yield name, took, f"  {time_in_words(took.cpu)} of CPU"


def _total(estimate: Estimate) -> Seconds | None:
    if estimate.plan is None or estimate.times is None:
        return sum(estimate.solve.values(), NOTHING) if estimate.solve else None
    epochs = estimate.plan.epochs
    return None if epochs is None else estimate.times.start + estimate.times.epoch.times(epochs)


def _plain(value: Seconds | int) -> Any:
    return value._asdict() if isinstance(value, Seconds) else value


def size_in_words(size: int | None) -> str:
    """Bytes with a unit."""
    if size is None:
        return "not known"
    if size < GB:
        return f"{size / MB:,.1f} MB" if size < 100 * MB else f"{size / MB:,.0f} MB"
    return f"{size / GB:,.1f} GB"


def time_in_words(seconds: float) -> str:
    """Seconds with units, two of them at most."""
    if seconds < 1:
        return f"{seconds * 1000:,.3g} ms" if seconds < 0.0995 else f"{seconds * 1000:,.0f} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, hours = math.ceil(seconds / 60), math.ceil(seconds / 3600)
    if minutes < 100:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min" if hours < 100 else f"{seconds / 86400:,.1f} days"
