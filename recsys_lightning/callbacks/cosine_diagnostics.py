"""Watches how far the conditions of users are turned away from the users themselves."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule, Trainer

from recsys_lightning.callbacks.watching import Looked, Watch
from recsys_lightning.metrics.subspaces import cosines
from recsys_lightning.tasks.evaluation import RankingTask

LOST, LOW, HIGH = 0.7, 0.85, 0.95
"""A condition with a smaller cosine has lost its user; between the other two it keeps the user, and is not the same."""
QUANTILES = (0.05, 0.5, 0.95)


class CosineDiagnostics(Watch):
    """Measures after each validation the cosine of a user's vector and the user's condition, in every domain.

    Between 0.85 and 0.95 the condition keeps the direction of the user and adds to it; below 0.7 it is somebody else.
    What that means for the mean of a domain is said in a sentence: at once, and once, where users are lost for several
    validations in a row, else at the end of the fit, in `cosine_diagnostics.json`.

    Logged as `conditions/cosine`, `conditions/cosine_q05`, `_q50` and `_q95`, `conditions/cosine_85_95` and
    `conditions/cosine_below_70` (shares of users and domains), `conditions/cosine_centred` (without the mean user and
    the mean condition of the domain), and `conditions/cosine_<domain>`.

    Args:
        users: who are looked at, at most; more are sampled.
        patience: validations in a row that must look bad before it is said.
        seed: of the sample.
    """

    name, group = "cosine_diagnostics", "conditions"

    def look(self, trainer: Trainer, task: RankingTask, looked: Looked) -> None:
        """Measure, record, and warn."""
        cosine, centred = (
            torch.stack([cosines(looked.vector, one, centred=centred) for one in looked.condition.unbind(1)], 1)
            for centred in (False, True)
        )
        quantiles = cosine.quantile(torch.tensor(QUANTILES, dtype=cosine.dtype, device=cosine.device)).tolist()
        figures = {
            "cosine": float(cosine.mean()),
            **{f"cosine_q{share * 100:02.0f}": value for share, value in zip(QUANTILES, quantiles, strict=True)},
            "cosine_85_95": float(((cosine >= LOW) & (cosine <= HIGH)).double().mean()),
            "cosine_below_70": float((cosine < LOST).double().mean()),
            "cosine_centred": float(centred.mean()),
        }
        of_domains = dict(zip(looked.domains, cosine.unbind(1), strict=True))
        if len(of_domains) > 1:
            figures |= {f"cosine_{domain}": float(values.mean()) for domain, values in of_domains.items()}
        values = {f"cosine_{domain}": values for domain, values in of_domains.items()}
        self.record(trainer, task, figures, values=values)
        for domain in looked.domains:
            figure = f"cosine_{domain}" if len(of_domains) > 1 else "cosine"
            if self.lasts(figure, self.patience, below=LOST):
                self.warn_once(domain, meaning(domain, self.rows[-1][figure]))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say of every domain what its cosine means, and write."""
        if self.rows and isinstance(pl_module, RankingTask):
            last = self.rows[-1]
            for domain in pl_module.domains or ("all",):
                mean = last.get(f"cosine_{domain}", last["cosine"])
                if mean < LOST:
                    self.warn_once(domain, meaning(domain, mean))
                else:  # what was lost for a while may have been found again
                    self.said[f"{domain} in the end"] = meaning(domain, mean)
        super().on_train_end(trainer, pl_module)


def meaning(domain: str, cosine: float) -> str:
    """What the mean cosine of users and their conditions in a domain means."""
    begin = f"{domain}: the cosine of users and their conditions is {cosine:.3f} in the mean"
    if cosine < LOST:
        return (
            f"{begin}, below {LOST}: the conditions have lost their users. Give the reconstruction or the cosine loss "
            "more weight, or train with a smaller learning rate."
        )
    if cosine < LOW:
        return f"{begin}, between {LOST} and {LOW}: the conditions keep less of their users than they should."
    if cosine <= HIGH:
        return f"{begin}, between {LOW} and {HIGH}: the conditions keep their users, and add to them."
    return f"{begin}, above {HIGH}: the conditions are nearly the users themselves; the domain adds little."
