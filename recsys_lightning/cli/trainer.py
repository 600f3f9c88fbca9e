"""`recsys fit | validate | test | predict`: LightningCLI with our defaults."""

from __future__ import annotations

import logging
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import torch.distributed as dist
import yaml
from jsonargparse import Namespace, get_loader, set_loader
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, WandbLogger

# what is imported here is known on the command line by its short name
from recsys_lightning.callbacks.attention_diagnostics import AttentionDiagnostics  # noqa: F401
from recsys_lightning.callbacks.checkpoint import AtomicCheckpointIO, BestAndLast, usable_checkpoint
from recsys_lightning.callbacks.config import SaveConfig, plain
from recsys_lightning.callbacks.cosine_diagnostics import CosineDiagnostics  # noqa: F401
from recsys_lightning.callbacks.diagnostics import Diagnostics  # noqa: F401
from recsys_lightning.callbacks.diffusion_checks import DiffusionChecks  # noqa: F401
from recsys_lightning.callbacks.domain_diversity import DomainDiversity  # noqa: F401
from recsys_lightning.callbacks.finite import StopOnNonFinite
from recsys_lightning.callbacks.memory import ExplainOutOfMemory
from recsys_lightning.callbacks.overfitting import Overfitting  # noqa: F401
from recsys_lightning.callbacks.recommendations import WriteRecommendations
from recsys_lightning.callbacks.results import WriteResults
from recsys_lightning.callbacks.run_folder import run_folder
from recsys_lightning.callbacks.swap_test import SwapTest  # noqa: F401
from recsys_lightning.callbacks.vectors import WriteVectors
from recsys_lightning.callbacks.wandb.logger import TolerantWandbLogger
from recsys_lightning.callbacks.wandb.track import TrackRun
from recsys_lightning.cli import show_warning
from recsys_lightning.cli.combinations import refuse_combinations
from recsys_lightning.cli.experiment import check_configs
from recsys_lightning.cli.processes import tell_of_the_first
from recsys_lightning.cli.resume import refuse_other_options
from recsys_lightning.cli.run_folders import discard, keep_previous_log, next_version
from recsys_lightning.cli.wandb_account import settle_wandb
from recsys_lightning.data.text.sentences import SentenceTransformer  # noqa: F401
from recsys_lightning.datamodules.interactions import InteractionsDataModule
from recsys_lightning.errors import extra
from recsys_lightning.tasks.base import Task

HELP_OF = """\
recsys {verb}: give a configuration, and options that change it; a later one wins

  --config FILE             an experiment, e.g. experiments/movietweetings/lightgcn.yaml
  --ckpt_path FILE          the checkpoint to {ckpt}
  --data NAME               the data set; --data.help NAME lists its options
  --data.root FOLDER        where raw data lie, instead of data/ or RECSYS_DATA
  --data.recipe.split NAME  global_time, leave_last_out, random, official, item_cold, user_cold,
                            target_cold
  --data.graph.attributes   node types of the graph, e.g. [genre]; [] for none, unset for the data set's own
  --data.text.columns       item columns whose words become vectors, e.g. [title,overview]
  --model Ranking           the task; --model.help Ranking lists its options
  --model.recommender NAME  the network; --model Ranking --model.recommender.help NAME lists its options
  --trainer.logger WandbLogger   to Weights & Biases, offline without a key; into the project recsys_lightning, or
                            that of --trainer.logger.project or WANDB_PROJECT
  --trainer.max_epochs N, --trainer.devices N, ... as in Lightning's Trainer
  --early_stopping.patience N, --checkpoint.monitor METRIC, --checkpoint.mode max
  --checkpoint.every_n_steps N   also write last.ckpt in the middle of epochs
  --seed_everything N       the seed of everything random in training
  --print_config            show the whole configuration, and stop

`recsys {verb} --help-all` lists every option.
"""


class RecsysCLI(LightningCLI):
    """LightningCLI with our tasks, data, callbacks and defaults."""

    claimed: Path | None = None
    """The folder that was made for the latest run; of the class, as a run that fails leaves no instance."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Checkpoints and early stopping are options of every run."""
        parser.add_lightning_class_args(BestAndLast, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults(
            {
                "early_stopping.monitor": "val/ndcg_10",
                "early_stopping.mode": "max",
                "early_stopping.patience": 10,
            }
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The trainer's methods, without the arguments that we decide."""
        decided = {"verbose", "weights_only"}
        return {verb: arguments | decided for verb, arguments in LightningCLI.subcommands().items()}

    def _parse_ckpt_path(self) -> None:
        """Check the checkpoint. The configuration rules: Lightning lets a checkpoint's options win in silence."""
        config = self.config[self.config.subcommand] if self.config.get("subcommand") else {}
        path = config.get("ckpt_path")
        if path:
            config["ckpt_path"] = str(usable_checkpoint(Path(path)))

    def before_instantiate_classes(self) -> None:
        """Refuse what excludes one another; keep loggers below the root folder, and W&B from asking for a key."""
        refuse_combinations(self._get(self.config, "model"))
        if (run := self._resumed()) is not None:
            verb = str(self.subcommand)
            refuse_other_options(run, plain(self._parser(verb), self.config[verb]))
        config = self._get(self.config, "trainer")
        loggers = config.logger if isinstance(config.logger, list) else [config.logger]
        for logger in loggers:
            if isinstance(logger, Namespace) and str(logger.class_path).endswith("WandbLogger"):
                extra("wandb", "--trainer.logger WandbLogger")
                settle_wandb()
                if logger.init_args.save_dir == ".":
                    logger.init_args.save_dir = config.default_root_dir

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        config["plugins"] = [*_as_list(config.get("plugins")), AtomicCheckpointIO()]
        if config.get("logger") in (None, True):
            config["logger"] = self._csv_logger(Path(config["default_root_dir"]))
            if self.subcommand == "fit":
                keep_previous_log(Path(config["logger"].log_dir))
        loggers = _as_list(config["logger"])
        to_wandb = any(isinstance(logger, WandbLogger) for logger in loggers)
        if to_wandb:
            config["logger"] = [_tolerant(logger, str(self.subcommand)) for logger in loggers]
        named = _as_list(config.get("callbacks"))
        own = [
            kind()
            for kind in (StopOnNonFinite, ExplainOutOfMemory, WriteResults, WriteRecommendations)
            if not _has(named, kind)
        ]
        config["callbacks"] = [
            *own,  # first: what others do must neither lose the figures nor lengthen the test
            *named,
            *([TrackRun()] if to_wandb and not _has(named, TrackRun) else []),  # last: it tells of what the others left
        ]
        return super()._instantiate_trainer(config, callbacks)

    def _csv_logger(self, root: Path) -> CSVLogger:
        """Logs into a new folder, or when a run is resumed into its own."""
        if (run := self._resumed()) is not None:
            return CSVLogger(run.parent.parent, name=run.parent.name, version=run.name)
        config = self.config.get(str(self.subcommand), self.config)
        model = config.model.init_args.get("recommender")
        name = str(model.class_path if model is not None else config.model.class_path).rsplit(".", 1)[-1]
        title = re.sub(r"[^\w.-]+", "_", f"{self.datamodule.source.name}-{name.lower()}")
        version = None if self.subcommand is None else next_version(root / title)
        RecsysCLI.claimed = None if version is None else root / title / version
        return CSVLogger(root, name=title, version=version)

    def _resumed(self) -> Path | None:
        """The folder of the run that goes on; None where a training begins, or nothing is trained."""
        if self.subcommand != "fit" or not self.config["fit"].get("ckpt_path"):
            return None
        run = Path(self.config["fit"]["ckpt_path"]).parent.parent
        return run if (run / "config.yaml").is_file() else None

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        """Only the parser of the verb that is asked for, as each takes long to make."""
        asked = {verb: arguments for verb, arguments in type(self).subcommands().items() if verb in kwargs}
        self.subcommands = lambda: asked  # type: ignore[method-assign]
        super()._add_subcommands(parser, **kwargs)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        arguments: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand in ("validate", "test"):
            arguments["verbose"] = False
        return {**arguments, "weights_only": True}

    def after_fit(self) -> None:
        """Say where everything lies."""
        checkpoint = self.trainer.checkpoint_callback
        assert isinstance(checkpoint, BestAndLast)
        folder = run_folder(self.trainer)
        if self.trainer.is_global_zero:
            best = checkpoint.best_model_path or checkpoint.last_model_path
            if checkpoint.best_model_score is not None:
                print(f"best {checkpoint.monitor}: {float(checkpoint.best_model_score):.4f}")
            print(f"run: {folder}")
            if best:  # a training of no epoch leaves none
                command = ["recsys", "test", "--config", f"{folder}/config.yaml", "--ckpt_path", best]
                print(f"test it: {shlex.join(command)}")

    def after_test(self) -> None:
        """Print the path of the results, as the last line."""
        self._print_path("metrics.json")

    def after_predict(self) -> None:
        """Print the paths of what was written, one a line, that of the recommendations last."""
        for file in (WriteVectors.FILE, *WriteRecommendations.FILES):
            self._print_path(file)

    def _print_path(self, file: str) -> None:
        path = run_folder(self.trainer) / file
        if self.trainer.is_global_zero and path.is_file():
            print(path, flush=True)

    def after_validate(self) -> None:
        """Show the metrics."""
        if self.trainer.is_global_zero:
            print("\n".join(f"{name} {value:.4f}" for name, value in sorted(self.model.results.items())))


def run(words: list[str]) -> None:
    """Carry out `fit`, `validate`, `test` or `predict`; `words` starts with it."""
    verb, options = words[0], words[1:]
    if options in (["-h"], ["--help"]):
        print(HELP_OF.format(verb=verb, ckpt="resume" if verb == "fit" else "load"), end="")
        return
    RecsysCLI.claimed = None
    try:
        make_cli([verb, *("--help" if option == "--help-all" else option for option in options)], run=True)
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()  # threads of gloo that are left when Python ends can abort it
    except BaseException as error:
        discard(RecsysCLI.claimed)
        if isinstance(error, Exception):
            tell_of_the_first(error)
        raise


def make_cli(arguments: list[str], run: bool, kind: type[RecsysCLI] = RecsysCLI, **options: Any) -> RecsysCLI:
    """Parse a command line with our defaults.

    Args:
        arguments: with the verb first where it is run.
        run: whether to run it, or only to make trainer, model and data.
        kind: of RecsysCLI.
        options: of it.
    """
    import recsys_lightning.datamodules.datasets
    import recsys_lightning.datamodules.embeddings
    import recsys_lightning.models
    import recsys_lightning.tasks.conditioning
    import recsys_lightning.tasks.diffusion
    import recsys_lightning.tasks.ranking  # noqa: F401

    _quiet()
    check_configs(arguments)
    exact = {"allow_abbrev": False, "exit_on_error": False}
    return kind(
        Task,
        InteractionsDataModule,
        save_config_callback=SaveConfig,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        trainer_defaults={"default_root_dir": "runs", "max_epochs": 1000, "use_distributed_sampler": False},
        parser_kwargs={"prog": "recsys", **exact, **({arguments[0]: dict(exact)} if run else {})},
        args=arguments,
        run=run,
        **options,
    )


def _read_value(text: str) -> Any:
    """A value of an option or a configuration, as YAML."""
    return None if text == "None" else _read_yaml(text)


# jsonargparse hands the `null` of an option of an option (--data.recipe.min_rating null) on as the word None
_read_yaml = get_loader("yaml")
set_loader("yaml", _read_value, (yaml.YAMLError,))


def _quiet() -> None:
    """Leave out what Lightning says that is no news to the user of ours, and show the rest as sentences."""
    warnings.showwarning = show_warning
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*is recommended to use `self.log.*sync_dist.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*args parameter is intended to run from within Python.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero.*")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # nothing of it is deleted: the log that is there was set aside
    warnings.filterwarnings("ignore", message="Experiment logs directory .* exists and is not empty")
    # it says at every checkpoint that the optimizer is saved too
    logging.getLogger("lightning.pytorch.trainer.connectors.checkpoint_connector").setLevel(logging.WARNING)
    tips = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    tips.addFilter(lambda record: "Tip:" not in record.getMessage() and "TPU" not in record.getMessage())


def _has(callbacks: list[Callback], kind: type[Callback]) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)


def _tolerant(logger: Any, job: str) -> Any:
    return TolerantWandbLogger.of(logger, job) if isinstance(logger, WandbLogger) else logger


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
