from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recsys_lightning.errors import InputError
from recsys_lightning.models.conditioned import Conditioned
from recsys_lightning.tasks.conditioning import Conditioning
from tests.models.diffusion.planted import data, diffusion
from tests.tasks.test_base import trainer


@pytest.mark.parametrize("task", [diffusion, partial(Conditioning, partial(Conditioned, heads=1))])
def test_float16_is_refused_by_the_name_of_the_task(tmp_path: Path, task: Any) -> None:
    made = trainer(tmp_path, max_epochs=1, precision="16-true", limit_val_batches=0)
    one = task()
    with pytest.raises(InputError, match=rf"{type(one).__name__}.* 16-true.*--trainer\.precision bf16-true"):
        made.fit(one, data())
