"""`make demo`: train LightGCN on the embedded sample, test it beside the floors, recommend for two users.

The same as `recsys floors`, `fit`, `test` and `predict` with the configuration named below, and shows how to do that
from Python.
"""

from pathlib import Path

import pandas as pd

from recsys_lightning.callbacks.checkpoint import BestAndLast
from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.cli.floors import run as floors
from recsys_lightning.cli.trainer import make_cli

CONFIG = Path(__file__).parent / "movietweetings" / "lightgcn.yaml"
DATA = Path(__file__).parent.parent / "data"


def main() -> None:
    """Run the demo."""
    options = ["--config", str(CONFIG), "--data.root", str(DATA)]
    print("1. What a model has to beat: closed forms, tuned on val\n")
    floors(["floors", *options])

    print("\n2. LightGCN is trained; the best on val is kept\n")
    fitted = make_cli(["fit", *options, "--trainer.enable_model_summary", "false"], run=True)
    checkpoint = fitted.trainer.checkpoint_callback
    assert isinstance(checkpoint, BestAndLast)
    trained = ["--ckpt_path", checkpoint.best_model_path, "--trainer.enable_progress_bar", "false"]

    print("\n3. Tested once, by full ranking, beside the floors\n")
    tested = make_cli(["test", *options, *trained], run=True)

    print("\n4. Recommendations\n")
    predicted = make_cli(["predict", *options, *trained], run=True)
    table = pd.read_parquet(run_folder(predicted.trainer) / "recommendations.parquet")
    for user, rows in list(table.groupby("user_id", sort=False))[:2]:
        print(f"\nuser {user}")
        print("\n".join(f"{row.rank:>4}  {row.score:6.2f}  {row.title}" for row in rows.itertuples()))

    folder = run_folder(fitted.trainer)
    print(f"\nrun         {folder}")
    print(f"config      {folder / 'config.yaml'}")
    print(f"checkpoint  {checkpoint.best_model_path}")
    print(f"logs        {folder / 'metrics.csv'}")
    print(f"results     {run_folder(tested.trainer) / 'metrics.json'}, report.md and per_user.parquet beside it")


if __name__ == "__main__":
    main()
