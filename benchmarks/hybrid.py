"""Training and ranking with `HybridRecommender` beside the same mathematics written straight from its equations.

    python benchmarks/hybrid.py [--widths 64 384 1024] [--only step memory ...] [--scorer mlp] [--repeats 3]

* step: BPR + InfoNCE, forward, backward, Adam. Both sides start from the same parameters, and must show the same loss
  and gradients. Floating-point operations are those of matrix products, as torch's FlopCounterMode counts them.
* memory: what a step adds at its peak to a fresh process that holds model, data, gradients and the optimizer's state.
* epoch: all steps with the sampling of their batches. Of the naive side some steps are done, and the time of one taken
  for that of all.
* ranking: the 50 best unseen items of all users. Of the naive side each user is copied beside all items, whose views
  were made once, and the pairs are scored. Both sides must show the same lists. Memory as above, for a number of
  users and for four times as many, always 256 at a time.
* histories: their tensors, vectorised against loops over users, as `benchmarks/history.py` does it at other sizes.

The model is as wide as the text, so that nothing is projected; `dim 64` is the same model with the text projected to
64. The world is synthetic and of the size of MovieLens 100K: 943 users, 1,638 items, 80,000 rows of which 44,000 are
positives, 10 reviews at most of 252 items, 7 columns of context, and attributes of two items or more: 25 genres, 376
directors, 642 writers, 1,880 keywords. 512 positives a step, histories of 50. No dropout, nothing hidden at random.

All sides run in this process, in turn, on one thread; what is measured is CPU time at best, and what is to be read is
the ratio of two sides of one run.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

import history
import naive_hybrid
import torch
from naive_hybrid import World, world
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from recsys_lightning.batches import CSR, PairBatch
from recsys_lightning.data.loaders import PairLoader, RankingLoader
from recsys_lightning.data.negatives import Uniform
from recsys_lightning.losses.ranking import Contrastive, bpr
from recsys_lightning.metrics.ranking import mask, tie_priority, top_k
from recsys_lightning.models.hybrid import HybridRecommender

USERS, ITEMS, ROWS, K = 943, 1_638, 80_000, 50
ATTRIBUTES = {"genre": (25, 4_600), "director": (376, 1_060), "writer": (642, 1_720), "keyword": (1_880, 8_740)}
BATCH_SIZE, USERS_AT_A_TIME, PROJECTED = 512, 256, 64
LOSS, GRADIENT, SCORE = 1e-5, 1e-4, 1e-4
"""By how much the sides may differ, relatively."""
SMALL = 1e-4
"""Gradients below this share of the whole are measured by this share: they are what is left of larger terms that
cancel, and neither side has all digits of them."""
FLOPS_GOAL, EPOCH_GOAL = 13, 11
STEP_GOALS, RANKING_GOALS, MEMORY_GOALS = {64: 10, 384: 12, 1024: 11}, {64: 3, 384: 9, 1024: 20}, {1024: 25}
PARTS = ("step", "memory", "epoch", "ranking", "histories")

Result = TypeVar("Result")


class Setting(NamedTuple):
    """What both sides share."""

    width: int
    scorer: str

    def world(self, users: int = USERS) -> World:
        """The data, with rows in proportion to the users."""
        rows = ROWS * users // USERS
        return world(self.width, users, ITEMS, rows, ATTRIBUTES, reviewed=252, most_reviews=10, length=50)

    def model(self, data: World, dim: int | None = None) -> HybridRecommender:
        """The recommender, as wide as the text where no other width is said."""
        torch.manual_seed(0)
        return HybridRecommender(data.schema, dim=dim, scorer=self.scorer, hide=0.0, dropout=0.0)


class Racer:
    """A side in training.

    Args:
        model: trained here; a side has its own.
        data: to train on.
        naive: as the equations are written.
    """

    def __init__(self, model: HybridRecommender, data: World, naive: bool) -> None:
        self.model, self.data = model, data
        self.loss = naive_loss if naive else our_loss
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(self, batch: PairBatch) -> float:
        """One step; its loss. The gradients stay."""
        self.optimizer.zero_grad(set_to_none=False)
        loss = self.loss(self.model, self.data, batch)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def our_loss(model: HybridRecommender, data: World, batch: PairBatch) -> Tensor:
    """The loss of a step as the ranking task makes it."""
    state = model.encode_for(data.views, batch)
    u = model.users_without(state, batch.user, batch.item)
    scores = model.score(u[:, None], model.items(state, torch.cat([batch.item[:, None], batch.negative], 1)))
    return bpr(scores[:, 0], scores[:, 1:]) + Contrastive()(*model.two_views(u), batch.user)


def naive_loss(model: HybridRecommender, data: World, batch: PairBatch) -> Tensor:
    """The same loss by the equations; nothing is hidden."""
    kept = torch.ones(len(batch.user), data.schema.history_length, dtype=torch.bool)
    return naive_hybrid.loss(model, data.views, batch, kept)


def our_lists(model: HybridRecommender, data: World) -> tuple[Tensor, Tensor]:
    """The best items of all users and their scores, a block of users at a time, as the ranking task makes them."""
    state = model.encode(data.views)
    everybody = torch.arange(data.views.num_users)
    nothing = CSR(torch.zeros_like(data.known.crow), data.known.col[:0])
    priority = tie_priority(ITEMS)
    lists = []
    for batch in RankingLoader(everybody, data.known, nothing, USERS_AT_A_TIME):
        scores = model.score_all(model.users(state, batch.user), state)
        mask(scores, batch.seen)
        lists.append(top_k(scores, K, priority))
    return torch.cat([best.item for best in lists]), torch.cat([best.score for best in lists])


def naive_lists(model: HybridRecommender, data: World) -> tuple[Tensor, Tensor]:
    """The same lists by the equations, user by user."""
    return naive_hybrid.top_items(model, data.views, data.known, K)


def loader(data: World) -> PairLoader:
    """Batches as training has them."""
    train, negatives = data.views.train, Uniform()
    negatives.prepare(train, ITEMS, data.known)
    return PairLoader(train.row, train.col, negatives, BATCH_SIZE, seed=0)


def seconds(act: Callable[[], Result]) -> tuple[float, Result]:
    """CPU seconds of a call, and what it returned."""
    start = time.process_time()
    result = act()
    return time.process_time() - start, result


def measure_step(setting: Setting, repeats: int) -> None:
    """Print the ratio of two steps, of their operations, and what the projection saves."""
    data = setting.world()
    ours = Racer(setting.model(data), data, naive=False)
    naive = Racer(copy.deepcopy(ours.model), data, naive=True)
    racers = {"ours": ours, "naive": naive}
    if setting.width != PROJECTED:
        racers["projected"] = Racer(setting.model(data, dim=PROJECTED), data, naive=False)
    taken: dict[str, list[float]] = {name: [] for name in racers}
    losses, gradients = list[float](), list[float]()
    for number, batch in zip(range(repeats + 1), loader(data), strict=False):
        naive.model.load_state_dict(ours.model.state_dict())
        found = {}
        for name, racer in racers.items():
            spent, found[name] = seconds(partial(racer.step, batch))
            if number:  # the first step builds the optimizer's state, sorted relations and padded tables
                taken[name].append(spent)
        losses.append(abs(found["ours"] - found["naive"]) / abs(found["naive"]))
        gradients.append(gradient_difference(ours.model, naive.model))
    # a leaky ReLU whose argument is 0 but for rounding may bend on one side only: in some steps, not in most
    loss, gradient = max(losses), statistics.median(gradients)
    if not (loss <= LOSS and gradient <= GRADIENT):
        raise SystemExit(f"The sides differ: losses by {loss:.1e}, gradients by {gradient:.1e} in the median step.")
    best = {name: min(values) for name, values in taken.items()}
    show(setting, "step", best["naive"], best["ours"], STEP_GOALS.get(setting.width))
    print(f"{'':8}same loss to {loss:.0e}, same gradients to {gradient:.0e} in the median step (relative, float32)")
    naive_flops, our_flops = (operations(racer, batch) for racer in (naive, ours))
    ratio = naive_flops / our_flops
    print(f"{'':8}operations: naive {naive_flops / 1e9:.1f} G, ours {our_flops / 1e9:.1f} G: {ratio:.1f} x", end="")
    print(f" (goal {FLOPS_GOAL})")
    if "projected" in best:
        narrow, faster = best["projected"], best["ours"] / best["projected"]
        print(f"{'':8}ours with the text projected to {PROJECTED}: {1e3 * narrow:.0f} ms, {faster:.1f} x as fast")


def gradient_difference(ours: HybridRecommender, naive: HybridRecommender) -> float:
    """The largest relative difference of a parameter's gradient, in the norm."""
    theirs = {name: value.grad for name, value in naive.named_parameters()}
    whole = torch.stack([torch.zeros(()) if grad is None else grad.norm() for grad in theirs.values()]).norm()
    largest = 0.0
    for name, value in ours.named_parameters():
        mine, other = value.grad, theirs[name]
        if mine is None or other is None:
            raise SystemExit(f"{name} gets no gradient: ours {mine is not None}, naive {other is not None}.")
        largest = max(largest, float((mine - other).norm() / max(other.norm(), SMALL * whole)))
    return largest


def operations(racer: Racer, batch: PairBatch) -> int:
    """Floating-point operations of the matrix products of a step, backward included."""
    with FlopCounterMode(display=False) as counter:
        racer.loss(racer.model, racer.data, batch).backward()
    return counter.get_total_flops()


def measure_memory(setting: Setting) -> None:
    """Print what a step of each side adds."""
    naive, ours = (alone(step_memory, setting, side) for side in (True, False))
    goal = MEMORY_GOALS.get(setting.width)
    print(
        f"{setting.width:>5}   memory of a step: naive {naive:,.0f} MiB, ours {ours:,.0f} MiB: {ours / naive:.0%}",
        end="",
    )
    print(f" (goal {goal} %)" if goal else "")


def step_memory(setting: Setting, naive: bool) -> float:
    """MiB that a step adds to this process."""
    data = setting.world()
    racer = Racer(setting.model(data), data, naive)
    batches = iter(loader(data))
    racer.step(next(batches))
    batch = next(batches)
    return added_memory(partial(racer.step, batch))


def measure_epoch(setting: Setting, naive_steps: int) -> None:
    """Print the ratio of two epochs, and what sampling takes of ours."""
    data = setting.world()
    ours = Racer(setting.model(data), data, naive=False)
    naive = Racer(copy.deepcopy(ours.model), data, naive=True)
    batches = loader(data)
    for racer in (ours, naive):
        racer.step(next(iter(batches)))
    sampling, steps = seconds(lambda: sum(1 for _ in batches))
    whole, _ = seconds(lambda: [ours.step(batch) for batch in batches])
    done = min(naive_steps, steps)
    some, _ = seconds(lambda: [naive.step(batch) for _, batch in zip(range(done), batches, strict=False)])
    show(setting, "epoch", some / done * steps, whole, EPOCH_GOAL)
    share = f"sampling and batching {sampling / whole:.3%} of ours (goal 1 %)"
    print(f"{'':8}{steps} steps, of the naive side {done}; {share}", flush=True)


def measure_ranking(setting: Setting, repeats: int) -> None:
    """Print the ratio of two rankings, and the memory that ours takes."""
    data = setting.world()
    model = setting.model(data)
    racer = Racer(model, data, naive=False)
    for _, batch in zip(range(10), loader(data), strict=False):
        racer.step(batch)  # scores of an untrained model are all but equal
    model.eval()
    sides = {"naive": naive_lists, "ours": our_lists}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    found: dict[str, tuple[Tensor, Tensor]] = {}
    with torch.inference_mode():
        for _ in range(repeats):
            for name, side in sides.items():
                spent, found[name] = seconds(partial(side, model, data))
                taken[name].append(spent)
    same = equal_lists(found["ours"], found["naive"])
    show(setting, f"top-{K}", min(taken["naive"]), min(taken["ours"]), RANKING_GOALS.get(setting.width))
    print(f"{'':8}same lists but for ties to {SCORE}: {same:.3%} of the places are equal", end="")
    peaks = {users: alone(ranking_memory, setting, users) for users in (USERS, 4 * USERS)}
    print("; " + ", ".join(f"{users:,} users: {peak:,.0f} MiB" for users, peak in peaks.items()))


def equal_lists(ours: tuple[Tensor, Tensor], naive: tuple[Tensor, Tensor]) -> float:
    """The share of places with the same item; in all others the scores must tie but for rounding."""
    filled = naive[0] >= 0
    spread = naive[1][filled].std()
    difference = (ours[1] - naive[1])[filled].abs().max() / spread
    if not (torch.equal(filled, ours[0] >= 0) and difference <= SCORE):
        raise SystemExit(f"The lists differ: scores by {difference:.1e} of their standard deviation.")
    return float((ours[0] == naive[0]).double().mean())


def ranking_memory(setting: Setting, users: int) -> float:
    """MiB that ranking for so many users adds to this process."""
    data = setting.world(users)
    model = setting.model(data).eval()
    with torch.inference_mode():
        our_lists(model, data)  # histories, relations and libraries lie there from now on
        return added_memory(partial(our_lists, model, data))


def added_memory(act: Callable[[], object]) -> float:
    """MiB by which a call raises the resident memory of this process above what lies there before."""
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is given back, and not taken for what lies there
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = status("VmRSS")
    act()
    return (status("VmHWM") - before) / 1024


def status(field: str) -> int:
    """KiB of this process, from the kernel."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def alone(measure: Callable[..., float], setting: Setting, *words: object) -> float:
    """What a fresh process of one thread measures."""
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        return pool.submit(measure, setting, *words).result()


def show(setting: Setting, what: str, naive: float, ours: float, goal: int | None) -> None:
    """One line of a ratio."""
    wanted = f" (goal {goal})" if goal else ""
    figures = f"naive {1e3 * naive:,.0f} ms, ours {1e3 * ours:,.0f} ms: {naive / ours:.1f} x{wanted}"
    print(f"{setting.width:>5}   {what}: {figures}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 384, 1024], help="of text (default 64 384 1024)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    parser.add_argument("--scorer", choices=["dot", "bilinear", "mlp"], default="mlp")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side in turn (default %(default)s)")
    parser.add_argument("--naive-steps", type=int, default=5, help="of its epoch that are done (default %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{USERS} users, {ITEMS:,} items, scorer {options.scorer}; width of the text first; {load}", flush=True)
    for setting in (Setting(width, options.scorer) for width in options.widths):
        if "step" in options.only:
            measure_step(setting, options.repeats)
        if "memory" in options.only:
            measure_memory(setting)
        if "epoch" in options.only:
            measure_epoch(setting, options.naive_steps)
        if "ranking" in options.only:
            measure_ranking(setting, options.repeats)
    if "histories" in options.only:
        history.compare(USERS, ITEMS, ROWS, length=50, repeats=options.repeats)


if __name__ == "__main__":
    main()
