"""A user as seen from a domain: attention from the user over the domain's prototypes, used to modulate the user."""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from operator import index
from typing import Literal, TypeAlias, get_args, overload

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recsys_lightning.errors import InputError
from recsys_lightning.models.conditioner_input import HALF, refuse_tensors

Mode: TypeAlias = Literal["film", "residual", "attention"]


class DomainEmbedding(nn.Module):
    """What each domain is to the attention: prototype tokens of its own, and tokens that all domains share.

    Args:
        num_domains: M.
        emb_dim: D.
        num_tokens: T, prototypes of each domain.
        shared_tokens: S.
    """

    def __init__(self, num_domains: int, emb_dim: int, num_tokens: int = 8, shared_tokens: int = 4) -> None:
        super().__init__()
        self.prototype = nn.Parameter(torch.empty(num_domains, num_tokens, emb_dim))
        self.shared = nn.Parameter(torch.empty(shared_tokens, emb_dim)) if shared_tokens else None
        for tokens in self.parameters():
            nn.init.normal_(tokens)

    def forward(self) -> Tensor:
        """All tokens of each domain, its own ones first: (M, T + S, D)."""
        if self.shared is None:
            return self.prototype
        return torch.cat([self.prototype, self.shared.expand(len(self.prototype), -1, -1)], 1)


class AttentionConditioner(nn.Module):
    """Conditions of users in domains: multi-head attention from the user over tokens of the domain.

        a_d(u) = [sum_n softmax_n(q_h . k_dn,h / sqrt(C)) v_dn,h for each head h],    q = W_q u, k = W_k t, v = W_v t

        film:        condition = u * (1 + gamma) + beta,    [gamma; beta] = W a_d(u) + b, which start at zero
        residual:    condition = u + W a_d(u) + b
        attention:   condition = W a_d(u) + b

    t are the domain's prototypes and the shared tokens; heads are C = D / H wide. In mode film conditions start as the
    users themselves, bit for bit. The other modes are there to compare with: `residual` can add but a bounded shift to
    a user, and `attention` keeps nothing of the user but what the weights tell.

    Keys and values of the tokens are made once a call, never for each user. A user's own history can take part as
    further tokens (`context`).

    With a single token the softmax is 1 whatever the user is: a_d is a constant, the residual mode a shift by it that
    is the same for everybody, and W_q and W_k get gradients of zeros.

    Conditions of a user depend on no other user of the batch. Numbers that are not finite give a condition that is not
    finite, of that user alone. Half precision is computed in half, but for the softmax, in single.

    Args:
        emb_dim: D, of users and conditions.
        num_heads: H, a divisor of D.
        num_domains: M.
        dropout: of attention weights in training, from 0 to less than 1.
        num_tokens: T, prototypes of each domain.
        shared_tokens: S, tokens that belong to all domains.
        mode: how what attention finds becomes a condition.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(
        self,
        emb_dim: int,
        num_heads: int = 4,
        num_domains: int = 2,
        dropout: float = 0.0,
        num_tokens: int = 8,
        shared_tokens: int = 4,
        mode: Mode = "film",
    ) -> None:
        super().__init__()
        _refuse_out_of_range(emb_dim, num_heads, num_domains, dropout, num_tokens, shared_tokens, mode)
        if num_tokens == 1:
            warnings.warn(_one_token(shared_tokens), stacklevel=2)
        self.num_heads, self.num_domains, self.mode = num_heads, num_domains, mode
        self.tokens = DomainEmbedding(num_domains, emb_dim, num_tokens, shared_tokens)
        self.query = nn.Linear(emb_dim, emb_dim)
        self.key = nn.Linear(emb_dim, emb_dim, bias=False)  # its bias would cancel in the softmax
        self.value = nn.Linear(emb_dim, emb_dim)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(emb_dim, 2 * emb_dim if mode == "film" else emb_dim)
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight)
        if mode == "film":
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    @overload
    def forward(
        self,
        user_emb: Tensor,
        domain_id: int | Tensor,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        need_weights: Literal[False] = False,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        user_emb: Tensor,
        domain_id: int | Tensor,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        *,
        need_weights: Literal[True],
    ) -> tuple[Tensor, Tensor]: ...

    def forward(
        self,
        user_emb: Tensor,
        domain_id: int | Tensor,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Conditions of users in a domain, or of each in its own.

        Args:
            user_emb: (B, D).
            domain_id: of all users, or (B,) of each: 0 to M - 1.
            context: (B, L, D) further tokens of each user.
            context_mask: (B, L) True = real; all are where it is left out.
            need_weights: whether to return the attention too.

        Returns:
            (B, D) conditions; with `need_weights` also (B, H, T + S + L) attention, of the domain's prototypes, the
            shared tokens and the context in this order.

        Raises:
            InputError: a type or shape does not fit, or a domain is none of these.
        """
        refuse_tensors(user_emb, context, context_mask, self.query.weight)
        domain = self._domain(domain_id, len(user_emb))
        if isinstance(domain, int):
            chosen, place = self.tokens()[domain : domain + 1], None
        else:
            chosen, place = self.tokens(), domain
        condition, weights = self._conditions(user_emb, chosen, place, context, context_mask)
        return (condition[:, 0], weights[:, 0]) if need_weights else condition[:, 0]

    @overload
    def all_domains(
        self,
        user_emb: Tensor,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        need_weights: Literal[False] = False,
    ) -> Tensor: ...

    @overload
    def all_domains(
        self,
        user_emb: Tensor,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        *,
        need_weights: Literal[True],
    ) -> tuple[Tensor, Tensor]: ...

    def all_domains(
        self,
        user_emb: Tensor,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Conditions of users (B, D) in every domain, at once: (B, M, D); with weights (B, M, H, T + S + L).

        Arguments are those of a call; see there.
        """
        refuse_tensors(user_emb, context, context_mask, self.query.weight)
        condition, weights = self._conditions(user_emb, self.tokens(), None, context, context_mask)
        return (condition, weights) if need_weights else condition

    def _conditions(
        self, user: Tensor, tokens: Tensor, place: Tensor | None, context: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Conditions in G domains with tokens (G, N, D), or in the one of them at each user's place (B,).

        Returns:
            (B, G, D) and attention (B, G, H, N + L); G is 1 where there is a place.
        """
        if context is not None and mask is not None:  # a weight of 0 would not silence what is not finite
            context = context.masked_fill(~mask[..., None], 0.0)
        logits = self._logits(user, tokens)
        at = None if place is None else place[:, None, None, None].expand(-1, 1, *logits.shape[2:])
        if at is not None:
            logits = logits.gather(1, at)
        if context is not None:
            own = torch.einsum("bhc,blhc->bhl", self._heads(self.query(user)), self._heads(self.key(context)))
            own = own * self._scale
            if mask is not None:
                own = own.masked_fill(~mask[:, None], -torch.inf)
            logits = torch.cat([logits, own[:, None].expand(-1, logits.shape[1], -1, -1)], 3)
        weights = logits.softmax(3, torch.float32 if logits.dtype in HALF else None).to(logits.dtype)
        return self._applied(user, self._found(self.dropout(weights), tokens, at, context)), weights

    def _logits(self, user: Tensor, tokens: Tensor) -> Tensor:
        """q_h . k_h / sqrt(C) of users (B, D) and tokens (G, N, D): (B, G, H, N).

        W_q is folded into the keys, which are few: one product for all users.
        """
        key = self._heads(self.key(tokens)) * self._scale
        query = self.query.weight.view(self.num_heads, -1, user.shape[1])
        table, bias = torch.einsum("gnhc,hcd->ghnd", key, query), torch.einsum("gnhc,hc->ghn", key, self._bias)
        logits: Tensor = linear(user, table.flatten(0, 2), bias.flatten())
        return logits.view(len(user), *bias.shape)

    def _found(self, weights: Tensor, tokens: Tensor, at: Tensor | None, context: Tensor | None) -> Tensor:
        """W a + b, what is made of the weighted sums of values, from weights (B, G, H, N + L): (B, G, D or 2 D).

        W is folded into the values likewise.
        """
        size = tokens.shape[1]
        value, out = self._heads(self.value(tokens)), self.out.weight.view(len(self.out.weight), self.num_heads, -1)
        table = torch.einsum("gnhc,ohc->ghno", value, out).flatten(1, 2)  # (G, H * N, ..)
        own = weights[..., :size]
        if at is None:
            found = torch.einsum("bgk,gko->bgo", own.flatten(2), table)
        else:
            spread = own.new_zeros(len(own), len(tokens), *own.shape[2:]).scatter(1, at, own)
            found = (spread.flatten(1) @ table.flatten(0, 1))[:, None]
        if context is not None:
            pooled = torch.einsum("bghl,blhc->bghc", weights[..., size:], self._heads(self.value(context)))
            found = found + linear(pooled.flatten(2), self.out.weight)
        return found + self.out.bias

    def _applied(self, user: Tensor, change: Tensor) -> Tensor:
        """Users (B, D) and what attention found of them (B, G, D or 2 D) -> conditions (B, G, D)."""
        if self.mode == "attention":
            return change
        if self.mode == "residual":
            return user[:, None] + change
        gamma, beta = change.chunk(2, 2)
        return user[:, None] * (1 + gamma) + beta

    @property
    def _scale(self) -> float:
        """1 / sqrt(C)."""
        return math.sqrt(self.num_heads / self.query.in_features)

    @property
    def _bias(self) -> Tensor:
        """Of queries, (H, C)."""
        return self.query.bias.view(self.num_heads, -1)

    def _heads(self, rows: Tensor) -> Tensor:
        """(..., D) -> (..., H, C)."""
        return rows.reshape(*rows.shape[:-1], self.num_heads, rows.shape[-1] // self.num_heads)

    def _domain(self, domain: int | Tensor, batch: int) -> int | Tensor:
        """The domain of all users, or (B,) that of each, in range."""
        if isinstance(domain, Tensor) and (domain.is_floating_point() or domain.is_complex()):
            raise self._no_ids(str(domain.dtype))
        if isinstance(domain, bool) or (isinstance(domain, Tensor) and domain.dtype == torch.bool):
            raise self._no_ids("true or false")
        if not isinstance(domain, Tensor) or domain.dim() == 0:
            try:
                one = index(domain)
            except TypeError as error:
                raise self._no_ids(f"of type {type(domain).__name__}") from error
            self._refuse_domains(one, one)
            return one
        if domain.dim() != 1 or len(domain) not in (1, batch):
            raise InputError(
                f"Domain ids have the shape {tuple(domain.shape)} for {batch} users: give one number, or one of each."
            )
        if len(domain):
            lowest, highest = torch.stack(domain.aminmax()).tolist()
            self._refuse_domains(lowest, highest)
        return domain.long().expand(batch)

    def _refuse_domains(self, lowest: int, highest: int) -> None:
        for domain in (lowest, highest):
            if not 0 <= domain < self.num_domains:
                raise InputError(f"There is no domain {domain}: the domains are {self._ids}.")

    def _no_ids(self, given: str) -> InputError:
        return InputError(
            f"Domain ids are whole numbers, {self._ids}, and these are {given}. Hand over one for all users, or a "
            "LongTensor of one for each."
        )

    @property
    def _ids(self) -> str:
        return ", ".join(map(str, range(self.num_domains)))


def _one_token(shared_tokens: int) -> str:
    said = (
        f"one prototype for each domain (num_tokens=1) beside {shared_tokens} shared tokens: users differ in how much "
        "they attend to it and not in what they find in it, and with shared_tokens=0 not even in that."
        if shared_tokens
        else "one token (num_tokens=1, shared_tokens=0), over which every softmax is 1: what it attends to does not "
        "depend on the user unless there is a context."
    )
    return f"AttentionConditioner has {said} Give it more num_tokens (8 by default)."


def _refuse_out_of_range(
    dim: int, heads: int, domains: int, dropout: float, tokens: int, shared: int, mode: str
) -> None:
    sizes = {"emb_dim": dim, "num_heads": heads, "num_domains": domains, "num_tokens": tokens, "shared_tokens": shared}
    for name, size in sizes.items():
        if not isinstance(size, Integral):
            raise InputError(f"AttentionConditioner needs a whole number as {name}, and was given {size!r}.")
    if dim < 1 or heads < 1 or dim % heads:
        raise InputError(
            f"AttentionConditioner needs an emb_dim that num_heads divides, and was given {dim} and {heads}."
        )
    if domains < 1 or tokens < 1 or shared < 0:
        raise InputError(
            "AttentionConditioner needs at least 1 of num_domains and num_tokens and no negative shared_tokens, and "
            f"was given {domains}, {tokens} and {shared}."
        )
    if not (isinstance(dropout, Real) and 0 <= dropout < 1):
        raise InputError(f"AttentionConditioner needs a dropout from 0 to less than 1, and was given {dropout!r}.")
    if mode not in get_args(Mode):
        raise InputError(f"AttentionConditioner knows the modes {', '.join(get_args(Mode))}, and was given {mode!r}.")
