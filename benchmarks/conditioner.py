"""Training and generating conditions with `AttentionConditioner` beside what one writes first.

    python benchmarks/conditioner.py [--users 27785] [--domains 2] [--repeats 3]

* epoch: every user once per domain, forward, backward, Adam, in batches of equal size on both sides. Ours takes batches
  of index tensors from `UserDomainLoader` and makes the tokens' keys and values once a step. The other side is a
  Dataset of (user, domain, item, negatives) with a DataLoader that collates them, and `nn.MultiheadAttention` over the
  tokens of each sample's domain. Both optimise the same mathematics with the same parameters: ranking by the condition.
  A batch must show the same loss on both sides.
* larger batches: ours with batches of four times the size, against the same.
* generation: the conditions of all users in all domains, at once against user by user and domain by domain. Of the
  latter some users are done, and the time of them taken for that of all. Both must show the same conditions.

All sides run in this process, in turn, on one thread; what is measured is CPU time at best, and what is to be read is
the ratio of two sides of one run.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from recsys_lightning.batches import CSR, UserDomainBatch
from recsys_lightning.data.user_domains import UserDomainLoader
from recsys_lightning.losses.ranking import sampled_softmax
from recsys_lightning.models.conditioner import AttentionConditioner

EPOCH_GOAL, GENERATION_GOAL = 2, 100
SAME = 1e-4
"""By how much the sides may differ."""
OWN, NEGATIVES = 20, 16
"""Items of a user in a domain, and random ones for each sample."""

Result = TypeVar("Result")


class World(NamedTuple):
    """Frozen vectors of users and items, and who has what."""

    user: Tensor  # (U, D)
    item: Tensor  # (I, D)
    rows: Tensor  # (U, M, n) items of each user in each domain, distinct and ascending
    members: list[Tensor]  # of each domain, its items


class Samples(Dataset[tuple[int, int, int, Tensor]]):
    """Every user once per domain, one sample at a time."""

    def __init__(self, data: World) -> None:
        self.data, self.domains = data, len(data.members)

    def __len__(self) -> int:
        return len(self.data.user) * self.domains

    def __getitem__(self, place: int) -> tuple[int, int, int, Tensor]:
        user, domain = divmod(place, self.domains)
        own, members = self.data.rows[user, domain], self.data.members[domain]
        item = int(own[torch.randint(len(own), ())])
        negative = members[torch.randint(len(members), (NEGATIVES,))]
        while (taken := torch.isin(negative, own)).any():
            negative = torch.where(taken, members[torch.randint(len(members), (NEGATIVES,))], negative)
        return user, domain, item, negative


class Plain(nn.Module):
    """The same conditioner on `nn.MultiheadAttention`, which is given the tokens of each sample."""

    def __init__(self, ours: AttentionConditioner) -> None:
        super().__init__()
        dim = ours.query.in_features
        self.prototype, self.shared = copy.deepcopy(ours.tokens.prototype), copy.deepcopy(ours.tokens.shared)
        self.attention = nn.MultiheadAttention(dim, ours.num_heads, batch_first=True)
        self.out = copy.deepcopy(ours.out)
        with torch.no_grad():
            parts = (ours.query, ours.key, ours.value)
            self.attention.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
            biases = [torch.zeros(dim) if part.bias is None else part.bias for part in parts]
            self.attention.in_proj_bias.copy_(torch.cat(biases))
            self.attention.out_proj.weight.copy_(torch.eye(dim))
            self.attention.out_proj.bias.zero_()
        self.attention.out_proj.requires_grad_(False)

    def forward(self, user: Tensor, domain: Tensor) -> Tensor:
        """Conditions of users (B, D) in their domains (B,)."""
        tokens = torch.cat([self.prototype[domain], self.shared.expand(len(user), -1, -1)], 1)
        found = self.attention(user[:, None], tokens, tokens, need_weights=False)[0][:, 0]
        gamma, beta = self.out(found).chunk(2, 1)
        return user * (1 + gamma) + beta


def world(users: int, domains: int, items: int, dim: int) -> World:
    """Random vectors and rows."""
    random = torch.Generator().manual_seed(0)
    own = torch.stack([torch.randperm(items, generator=random)[:OWN].sort().values for _ in range(64)])
    place = own[torch.randint(64, (users, domains), generator=random)]
    members = [torch.arange(items) + code * items for code in range(domains)]
    user, item = (torch.randn(size, dim, generator=random) for size in (users, items * domains))
    return World(user, item, place + torch.arange(domains)[:, None] * items, members)


def loader(data: World, batch_size: int) -> UserDomainLoader:
    """Batches as training has them."""
    users, domains, size = data.rows.shape
    train = CSR(torch.arange(users + 1) * domains * size, data.rows.flatten())
    return UserDomainLoader(train, train, data.members, batch_size, NEGATIVES, seed=0)


def loss_of(model: nn.Module, data: World, batch: UserDomainBatch) -> Tensor:
    """Ranking by the condition."""
    condition = model(data.user[batch.user], batch.domain)
    compared = data.item[torch.cat([batch.item[:, None], batch.negative], 1)]
    scores = (condition[:, None] * compared).sum(2)
    return sampled_softmax(scores[:, 0], scores[:, 1:])


def our_epoch(model: AttentionConditioner, data: World, batches: UserDomainLoader) -> int:
    """A pass over all samples; the number of its steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for batch in batches:
        optimizer.zero_grad()
        loss_of(model, data, batch).backward()
        optimizer.step()
    return len(batches)


def plain_epoch(model: Plain, data: World, batch_size: int) -> int:
    """The same, sample by sample."""
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=1e-3)
    batches = DataLoader(Samples(data), batch_size, shuffle=True)
    for user, domain, item, negative in batches:
        optimizer.zero_grad()
        loss_of(model, data, UserDomainBatch(user, domain, item, torch.ones_like(user), negative)).backward()
        optimizer.step()
    return len(batches)


@torch.inference_mode()
def our_conditions(model: AttentionConditioner, data: World) -> Tensor:
    """(U, M, D), a block of users at a time."""
    return torch.cat([model.all_domains(block) for block in data.user.split(4096)])


@torch.inference_mode()
def plain_conditions(model: AttentionConditioner, data: World, users: int) -> Tensor:
    """(users, M, D), one by one."""
    domains = range(len(data.members))
    return torch.stack([torch.stack([model(row[None], domain)[0] for domain in domains]) for row in data.user[:users]])


def compare(users: int, domains: int, items: int, dim: int, batch_size: int, repeats: int) -> None:
    """Run all sides in turn, and print how they compare."""
    data = world(users, domains, items, dim)
    torch.manual_seed(0)
    model = AttentionConditioner(dim, num_domains=domains)
    nn.init.normal_(model.out.weight, std=0.1)
    plain, batches, large = Plain(model), loader(data, batch_size), loader(data, 4 * batch_size)
    batch = next(iter(batches))
    ours, other = loss_of(model, data, batch), loss_of(plain, data, batch)
    if abs(ours.item() - other.item()) > SAME * abs(other.item()):
        raise SystemExit(f"The sides differ: losses of {ours.item():.6f} and {other.item():.6f}.")
    some = min(users, 300)
    sides: dict[str, Callable[[], object]] = {
        "Dataset + DataLoader": partial(plain_epoch, plain, data, batch_size),
        "ours": partial(our_epoch, model, data, batches),
        "ours, larger": partial(our_epoch, copy.deepcopy(model), data, large),
        "user by user": partial(plain_conditions, model, data, some),
        "all at once": partial(our_conditions, model, data),
    }
    taken = dict.fromkeys(sides, math.inf)
    for _ in range(repeats):
        for name, side in sides.items():
            taken[name] = min(taken[name], seconds(side)[0])
    taken["user by user"] *= users / some
    torch.testing.assert_close(
        our_conditions(model, data)[:some], plain_conditions(model, data, some), rtol=1e-3, atol=1e-3
    )
    print(f"{users:,} users x {domains} domains, D = {dim}, load {os.getloadavg()[0]:.1f}; CPU s on one thread")
    steps = f"{len(batches)} steps of {batch_size}"
    show("epoch", "Dataset + DataLoader", "ours", taken, f"goal {EPOCH_GOAL}, {steps} on both sides, same loss")
    show("epoch", "Dataset + DataLoader", "ours, larger", taken, f"{len(large)} steps of {4 * batch_size}")
    show("generation", "user by user", "all at once", taken, f"goal {GENERATION_GOAL}, same conditions")


def show(what: str, base: str, ours: str, taken: dict[str, float], note: str) -> None:
    """Print the ratio of two sides."""
    ratio = taken[base] / taken[ours]
    print(f"{what:11} {base} {taken[base]:.2f}, {ours} {taken[ours]:.3f}: {ratio:.1f} x ({note})", flush=True)


def seconds(act: Callable[[], Result]) -> tuple[float, Result]:
    """CPU seconds of a call, and what it returned."""
    start = time.process_time()
    result = act()
    return time.process_time() - start, result


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options = (("users", 27_785), ("domains", 2), ("items", 12_000), ("dim", 32), ("batch-size", 512), ("repeats", 3))
    for name, default in options:
        parser.add_argument(f"--{name}", type=int, default=default)
    torch.set_num_threads(1)
    compare(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
