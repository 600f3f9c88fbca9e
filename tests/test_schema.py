from __future__ import annotations

import dataclasses

import pytest
import torch

from recsys_lightning.errors import InputError
from recsys_lightning.schema import GIVEN, SPLITS, TEST, TRAIN, VAL, Schema
from tests.tasks.test_base import data


def test_the_splits_stand_in_the_order_of_time() -> None:
    assert SPLITS == (TRAIN, VAL, TEST, GIVEN) == ("train", "val", "test", "given")


def test_sizes_are_those_of_users_and_items() -> None:
    schema = data().schema
    assert (schema.num_users, schema.num_items) == (60, 40)
    assert schema.num_nodes == {"user": 60, "movie": 40, "genre": 3}


def test_it_survives_a_checkpoint_that_holds_plain_values_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    schema, path = data().schema, tmp_path_factory.mktemp("schema") / "values.pt"
    torch.save(schema.to_dict(), path)
    assert Schema.from_dict(torch.load(path, weights_only=True)) == schema


def test_edge_types_are_tuples_again_where_a_file_made_lists_of_them() -> None:
    schema = data().schema
    values = schema.to_dict()
    values["edge_types"] = [list(edge) for edge in values["edge_types"]]
    assert Schema.from_dict(values) == schema


@pytest.mark.parametrize("version", [0, 1, None])
def test_another_layout_is_refused_with_both_versions(version: int | None) -> None:
    values = {**data().schema.to_dict(), "version": version}
    with pytest.raises(InputError, match=rf"version {version}; this program reads version 5"):
        Schema.from_dict(values)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        data().schema.name = "other"  # type: ignore[misc]
