"""`recsys estimate`: what a training will take of memory and time, before it."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recsys_lightning.cli.own_options import OwnOptions
from recsys_lightning.errors import InputError
from recsys_lightning.reports.estimate import Estimate, Plan, Seconds, in_words, size_in_words, times

if TYPE_CHECKING:
    from recsys_lightning.batches import Views
    from recsys_lightning.cli.measure import Asked, MeasuringCLI, Stopwatch
    from recsys_lightning.models import Recommender

HELP = """\
recsys estimate --config FILE [options]: what `recsys fit` with the same words would take, before it

  --config FILE    an experiment; all options of `recsys fit` are known, e.g. --data.batch_size 8192
  --seconds N      measure so many seconds of training steps, 3 without
  --json           as JSON instead of words: bytes and seconds

It makes data and model as `recsys fit` does, trains and validates for some seconds, and reckons with the number of
steps, batches and epochs. Closed forms are solved, but for those that would take minutes. No run, checkpoint or log is
left, and nothing is sent; prepared data are cached, as `recsys data prepare` does. Times are those of this machine as
busy as it is now.
"""
LOGGERS = ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")
"""What they tell of a training is left out, as this is none."""
LONG = 60
"""Seconds of solving a closed form that are not waited for."""
TIGHT = 0.8
"""Share of the memory from which on advice is given."""
KNOBS = {
    "program and libraries": "end what else runs on the machine",
    "data, views and model": "take fewer items or users (data.recipe.item_core, user_core), a smaller "
    "model.recommender.dim, or a shorter data.history_length",
    "a training step, on top": "take a smaller data.batch_size, model.recommender.dim or number of layers, a fan_out "
    "where the model has one, or --trainer.precision bf16-mixed on a GPU",
    "a validation, on top": "take a smaller data.eval_batch_size",
}


def run(words: list[str]) -> None:
    """Carry out `recsys estimate`; `words` starts with it."""
    begin = Seconds(time.perf_counter(), time.process_time())
    options = words[1:]
    parser = OwnOptions("--seconds")
    parser.add_argument("--json", action="store_true")
    own, rest = parser.read(options)
    found = estimate(rest, _seconds(own.seconds), begin)
    print(json.dumps(found.to_dict(), indent=1) if own.json else in_words(found))


def _seconds(given: str | None) -> float:
    try:
        seconds = 3.0 if given is None else float(given)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3600:
        raise InputError(f"--seconds is {given}; it must be a number above 0, and 3600 at most.")
    return seconds


def estimate(options: list[str], seconds: float, begin: Seconds) -> Estimate:
    """What a training of these options will take.

    Args:
        options: of `recsys fit`.
        seconds: of training steps to measure.
        begin: what `time.perf_counter` and `time.process_time` said when the program began.
    """
    from recsys_lightning import host
    from recsys_lightning.cli.measure import Clock, MeasuringCLI, Stopwatch, cut_validation
    from recsys_lightning.cli.trainer import make_cli
    from recsys_lightning.models.memory import available

    with tempfile.TemporaryDirectory(prefix="recsys-estimate-") as folder, _quiet():
        MeasuringCLI.folder = folder
        MeasuringCLI.stopwatch = Stopwatch(Clock(begin), seconds)
        cli: Any = make_cli(options, run=False, kind=MeasuringCLI)
        device = cli.trainer.strategy.root_device
        free, program = available(device), host.resident() if device.type == "cpu" else 0
        if device.type == "cpu" and free is not None and program is not None:
            free += program  # what it holds by now is part of the peak
        cli.datamodule.trainer = cli.trainer
        cli.datamodule.prepare_data()
        cli.datamodule.setup("fit")
        model = _model_of(cli)
        cut_validation(cli.datamodule, seconds, model.closed_form)
        kind = _closed if model.closed_form else _trained
        try:
            return kind(cli, model, program, free)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            advice = "; ".join(list(KNOBS.values())[1:])
            there = "" if free is None else f", of which {size_in_words(free)} were there"
            raise InputError(
                f"The training does not fit in the memory of {device}{there}. To mend it: {advice}."
            ) from error


def _model_of(cli: MeasuringCLI) -> Recommender:
    """The model without its parameters, which may not fit; refuses those that do not."""
    import torch

    from recsys_lightning.models.memory import require

    schema, make = cli.datamodule.schema, cli.model.make_recommender
    try:
        with torch.device("meta"):
            model: Recommender = make(schema)
    except (NotImplementedError, RuntimeError):  # one that computes with its parameters as it is made
        model = make(schema)
    sizes = sum(one.numel() * one.element_size() for one in model.parameters())
    device, name = cli.trainer.strategy.root_device, type(model).__name__
    advice = "Take a smaller dim, or fewer items or users (data.recipe.item_core, user_core)."
    require(4 * sizes, device, f"{name}: its parameters, their gradients and Adam's two moments", advice)
    return model


def _trained(cli: Any, model: Recommender, program: int | None, free: int | None) -> Estimate:
    """Train for a while."""
    cli.trainer.fit(cli.model, cli.datamodule)
    watch: Stopwatch = cli.stopwatch
    plan = _whole(watch.plan, cli.asked)
    held, sizes = watch.held, watch.sizes
    before = held.get("before")
    memory = {
        "program and libraries": program,
        "data, views and model": _difference(before, program),
        "  of it views": sizes["views"],
        "  of it parameters": sizes["parameters"],
        "a training step, on top": _difference(held.get("training"), before),
        "  of it gradients": sizes["gradients"],
        "  of it the optimizer's state": sizes["optimizer"],
        "a validation, on top": _difference(held.get("ranking"), before),
    }
    known = [size for name, size in held.items() if name != "before" and size is not None]
    peak = max(known) if known else None
    found = times(watch.start, watch.events, plan)
    notes = [
        *_notes(cli, memory, peak, free),
        f"Measured over {found.steps} steps and {found.batches} batches of users.",
    ]
    return Estimate(*_about(cli, model), memory, peak, free, plan, found, {}, tuple(notes))


def _closed(cli: Any, model: Recommender, program: int | None, free: int | None) -> Estimate:
    """Solve, and rank a part."""
    from recsys_lightning.cli.measure import bytes_of
    from recsys_lightning.models.memory import forget_peak, peak, resident
    from recsys_lightning.schema import TEST, VAL

    data, watch, device = cli.datamodule, cli.stopwatch, cli.trainer.strategy.root_device
    if not data.holds(VAL) and not data.holds(TEST):
        raise InputError(
            "There are no val or test rows, so nothing would be ranked: set data.recipe.test, e.g. to 0.1."
        )
    views = data.fitting_views.to(device)
    before, foreseen = resident(device), seconds_of_solving(model, views)
    there = {"program and libraries": program, "data, views and model": _difference(before, program)}
    if foreseen is not None and foreseen > LONG:
        note = "It was not solved, as that would take so long; the time is that of a smaller matrix, by its cube."
        needed = dict(model.estimate_memory(views, data.batch_size) or {})
        total = needed.pop("total", None)
        most = None if total is None or before is None else before + total
        solve = {"solving": Seconds(foreseen, foreseen)}
        return Estimate(*_about(cli, model), {**there, **needed}, most, free, None, None, solve, (note,))
    forget_peak(device)
    watch.clock.lap()
    cli.trainer.validate(cli.model, data, verbose=False)
    most = peak(device)
    batches = len(data.ranking_loader(TEST if data.holds(TEST) else VAL))
    first, *others = [took for kind, took in watch.events if kind == "ranked"]
    figures = sum((took for kind, took in watch.events if kind == "figures"), Seconds(0, 0))
    each = sum(others, Seconds(0, 0)).times(1 / max(1, len(others)))
    solving = first + each.times(-1)
    ranking = each.times(batches) + figures.times(batches / (1 + len(others)))
    memory = {
        **there,
        "  of it views": bytes_of(views),
        "solving and ranking, on top": _difference(most, before),
        "  of it what stays": bytes_of(cli.model.recommender),
    }
    notes = (*_notes(cli, memory, most, free), "There is nothing to fit: this is what `recsys test` takes.")
    solve = {"solving": solving, "ranking for the test": ranking}
    return Estimate(*_about(cli, model), memory, most, free, None, None, solve, notes)


def seconds_of_solving(model: Recommender, views: Views) -> float | None:
    """How long EASE takes on many items, by the cube of what a smaller matrix takes; None of all others."""
    import torch

    from recsys_lightning.models.ease import BLOCK, EASE, negative_inverse
    from recsys_lightning.models.sparse import cooccurrence

    size = 2 * BLOCK
    if not isinstance(model, EASE) or views.num_items <= 2 * size:
        return None

    def took(act: Any) -> float:
        begin = time.perf_counter()
        act()
        if views.device.type == "cuda":
            torch.cuda.synchronize(views.device)
        return time.perf_counter() - begin

    matrix = torch.eye(size, device=views.device) * 2
    block = torch.arange(BLOCK, device=views.device)
    cooccurrence(views, block[:1])  # the transposed rows are made once
    inverse, gram = took(lambda: negative_inverse(matrix)), took(lambda: cooccurrence(views, block))
    return inverse * (views.num_items / size) ** 3 + gram * views.num_items / BLOCK


def _whole(plan: Plan, asked: Asked) -> Plan:
    """The plan of the training that is asked for, by that of the one that was measured."""
    steps = -(-plan.steps // asked.devices)
    batches = -(-plan.batches // asked.devices)
    validations = plan.validations / asked.every if asked.every else plan.validations
    epochs = asked.epochs
    if asked.steps is not None and steps:
        needed = -(-asked.steps // steps)
        epochs = needed if epochs is None else min(epochs, needed)
    return Plan(steps, batches, validations, epochs)


def _about(cli: Any, model: Recommender) -> tuple[str, str, str]:
    """Model, data and device in words."""
    schema, data = cli.datamodule.schema, cli.datamodule
    rows = len(data.fitting_views.train.col)
    words = f"{schema.name}, {schema.num_users:,} users, {schema.num_items:,} items, {rows:,} train rows"
    return type(model).__name__, words, f"{cli.trainer.strategy.root_device}, {cli.trainer.precision}"


def _notes(cli: Any, memory: dict[str, int | None], peak: int | None, free: int | None) -> Iterator[str]:
    asked: Asked = cli.asked
    if asked.devices > 1:
        yield (
            f"Measured on one of {asked.devices} devices, which share the steps; what they tell one another takes "
            "time on top. Memory is that of each."
        )
    if peak is not None and free is not None and peak > TIGHT * free:
        largest = max(KNOBS, key=lambda name: memory.get(name) or 0)
        yield f"Memory is tight. {largest[0].upper()}{largest[1:]} is most of it: {KNOBS[largest]}."


def _difference(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(0, one - other)


def _out_of_memory(error: RuntimeError) -> bool:
    """What torch raises on a GPU is a class of its own, on a CPU a sentence."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Lightning tells."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
