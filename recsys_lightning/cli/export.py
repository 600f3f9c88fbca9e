"""`recsys export`: a trained model as a folder that `recsys serve` answers from."""

from __future__ import annotations

from pathlib import Path

from recsys_lightning.cli.own_options import OwnOptions
from recsys_lightning.errors import InputError

HELP = """\
recsys export: a model as a folder of plain files, to be served without torch and without the data

  recsys export RUN --to FOLDER
  recsys export --config FILE --ckpt_path FILE --to FOLDER

  RUN                the folder of a run: its config.yaml, and its checkpoints/best.ckpt
  --config FILE      an experiment, or the config.yaml of a run
  --ckpt_path FILE   the checkpoint of that run; closed-form models need none
  --to FOLDER        is made; whole, or not at all
  --overwrite        replace an export that lies there

The folder holds vectors (or the item-item matrix of closed forms), ids, titles, categories, what users have, the
towers of a TwoTower as ONNX, and a manifest with the digest of each file. It can be moved and copied. Scores of some
users by the export are compared with the model's before it is there.

Models that can be exported: those that score by inner products of vectors (MF, LightGCN, GAT, TwoTower, ...), and the
sums of ItemKNN, EASE, GFCF and ContentKNN. Other options change the configuration, as in `recsys predict`.
"""


def run(words: list[str]) -> None:
    """Carry out `recsys export`; `words` starts with it."""
    parser = OwnOptions("--to", "--ckpt_path")
    parser.add_argument("--overwrite", action="store_true")
    own, rest = parser.read(words[1:])
    if own.to is None:
        raise InputError("Say where to: recsys export RUN --to FOLDER.")
    checkpoint = own.ckpt_path
    if rest and not rest[0].startswith("-"):
        config, checkpoint = of_run(Path(rest[0]), checkpoint)
        rest = ["--config", config, *rest[1:]]
    if not rest:
        raise InputError("Say which model: recsys export RUN --to FOLDER, or --config FILE --ckpt_path FILE.")
    _require_extras()
    from recsys_lightning.cli.advice import ask
    from recsys_lightning.export.write import write_export

    advisor, data = ask(rest, checkpoint, "export")
    held = write_export(advisor, data, Path(own.to), own.overwrite)
    size = sum(file.bytes for file in held.files.values())
    print(
        f"{held.model} for {held.data}: {held.users:,} users, {held.items:,} {held.item_type}s, {size / 1e6:.1f} MB\n"
        f"histories of new users: {'yes' if held.folds_in else 'no'}, metadata of new items: "
        f"{'yes' if held.columns else 'no'}\nserve it: recsys serve {own.to}"
    )


def of_run(folder: Path, checkpoint: str | None = None) -> tuple[str, str | None]:
    """Configuration of a run, and a checkpoint: the one that is named, or its best where it has one.

    Raises:
        InputError: it is no folder of a run, or of a test, which has no checkpoint of its own.
    """
    from recsys_lightning.reports.run.folder import newest_run
    from recsys_lightning.reports.run.values import read_json

    config, best = folder / "config.yaml", folder / "checkpoints" / "best.ckpt"
    if newest := newest_run(folder):
        raise InputError(f"{folder} holds several runs. Name one; the newest is {newest}.")
    if not config.is_file():
        raise InputError(f"{folder} is no folder of a run: it has no config.yaml. `recsys fit` says where its run is.")
    if checkpoint is not None or best.is_file():
        return str(config), checkpoint or str(best)
    if tested := read_json(folder / "metrics.json")["checkpoint"].text():
        run = Path(tested).parent.parent
        raise InputError(
            f"{folder} is the run of a test, and holds no model. The checkpoint that it tested is of the run {run}: "
            f"recsys export {run} --to FOLDER."
        )
    return str(config), None


def _require_extras() -> None:
    try:
        import pydantic  # noqa: F401
    except ImportError as error:
        raise InputError(f"`recsys export` needs {error.name}: pip install recsys-lightning[serve].") from error
