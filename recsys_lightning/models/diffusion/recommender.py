"""The recommender that generates: the vector of a user's next item in a domain, out of noise."""

from __future__ import annotations

from typing import NamedTuple, get_args

import torch
from torch import Tensor

from recsys_lightning.batches import UserDomainBatch, Vectors, Views
from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Recommender
from recsys_lightning.models.diffusion.denoiser import Denoiser
from recsys_lightning.models.diffusion.sampling import Denoise, Sampler, ddim, guided, noise_of
from recsys_lightning.models.diffusion.schedule import CosineSchedule, Prediction
from recsys_lightning.models.domains import by_domain, domain_of, require_vectors
from recsys_lightning.models.sparse import blocks
from recsys_lightning.schema import Schema

USERS_AT_ONCE = 1024
"""`vectors` samples for so many users at a time."""

FLAT = 1e-6
"""A column that varies by no larger a share of its size is constant but for rounding."""


class Encoded(NamedTuple):
    """What samples are drawn by and ranked against."""

    condition: Tensor  # (U, M, C), standardised
    item: Tensor  # (I, M * (D + 1)), zero but in the block of the item's domain


class DiffusionRecommender(Recommender):
    """Draws the vector of a next item in domain d from noise, told by the user's condition in d.

        score(u, i) = (sample_d(u) - m_d) . (v_i - m_d) / (s_d^2 sqrt(D)) + log(1 + n_i),    d the domain of item i
        sample_d(u) = DDIM(noise(seed, u, d) | condition_d(u), d)

    with n_i the train rows of item i, and m_d and s_d the mean and the deviation of what these rows name. A sample is
    an item's vector, not a query: along the mean of all items it says nothing of the user, and how popular items are
    has no place in it. So the mean is taken off, and popularity is the prior: a sample that says nothing of the user
    ranks as Popularity does. It remains a dot product, of D + 1 numbers.

    Conditions and item vectors are frozen, of an earlier run (`views.vectors`): one condition for each domain, or one
    of the user for all. Both are standardised by domain and column, by what the train rows hold; the figures are kept
    in the checkpoint, and samples are put back to the scale of the items before they are ranked.

    The condition is left out at random in training, so that one network predicts with and without it, and what it
    does can be made stronger (`guidance`). Noise is a pure function of (seed, user, domain): lists do not depend on who
    else is asked for.

    In training, a condition was itself made of rows that hold the item it is to predict; only held-out rows tell what
    it is worth.

    Args:
        schema: sizes of the data.
        timesteps: T of the diffusion that is trained. 1 makes a regressor of the same size: all it sees is noise and
            condition.
        prediction: what the network says: `v` or `x0`.
        width: of the denoiser's hidden layers.
        depth: of its blocks.
        condition_dropout: chance of a condition to be left out in training, from 0 to less than 1.
        steps: of sampling, from 1 to timesteps.
        guidance: 0 ignores the condition, 1 samples by it, more exaggerates it. A single faithful sample is one item
            out of many that could come next, and ranks badly; guidance and samples bring it nearer to what they share.
        samples: of each user, whose mean ranks; the more, the nearer to the mean of all that could come next. Two that
            start from opposite noise are nearly as good as many: see `noise_of`.
        seed: of the noise that samples start from.

    Raises:
        InputError: an argument is out of its range, or the data have no vectors.
    """

    reads_vectors = True
    item_mean: Tensor
    item_std: Tensor
    condition_mean: Tensor
    condition_std: Tensor

    def __init__(
        self,
        schema: Schema,
        timesteps: int = 1000,
        prediction: Prediction = "v",
        width: int = 256,
        depth: int = 3,
        condition_dropout: float = 0.1,
        steps: int = 20,
        guidance: float = 2.0,
        samples: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(schema)
        require_vectors(schema, "DiffusionRecommender")
        if prediction not in get_args(Prediction) or not 0 <= condition_dropout < 1:
            raise InputError(
                "DiffusionRecommender predicts v or x0 and needs a condition_dropout from 0 to less than 1, and was "
                f"given prediction {prediction!r} and condition_dropout {condition_dropout}."
            )
        self.schedule = CosineSchedule(timesteps)
        self.schedule.ladder(steps)
        self.prediction, self.condition_dropout = prediction, condition_dropout
        self.sampler = Sampler(steps, guidance, samples, seed)
        self.domains, self.dim = schema.domains or ("all",), schema.vector_width
        self.num_domains = len(self.domains)
        self.denoiser = Denoiser(self.dim, self.dim, self.num_domains, width, depth)
        for name in ("item", "condition"):
            self.register_buffer(f"{name}_mean", torch.zeros(self.num_domains, self.dim))
            self.register_buffer(f"{name}_std", torch.ones(self.num_domains, self.dim))

    def get_extra_state(self) -> Tensor:
        """What parameters were trained for and do not show by their shapes."""
        return torch.tensor([self.schedule.timesteps, get_args(Prediction).index(self.prediction)])

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse parameters that were trained for something else.

        Raises:
            InputError: they were.
        """
        timesteps, kind = (int(value) for value in state)
        saved, own = (timesteps, get_args(Prediction)[kind]), (self.schedule.timesteps, self.prediction)
        if saved != own:
            raise InputError(
                f"The checkpoint was trained with timesteps {saved[0]} and prediction {saved[1]}, and the "
                f"configuration asks for {own[0]} and {own[1]}. Give the options of its run (they lie in the run's "
                "config.yaml)."
            )

    # Training

    @torch.no_grad()
    def standardise(self, views: Views) -> None:
        """Measure mean and deviation of each domain, of the items that train rows name and of the users who have any.

        Training draws one of a user's items in each domain, so each train row counts 1 / (rows of its user there).

        Raises:
            InputError: a domain has no train row.
        """
        vectors, train = views.vectors, views.train
        condition = self._by_domain(vectors.user)[views.train.degree > 0]
        of = domain_of(views)
        place = train.row * self.num_domains + of[train.col]
        share = 1 / torch.bincount(place, minlength=views.num_users * self.num_domains)[place].double()
        named = share.new_zeros(views.num_items).index_add(0, train.col, share)
        for code, name in enumerate(self.domains):
            weight = torch.where(of == code, named, 0.0)
            if not weight.any():
                raise InputError(f"Domain {name} has no train row: there is nothing to learn of it. Leave it out.")
            _measure(vectors.item, weight, self.item_mean[code], self.item_std[code])
            everybody = weight.new_ones(len(condition))
            _measure(condition[:, code], everybody, self.condition_mean[code], self.condition_std[code])

    def denoising_loss(self, views: Views, batch: UserDomainBatch) -> Tensor:
        """Mean squared error of the prediction over the rows whose item is known, a scalar; zero where none is.

        Times are uniform from 1 to T.
        """
        domain, vectors = batch.domain, views.vectors
        dtype = self.denoiser.into.weight.dtype
        x0 = ((vectors.item[batch.item] - self.item_mean[domain]) / self.item_std[domain]).to(dtype)
        condition = vectors.user[batch.user] if vectors.user.dim() == 2 else vectors.user[batch.user, domain]
        condition = ((condition - self.condition_mean[domain]) / self.condition_std[domain]).to(dtype)
        t = torch.randint(1, self.schedule.timesteps + 1, domain.shape, device=domain.device)
        noise = torch.randn_like(x0)
        told = torch.rand(domain.shape, device=domain.device) >= self.condition_dropout
        predicted = self.denoiser(
            self.schedule.diffuse(x0, noise, t), t / self.schedule.timesteps, condition, domain, told
        )
        error = (predicted.float() - self.schedule.target(x0, noise, t, self.prediction).float()).square().mean(1)
        loss: Tensor = (error * batch.known).sum() / batch.known.sum().clamp_min(1)
        return loss

    # Ranking

    def encode(self, views: Views) -> Encoded:
        """Conditions on the denoiser's scale, and items by domain."""
        condition = (self._by_domain(views.vectors.user) - self.condition_mean) / self.condition_std
        nobody = condition.new_zeros(0, self.num_domains, self.dim + 1)
        return Encoded(condition, by_domain(nobody, self._ranked(views), domain_of(views)).item)

    def users(self, state: Encoded, user: Tensor) -> Tensor:
        """Queries of users in each domain, one after the other: (B,) -> (B, M * (D + 1))."""
        return self.queries(state, user).flatten(1)

    def users_in(
        self,
        state: Encoded,
        user: Tensor,
        domain: int,
        sampler: Sampler | None = None,
        told: Tensor | None = None,
    ) -> Tensor:
        """Likewise with zeros for the other domains, whose samples nobody draws; see `sample`."""
        drawn = self._query(self.sample(state, user, domain, sampler, told), domain)
        found = drawn.new_zeros(len(user), self.num_domains, self.dim + 1)
        found[:, domain] = drawn
        return found.flatten(1)

    def queries(self, state: Encoded, user: Tensor) -> Tensor:
        """What ranks the items of each domain for users, (B,) -> (B, M, D + 1)."""
        codes = range(self.num_domains)
        return torch.stack([self._query(self.sample(state, user, code), code) for code in codes], 1)

    def vectors(self, views: Views) -> Vectors:
        """Queries of all users in each domain, and the items that they are ranked against, D + 1 wide."""
        state = self.encode(views)
        parts = [self.queries(state, user) for user in blocks(self.num_users, USERS_AT_ONCE, views.device)]
        return Vectors(torch.cat(parts), self._ranked(views))

    @torch.no_grad()
    def sample(
        self,
        state: Encoded,
        user: Tensor,
        domain: int,
        sampler: Sampler | None = None,
        told: Tensor | None = None,
    ) -> Tensor:
        """Samples of users (B,) in one domain, (B, D), on the scale of the item vectors; without gradient.

        Args:
            state: of `encode`.
            user: whose noise they start from.
            domain: of the items.
            sampler: how they are drawn; as configured where None.
            told: (B,) users whose conditions are given; the same users where None.
        """
        chosen = sampler or self.sampler
        noise = noise_of(user, domain, chosen.samples, self.dim, chosen.seed).to(state.condition.dtype)
        condition = state.condition[user if told is None else told, domain].repeat_interleave(chosen.samples, 0)
        denoise = self._denoise(condition, domain, chosen.guidance)
        drawn = ddim(denoise, noise.flatten(0, 1), self.schedule, chosen.steps)
        mean = drawn.view(len(user), chosen.samples, self.dim).mean(1)
        return mean * self.item_std[domain] + self.item_mean[domain]

    def _ranked(self, views: Views) -> Tensor:
        """What queries are multiplied with, (I, D + 1): items about the mean of their domain, and their prior."""
        of = domain_of(views)
        item = (views.vectors.item - self.item_mean[of]) / self._spread[of, None]
        return torch.cat([item, views.popularity.log1p().to(item.dtype)[:, None]], 1)

    def _query(self, sample: Tensor, domain: int) -> Tensor:
        """A sample (B, D) as what ranks, (B, D + 1)."""
        query = (sample - self.item_mean[domain]) / (self._spread[domain] * self.dim**0.5)
        return torch.nn.functional.pad(query, (0, 1), value=1.0)

    @property
    def _spread(self) -> Tensor:
        """Deviation of the items that train rows name, over all columns, (M,)."""
        return self.item_std.square().mean(1).sqrt()

    def _denoise(self, condition: Tensor, domain: int, guidance: float) -> Denoise:
        """Noisy vectors and a time to data, for rows with these conditions (B, C)."""
        dtype = self.denoiser.into.weight.dtype
        codes = torch.full((len(condition),), domain, device=condition.device)

        def predict(x: Tensor, t: Tensor, told: bool) -> Tensor:
            given = torch.full_like(codes, told, dtype=torch.bool)
            said = self.denoiser(x.to(dtype), t / self.schedule.timesteps, condition.to(dtype), codes, given)
            return self.schedule.x0(x, said.to(x.dtype), t, self.prediction)

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            if guidance in (0, 1):
                return predict(x, t, guidance == 1)
            return guided(predict(x, t, True), predict(x, t, False), guidance)

        return denoise

    def _by_domain(self, user: Tensor) -> Tensor:
        """Conditions of users, (U, M, C), out of those or one for all domains, (U, C).

        Raises:
            InputError: there are conditions of another number of domains.
        """
        if user.dim() == 3 and user.shape[1] != self.num_domains:
            raise InputError(
                f"The vectors hold conditions of {user.shape[1]} domains, and the data have {self.num_domains}. Name "
                "the vectors of a run on these data in data.vectors."
            )
        return user if user.dim() == 3 else user[:, None].expand(-1, self.num_domains, -1)


def _measure(rows: Tensor, weight: Tensor, mean: Tensor, std: Tensor) -> None:
    """Write weighted mean and standard deviation of rows (n, D); of a column that does not vary, 1."""
    share = (weight / weight.sum())[:, None]
    centre = (share * rows.double()).sum(0)
    spread = (share * (rows.double() - centre).square()).sum(0).sqrt()
    mean.copy_(centre)
    std.copy_(torch.where(spread > FLAT * (1 + centre.abs()), spread, 1.0))
