"""Watches what the attention of a conditioner does: whether heads choose, differ, and hear the user."""

from __future__ import annotations

from math import log
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from recsys_lightning.batches import Views
from recsys_lightning.callbacks.watching import Looked, Watch
from recsys_lightning.models.conditioner import DomainEmbedding
from recsys_lightning.tasks.evaluation import RankingTask

UNIFORM, IDENTICAL, DEAF = 0.99, 1e-3, 1e-3
"""Entropy of a head that chooses nothing; divergence of two that are one; dependence on users that is none."""


@runtime_checkable
class Attentive(Protocol):
    """A model whose conditions are made by attention over tokens: the domain's own, shared ones, perhaps others."""

    def attention(self, views: Views, user: Tensor) -> Tensor:
        """(B, M, heads, tokens) weights of users (B,), which add up to 1 over tokens."""


class Heads(NamedTuple):
    """What the heads do."""

    entropy: Tensor  # (M, heads) mean over users of entropy / log tokens: 1 for uniform weights
    by_user: Tensor  # (M, heads) share of log tokens that the user decides: 0 where all users have the same weights
    divergence: Tensor  # (heads, heads) mean over users and domains of Jensen-Shannon divergence / log 2
    mean: Tensor  # (M, heads, tokens) mean weights

    @property
    def dead(self) -> dict[int, str]:
        """Heads that do nothing of their own, with why."""
        found = {}
        for head in range(self.entropy.shape[1]):
            twin = next((other for other in range(head) if float(self.divergence[head, other]) < IDENTICAL), None)
            if float(self.entropy[:, head].min()) > UNIFORM:
                found[head] = "uniform"
            elif twin is not None:
                found[head] = f"the same as head {twin + 1}"
        return found


class AttentionDiagnostics(Watch):
    """Measures after each validation what the heads of a conditioner attend to.

    Logged as `attention/entropy` (mean over heads, by log tokens: 1 where weights are uniform, 0 where one token has
    all), `attention/divergence` (mean Jensen-Shannon divergence of two heads, by log 2: 0 where heads are identical,
    left out where there is one), `attention/by_user` (mutual information of user and token, by log tokens: 0 where
    attention does not depend on the user), `attention/dead_heads`, and the share of the weight that each kind of tokens
    has: `attention/own`, `attention/shared` and `attention/context`. Warns once of heads that are uniform or identical,
    and of attention that does not hear the user.

    Args:
        users: who are looked at, at most; more are sampled. Unlike conditions, weights are made for this alone.
        patience: validations in a row that must look bad before it is said.
        seed: of the sample.
    """

    name, group = "attention_diagnostics", "attention"

    def __init__(self, users: int = 512, patience: int = 3, seed: int = 0) -> None:
        super().__init__(users, patience, seed)
        self._last: Heads | None = None
        self._kinds: dict[str, int] = {}
        self._domains: tuple[str, ...] = ()

    def nothing(self, module: LightningModule) -> str:
        """Why there is nothing to look at; empty where there is."""
        reason = super().nothing(module)
        if not reason and isinstance(module, RankingTask) and not isinstance(module.recommender, Attentive):
            return f"{type(module.recommender).__name__} has no attention to show"
        return reason

    def look(self, trainer: Trainer, task: RankingTask, looked: Looked) -> None:
        """Measure, record, and warn."""
        assert isinstance(task.recommender, Attentive)
        weights = task.recommender.attention(task.views, looked.user).double()
        heads = measure(weights)
        self._last, self._domains, self._kinds = heads, looked.domains, kinds_of(task.recommender, weights.shape[-1])
        apart = ~torch.eye(len(heads.divergence), dtype=torch.bool, device=weights.device)
        figures = {
            "entropy": float(heads.entropy.mean()),
            **({"divergence": float(heads.divergence[apart].mean())} if apart.any() else {}),
            "by_user": float(heads.by_user.mean()),
            "dead_heads": float(len(heads.dead)),
        }
        shares = torch.split(heads.mean.mean((0, 1)), list(self._kinds.values()))
        figures |= {kind: float(share.sum()) for kind, share in zip(self._kinds, shares, strict=True)}
        self.record(trainer, task, figures, values=self._entropies(weights, looked.domains))
        self._judge(self.patience)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge a short training too, and write."""
        if self._last is not None:
            self._judge(1)
        super().on_train_end(trainer, pl_module)

    def about(self) -> dict[str, Any]:
        """The heads as they were at last."""
        if self._last is None:
            return {}
        heads = self._last._replace(**{name: value.tolist() for name, value in self._last._asdict().items()})._asdict()
        dead = {str(head + 1): why for head, why in self._last.dead.items()}
        return {"domains": list(self._domains), "tokens": self._kinds, "dead": dead, "heads": heads}

    def _entropies(self, weights: Tensor, domains: tuple[str, ...]) -> dict[str, Tensor]:
        by_head = entropy(weights) / max(log(weights.shape[-1]), 1e-12)
        return {f"entropy_{domain}": by_head[:, code] for code, domain in enumerate(domains)}

    def _judge(self, patience: int) -> None:
        assert self._last is not None
        tokens, heads, row = self._last.mean.shape[-1], len(self._last.divergence), self.rows[-1]
        if tokens == 1:
            self.warn_once(
                "one token",
                "Attention has one token to attend to, so its weight is 1 and hears no user. Use num_tokens 8 or so.",
            )
            return
        if self.lasts("dead_heads", patience, above=1):
            said = "; ".join(f"head {head + 1} is {why}" for head, why in self._last.dead.items())
            self.warn_once(
                "dead heads",
                f"{len(self._last.dead)} of {heads} heads of attention do nothing of their own: {said}. Fewer heads do "
                "as well; or more epochs, or a larger learning rate, let them part.",
            )
        if self.lasts("by_user", patience, below=DEAF):
            self.warn_once(
                "deaf",
                f"Attention is the same for all users (a share of {row['by_user']:.5f} of it depends on them), so all "
                "that it adds is a constant of each domain.",
            )


def measure(weights: Tensor) -> Heads:
    """What heads do, by their weights (B, M, heads, tokens)."""
    whole = max(log(weights.shape[-1]), 1e-12)
    mean, of_users = weights.mean(0), entropy(weights).mean(0)
    pairs = (weights[:, :, :, None] + weights[:, :, None]) / 2
    single = entropy(weights)
    divergence = entropy(pairs) - (single[..., :, None] + single[..., None, :]) / 2
    return Heads(
        entropy=of_users / whole,
        by_user=((entropy(mean) - of_users) / whole).clamp_min(0),
        divergence=(divergence.mean((0, 1)) / log(2)).clamp_min(0),
        mean=mean,
    )


def entropy(weights: Tensor) -> Tensor:
    """Entropy (...) of weights (..., tokens) in nats."""
    terms: Tensor = torch.special.entr(weights)
    return terms.sum(-1)


def kinds_of(model: nn.Module, tokens: int) -> dict[str, int]:
    """How many tokens there are of each kind, in their order: the domain's own, shared ones, the user's context."""
    for module in model.modules():
        if isinstance(module, DomainEmbedding):
            own = module.prototype.shape[1]
            shared = 0 if module.shared is None else len(module.shared)
            return {
                name: size
                for name, size in (("own", own), ("shared", shared), ("context", tokens - own - shared))
                if size
            }
    return {"own": tokens}
