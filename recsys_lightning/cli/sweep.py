"""Sweep files of W&B, as `recsys tune` reads them: what is searched, and how."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_lightning.cli.experiment import read_yaml
from recsys_lightning.errors import InputError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

KEYS = ("program", "command", "name", "description", "project", "entity")
"""Of a sweep file, for W&B alone."""
READ = ("method", "metric", "parameters", "early_terminate", "run_cap")
"""Of a sweep file, for both."""
METHODS = ("bayes", "random", "grid")
ENTRIES = {
    "constant": {"value"},
    "categorical": {"values"},
    "int_uniform": {"min", "max"},
    "uniform": {"min", "max"},
    "q_uniform": {"min", "max", "q"},
    "log_uniform": {"min", "max"},
    "log_uniform_values": {"min", "max"},
}
"""Distributions that both can draw from, with what each needs."""
WARM_UP = 3
"""Epochs in which the median rule stops no trial: the first ones say little of the last."""
FIRST = 5
"""Trials that the median rule lets end first."""
MOST_COMBINATIONS = 10**6
"""Of a grid."""
LARGEST = 1e300
"""Numbers may be as large: beyond, draws overflow."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep file asks for.

    Attributes:
        method: bayes, random or grid.
        metric: that selects.
        maximize: whether more of it is better.
        fixed: options with one value, by name.
        space: options to choose, by name.
        stop: `early_terminate` of the file; empty for none.
        run_cap: most trials; None for no limit.
    """

    method: str
    metric: str
    maximize: bool
    fixed: dict[str, object]
    space: dict[str, BaseDistribution]
    stop: dict[str, Any]
    run_cap: int | None

    @property
    def grid(self) -> list[dict[str, Any]]:
        """All combinations in their order, of which the last option changes first."""
        choices = [_choices(distribution) for distribution in self.space.values()]
        return [dict(zip(self.space, values, strict=True)) for values in itertools.product(*choices)]

    def first(self) -> dict[str, Any]:
        """Some values that may be chosen, by name."""
        return {name: _choices(distribution)[0] for name, distribution in self.space.items()}

    def options(self, chosen: Mapping[str, Any]) -> list[str]:
        """Options of the command line, written as W&B's `${args}` writes them."""
        return [f"--{name}={_written(value)}" for name, value in {**self.fixed, **chosen}.items()]

    def sampler(self, seed: int, done: int) -> BaseSampler:
        """What draws the next trial: a function of the seed and of how many ended, as a search may be resumed."""
        from optuna.samplers import RandomSampler, TPESampler

        word = int.from_bytes(hashlib.blake2b(f"{seed}/{done}".encode(), digest_size=4).digest(), "big")
        return TPESampler(seed=word, constant_liar=False) if self.method == "bayes" else RandomSampler(word)

    def pruner(self) -> BasePruner:
        """What stops poor trials early: hyperband where the file says so, else the median of the others."""
        from optuna.pruners import HyperbandPruner, MedianPruner

        if not self.stop:
            return MedianPruner(n_startup_trials=FIRST, n_warmup_steps=WARM_UP)
        eta = self.stop.get("eta", 3)
        if "min_iter" in self.stop:
            return HyperbandPruner(self.stop["min_iter"], reduction_factor=eta)
        most = self.stop["max_iter"]
        return HyperbandPruner(max(1, int(most / eta ** self.stop["s"])), most, reduction_factor=eta)


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        InputError: it cannot be read, is no sweep, would select by what must not select, or asks for what Optuna cannot
            express.
    """
    content = _content(path)
    metric, goal = _metric(content.get("metric"), path)
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise InputError(f"{path} names no parameters: which options are to be searched?")
    fixed: dict[str, object] = {}
    space: dict[str, BaseDistribution] = {}
    for name, entry in parameters.items():
        where = f"{path}, parameters.{name}"
        if not isinstance(entry, dict):
            raise InputError(f"{where} is {entry}; it must be a value, values, or min and max.")
        kind = _kind(entry, where)
        if kind == "constant":
            fixed[name] = _scalar(entry["value"])
        else:
            space[name] = _distribution(kind, entry, where)
    method = content.get("method")
    if method not in METHODS:
        raise InputError(f"{path}: method is {method}; it can be {', '.join(METHODS)}.")
    if not space:
        raise InputError(f"{path} leaves nothing to choose: every parameter has one value.")
    sweep = Sweep(method, metric, goal, fixed, space, _stop(content.get("early_terminate"), path), _cap(content, path))
    if method == "grid":
        for name, distribution in space.items():
            if not _choices(distribution, complete=True):
                raise InputError(f"{path}, parameters.{name}: a grid needs values, or whole numbers from min to max.")
        if (combinations := math.prod(map(_count, space.values()))) > MOST_COMBINATIONS:
            raise InputError(
                f"{path} is a grid of {combinations:,} combinations; {MOST_COMBINATIONS:,} are the most. Leave some "
                "values out, or set method to random."
            )
    return sweep


def _content(path: Path) -> dict[str, Any]:
    content = read_yaml(path, "The sweep")
    if not isinstance(content, dict):
        raise InputError(f"{path} is no sweep: it needs method, metric and parameters.")
    for key in content:
        if key not in KEYS + READ:
            near = difflib.get_close_matches(str(key), KEYS + READ, 1)
            raise InputError(f"{path}: {key} is no key of a sweep.{f' Did you mean {near[0]}?' if near else ''}")
    return content


def _metric(metric: object, path: Path) -> tuple[str, bool]:
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        raise InputError(f"{path}: metric needs a name, such as val/ndcg_10, and a goal.")
    if unknown := set(map(str, metric)) - {"name", "goal"}:
        raise InputError(f"{path}: metric.{min(unknown)} is not known to `recsys tune`; it reads name and goal.")
    name, goal = metric["name"], metric.get("goal")
    if goal not in ("maximize", "minimize"):
        raise InputError(f"{path}: metric.goal is {goal}; it must be maximize or minimize.")
    if name.startswith("test/"):
        better = name.replace("test/", "val/")
        raise InputError(f"{path}: {name} would select on the test rows. Set metric.name to {better}.")
    if "_sampled_" in name:
        raise InputError(
            f"{path}: {name} ranks against sampled candidates, which can reverse the order of models: it must not "
            f"select one. Set metric.name to {name.split('_sampled_')[0]}."
        )
    if not name.startswith("val/"):
        raise InputError(f"{path}: metric.name is {name}; options are selected on val. Choose one such as val/ndcg_10.")
    return name, goal == "maximize"


def _kind(entry: dict[str, Any], where: str) -> str:
    """The distribution, as W&B infers it."""
    if "parameters" in entry:
        raise InputError(f"{where} is nested. Write options by their full names, such as model.recommender.dim.")
    if "probabilities" in entry:
        raise InputError(f"{where}: Optuna draws values with equal probability. Leave probabilities out.")
    given = set(map(str, entry)) - {"distribution"}
    kind = entry.get("distribution")
    if kind is None:
        whole = all(isinstance(entry.get(end), int) for end in ("min", "max"))
        inferred = {"value": "constant", "values": "categorical", "min": "int_uniform" if whole else "uniform"}
        kind = next((inferred[key] for key in inferred if key in given), None)
    if not isinstance(kind, str) or kind not in ENTRIES:
        what = "names no values" if kind is None else f"has the distribution {kind}, which Optuna cannot draw from"
        raise InputError(
            f"{where} {what}. There are value, values, or min and max with {', '.join(list(ENTRIES)[2:])}."
        )
    if given != ENTRIES[kind]:
        needed = " and ".join(sorted(ENTRIES[kind]))
        raise InputError(f"{where}: {kind} needs {needed}, and there is {' and '.join(sorted(given)) or 'nothing'}.")
    return kind


def _distribution(kind: str, entry: dict[str, Any], where: str) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if kind == "categorical":
        values = entry["values"]
        if not isinstance(values, list) or not values:
            raise InputError(f"{where}.values is {values}; it must be a list of some values.")
        return CategoricalDistribution([_scalar(value) for value in values])
    for key in sorted(ENTRIES[kind]):
        if isinstance(entry[key], bool) or not isinstance(entry[key], int | float):
            raise InputError(f"{where}.{key} is {entry[key]}; it must be a number (YAML takes 1e-3 for a word: 0.001).")
        if not abs(entry[key]) <= LARGEST:
            raise InputError(f"{where}.{key} is {entry[key]}; it must be a number of at most {LARGEST:g} in size.")
    low, high = entry["min"], entry["max"]
    if kind == "log_uniform":
        if max(abs(low), abs(high)) > math.log(LARGEST):
            raise InputError(
                f"{where} goes from {low} to {high}: of log_uniform these are exponents of e, and so from -690 to 690. "
                "log_uniform_values takes the values themselves."
            )
        low, high = math.exp(low), math.exp(high)
    if not low <= high or (kind == "log_uniform_values" and not low > 0):
        above = ", and both above 0" if kind == "log_uniform_values" else ""
        raise InputError(f"{where}: min is {low} and max {high}; min must not exceed max{above}.")
    if kind == "int_uniform":
        if not (isinstance(low, int) and isinstance(high, int)):
            raise InputError(f"{where}: int_uniform needs whole numbers, and has {low} and {high}.")
        return IntDistribution(low, high)
    if kind == "q_uniform":
        return _stepwise(low, high, entry["q"], where)
    return FloatDistribution(low, high, log=kind.startswith("log"))


def _stepwise(low: float, high: float, step: float, where: str) -> BaseDistribution:
    """Multiples of a step; whole where all three numbers are."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if not step > 0:
        raise InputError(f"{where}.q is {step}; it must be above 0.")
    for key, end in (("min", low), ("max", high)):
        if not math.isclose(end / step, round(end / step), abs_tol=1e-9):
            raise InputError(f"{where}.{key} is {end}, which is no multiple of q, {step}: draws would miss it.")
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int):
        return IntDistribution(low, high, step=step)
    return FloatDistribution(low, high, step=step)


def _stop(stop: object, path: Path) -> dict[str, Any]:
    if stop is None:
        return {}
    if not isinstance(stop, dict) or stop.get("type") != "hyperband":
        raise InputError(f"{path}: early_terminate is {stop}; its type must be hyperband, the one that W&B knows.")
    given = set(stop) - {"type"}
    if not (given <= {"min_iter", "eta"} and "min_iter" in given) and not (
        given <= {"max_iter", "s", "eta"} and {"max_iter", "s"} <= given
    ):
        raise InputError(f"{path}: early_terminate needs min_iter, or max_iter and s; and eta where it is not 3.")
    for key in sorted(given):
        least = 2 if key == "eta" else 1
        if not _is_whole(stop[key], least):
            raise InputError(
                f"{path}: early_terminate.{key} is {stop[key]}; it must be a whole number from {least} up."
            )
    return dict(stop)


def _cap(content: dict[str, Any], path: Path) -> int | None:
    cap = content.get("run_cap")
    if cap is not None and not _is_whole(cap, 1):
        raise InputError(f"{path}: run_cap is {cap}; it must be a whole number of at least 1.")
    return cap


def _is_whole(value: object, least: int) -> bool:
    """Whether it is a whole number that is large enough; Python takes the word true for 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _scalar(value: object) -> Any:
    """A value as Optuna can keep it: lists and the like in words, which the command line reads again."""
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _choices(distribution: BaseDistribution, complete: bool = False) -> Sequence[Any]:
    """Values that there are to choose, or at least one of them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    return [] if complete else [distribution.low]


def _written(value: object) -> str:
    """A value as the command line takes it; three steps of 0.1 make 0.30000000000000004, which is 0.3."""
    if isinstance(value, float) and math.isclose(value, brief := float(f"{value:.12g}"), rel_tol=1e-15):
        return str(brief)
    return str(value)


def _count(distribution: BaseDistribution) -> int:
    """How many values a complete choice has: ranges may be longer than len() can say."""
    choices = _choices(distribution, complete=True)
    return (choices[-1] - choices[0]) // choices.step + 1 if isinstance(choices, range) else len(choices)
