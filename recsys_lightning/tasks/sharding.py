"""Training of tables that are too large for one device: their rows are split over the processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict, set_optimizer_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel, OptimStateKeyType

from recsys_lightning.errors import InputError
from recsys_lightning.models.base import Recommender
from recsys_lightning.models.sharding import split

NAME = "sharded_tables"
WHOLE = StateDictOptions(full_state_dict=True)
"""Checkpoints are those of a training in one process."""


class ShardedTables(ModelParallelStrategy):
    """Each process trains on rows of its own, as with `ddp`, and keeps a share of each table and of its optimizer.

    The engine is `torch.distributed.tensor`. Checkpoints are single files, as those of any other training, and can be
    gone on with, tested and exported by any number of processes.

    Args:
        process_group_backend: how processes talk; where None nccl between GPUs and gloo else.
    """

    lightning_restore_optimizer = True

    def __init__(self, process_group_backend: str | None = None) -> None:
        super().__init__(1, 1, save_distributed_checkpoint=False, process_group_backend=process_group_backend)

    def setup_environment(self) -> None:
        """Connect the processes; each of them has a share."""
        self._data_parallel_size = self.num_processes * self.num_nodes
        super().setup_environment()

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read the file; `load_model_state_dict` and `load_optimizer_state_dict` take each process's share of it."""
        content: dict[str, Any] = self.checkpoint_io.load_checkpoint(self.broadcast(checkpoint_path))
        return content

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this process's share of the parameters."""
        assert self.model is not None
        set_model_state_dict(self.model, dict(checkpoint["state_dict"]), options=WHOLE)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's share of the optimizer's state."""
        assert self.model is not None
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            named = FullyShardedDataParallel.rekey_optim_state_dict(state, OptimStateKeyType.PARAM_NAME, self.model)
            set_optimizer_state_dict(self.model, optimizer, named, options=WHOLE)


StrategyRegistry.register(NAME, ShardedTables, "Rows of embedding tables are split over the processes")


def share_tables(task: LightningModule) -> None:
    """Keep a process's share of each table only, where the trainer's strategy is `ShardedTables`.

    Raises:
        InputError: the strategy is that, and the network has other parameters than such tables, or none, or a table has
            too few rows.
    """
    strategy = task.trainer.strategy
    if not isinstance(strategy, ShardedTables):
        return
    owners = {place: module for place, module in task.named_modules() if isinstance(module, Recommender)}
    tables = {f"{place}.{table}" for place, owner in owners.items() for table in owner.tables}
    other = [name for name, _ in task.named_parameters() if name not in tables]
    if other or not tables:
        names = ", ".join(other[:3]) + (" ..." if len(other) > 3 else "")
        raise InputError(
            f"The strategy {NAME} splits tables of which a training step reads single rows, as MF's; "
            f"{names or 'closed forms'} are of another kind. Leave --trainer.strategy out, or set it to ddp."
        )
    mesh = strategy.device_mesh["data_parallel"]
    for name, table in task.named_parameters():
        if -(-len(table) // mesh.size()) * (mesh.size() - 1) >= len(table):
            raise InputError(
                f"{name} has {len(table)} rows, which leaves one of {mesh.size()} processes without any. Set "
                "--trainer.devices lower, or --trainer.strategy to ddp."
            )
    for owner in owners.values():
        split(owner, owner.tables, mesh)
