"""Floors: the closed-form recommenders, tuned on val and tested on the same split as the model they stand beside."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist

from recsys_lightning.atomic import write_text
from recsys_lightning.batches import RankingBatch, Views
from recsys_lightning.code import code_digest
from recsys_lightning.errors import InputError
from recsys_lightning.metrics.domains import metrics_of
from recsys_lightning.models.closed_form import ClosedForm
from recsys_lightning.models.ease import EASE
from recsys_lightning.models.gfcf import GFCF
from recsys_lightning.models.knn import ItemKNN
from recsys_lightning.models.popularity import Popularity
from recsys_lightning.schema import TEST, TRAIN, VAL, Schema

FLOORS: tuple[type[ClosedForm], ...] = (Popularity, ItemKNN, EASE, GFCF)
T = TypeVar("T")


class FloorData(Protocol):
    """What floors ask of a datamodule."""

    @property
    def test_views(self) -> str:
        """Rows that models see when they are tested: `train` or `train+val`."""

    @property
    def schema(self) -> Schema:
        """Sizes and names."""

    @property
    def floor_folder(self) -> Path:
        """Where results are kept."""

    def holds(self, split: str) -> bool:
        """Whether the split has rows."""

    @property
    def given(self) -> tuple[str, ...]:
        """The split of rows that users are scored by and nothing is fitted to; nothing where there are none."""

    def views_of(self, *splits: str) -> Views:
        """Resident tensors made of the rows of these splits."""

    def ranking_loader(self, split: str) -> Iterable[RankingBatch]:
        """Users with rows in the split."""


@dataclass(frozen=True)
class Floor:
    """A floor's result.

    Attributes:
        name: class of the recommender.
        options: chosen on val; empty where there was nothing to choose.
        tuned: whether they were chosen on val, or are defaults as there are no val rows.
        test: metrics by name, without a prefix; empty where the floor could not be computed.
        seconds: to solve and test with the chosen options.
        note: why it could not be computed.
    """

    name: str
    options: dict[str, float] = field(default_factory=dict)
    tuned: bool = False
    test: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    note: str = ""


def evaluate(
    recommender: ClosedForm,
    fitting: Views,
    views: Views,
    batches: Iterable[RankingBatch],
    k: Sequence[int],
    domains: Sequence[str] = (),
) -> dict[str, float]:
    """Fit what needs no training and rank with it: metrics by name.

    Args:
        recommender: a closed form, or frozen vectors.
        fitting: what it is solved from.
        views: what users are scored by.
        batches: of the users.
        k: cut-offs.
        domains: of the items, each of which is ranked by itself; none where there is one.

    Raises:
        InputError: it cannot be solved, on this process or another one.
    """
    everywhere(lambda: recommender.fit(fitting))
    metrics = metrics_of(k, views, domains, fitting.popularity)
    state = recommender.encode(views)
    for batch in batches:
        metrics.update(batch, recommender.score_all(recommender.users(state, batch.user), state))
    return {name: float(value) for name, value in metrics.compute().items()}


@torch.no_grad()
def compute_floors(
    data: FloorData,
    k: Sequence[int],
    device: torch.device,
    names: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> list[Floor]:
    """Tune every floor's grid on val by ndcg at the first cut-off, then test it; kept by the data's fingerprint.

    Of several processes, which all must call this, the first says what is kept already, and keeps what is new: others
    may have caches of their own, and would wait for those that rank what they have.

    Args:
        data: the datamodule; its device must be `device`.
        k: cut-offs.
        device: to compute on.
        names: only these floors; all without.
        say: is told what goes on, a line at a time.

    Raises:
        InputError: a name is no floor's.
    """
    known = {model.__name__: model for model in FLOORS}
    for name in names:
        if name not in known:
            raise InputError(f"There is no floor {name}; there are {', '.join(known)}.")
    kept = [cached_floors(data, k) if _first() else []]
    if dist.is_initialized():
        dist.broadcast_object_list(kept)
    floors = {floor.name: floor for floor in kept[0]}
    for name in names or known:
        if name not in floors or floors[name].note:
            floors[name] = _compute(known[name], data, k, device, say)
            if _first():
                _keep(_path(data, k, known[name]), floors[name])
    return [floors[name] for name in known if name in floors]


def cached_floors(data: FloorData, k: Sequence[int]) -> list[Floor]:
    """The floors that are already known for this data and these cut-offs."""
    found = []
    for model in FLOORS:
        try:
            found.append(Floor(**json.loads(_path(data, k, model).read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue  # not computed yet, or damaged: it will be computed when asked for
    return found


def everywhere(work: Callable[[], T]) -> T:
    """What some work makes, on all processes or on none: where one refuses it, the others would wait for that one.

    Raises:
        InputError: a process refuses; on all of them, as the first that does says it.
    """
    made, refusal = list[T](), ""
    try:
        made.append(work())
    except InputError as error:
        refusal = str(error)
    refusals = [refusal]
    if dist.is_initialized():
        refusals = [""] * dist.get_world_size()
        dist.all_gather_object(refusals, refusal)
    if said := next(filter(None, refusals), ""):
        raise InputError(said)
    return made[0]


def _first() -> bool:
    """Whether this is the first of the processes, or alone."""
    return not dist.is_initialized() or dist.get_rank() == 0


def _compute(
    model: type[ClosedForm], data: FloorData, k: Sequence[int], device: torch.device, say: Callable[[str], None]
) -> Floor:
    schema, name = data.schema, model.__name__
    grid = [dict(zip(model.grid, values, strict=True)) for values in itertools.product(*model.grid.values())]
    options: dict[str, float] = {}
    tuned = len(grid) > 1 and data.holds(VAL)
    try:
        if tuned:
            best = -1.0
            views = _views(data, (TRAIN,), device)
            for choice in grid:
                found = evaluate(model(schema, **choice), *views, data.ranking_loader(VAL), k, schema.domains)
                value = found[f"ndcg_{k[0]}"]
                say(f"{name} {_words(choice)}: val/ndcg_{k[0]} {value:.4f}")
                if value > best:
                    best, options = value, choice
        start = time.perf_counter()
        splits = (TRAIN, VAL) if data.test_views == "train+val" else (TRAIN,)
        views = _views(data, splits, device)
        test = evaluate(model(schema, **options), *views, data.ranking_loader(TEST), k, schema.domains)
    except InputError as error:
        say(f"{name}: {error}")
        return Floor(name, note=str(error))
    seconds = time.perf_counter() - start
    say(f"{name} {_words(options)}: test/ndcg_{k[0]} {test[f'ndcg_{k[0]}']:.4f} in {seconds:.1f} s")
    return Floor(name, options, tuned, test, seconds)


def _views(data: FloorData, splits: tuple[str, ...], device: torch.device) -> tuple[Views, Views]:
    """What floors are solved from, and what users are scored by."""
    fitting = data.views_of(*splits).to(device)
    return fitting, data.views_of(*splits, *data.given).to(device) if data.given else fitting


def _words(options: dict[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in options.items()) or "(default)"


def _path(data: FloorData, k: Sequence[int], model: type[ClosedForm]) -> Path:
    """Where a floor is kept: its name holds a digest of all that decides its figures."""
    genres = data.views_of(TRAIN).genres
    shown = "" if genres is None else hashlib.sha256(genres.numpy(force=True).tobytes()).hexdigest()
    code = code_digest("models", "metrics", "reports/floors.py")
    facts = [data.schema.fingerprint, data.schema.domains, shown, data.test_views, sorted(set(k)), model.grid, code]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return data.floor_folder / f"{data.schema.name}-{model.__name__}-{digest}.json"


def _keep(path: Path, floor: Floor) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(floor)))
    except OSError as error:
        warnings.warn(f"{floor.name} cannot be kept for later tests: {error}. Set RECSYS_CACHE.", stacklevel=2)
