"""`recsys dashboard`: a workspace of Weights & Biases for the runs of a task."""

from __future__ import annotations

import json

from recsys_lightning.cli.own_options import OwnOptions, whole_number
from recsys_lightning.cli.wandb_account import wandb_key, wandb_project
from recsys_lightning.errors import InputError

HELP = """\
recsys dashboard --task NAME: what a workspace of Weights & Biases shows of the runs of a task

  --task NAME      Ranking, Conditioning or Diffusion
  --k N            cut-off of the figures, one of model.k of the runs; 10 without
  --json           the workspace as W&B stores it, instead of an outline; no account is needed
  --upload         make it in W&B, which asks for a key: WANDB_API_KEY in the environment, or `wandb login`
  --entity NAME    user or team that the project belongs to; needed by --upload
  --project NAME   of the runs (--trainer.logger.project) [recsys_lightning]

`make setup EXTRAS=dev,dashboards` installs what --json and --upload need.
"""


def run(words: list[str]) -> None:
    """Carry out `recsys dashboard`; `words` starts with it."""
    parser = OwnOptions("--task", "--k", "--entity", "--project")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--upload", action="store_true")
    own, rest = parser.read(words[1:])
    if rest:
        raise InputError(f"There is no option {rest[0]}: recsys dashboard --task NAME [--k N] [--json] [--upload].")
    if own.task is None:
        raise InputError("Say of which task: recsys dashboard --task Ranking.")
    k = whole_number("k", own.k or "10", 1)
    project = own.project or wandb_project()
    if own.upload:
        _upload(own.task, k, own.entity, project)
        return
    from recsys_lightning.callbacks.wandb.dashboards import dashboard, outline, workspace

    if own.json:
        made = workspace(own.task, k, own.entity or "entity", project)
        print(json.dumps(made._spec, indent=2, ensure_ascii=False))
    else:
        print("\n".join(outline(dashboard(own.task, k))))


def _upload(task: str, k: int, entity: str | None, project: str) -> None:
    from recsys_lightning.callbacks.wandb.dashboards import workspace

    if not entity:
        raise InputError(f"--upload needs --entity: whose the project {project} is.")
    if not wandb_key():
        raise InputError(
            "There is no key of Weights & Biases: set WANDB_API_KEY or say `wandb login`, then upload again. Without a "
            "key, --json shows the workspace."
        )
    made = workspace(task, k, entity, project)
    try:
        print(made.save().url)
    except Exception as error:  # whatever the service or the way to it has to say
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise InputError(f"Weights & Biases did not take the dashboard: {reason}.") from error
