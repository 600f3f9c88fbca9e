from __future__ import annotations

import pytest

from recsys_lightning.explain.protocols import Additive, Attentive, Influenced, Weighable
from recsys_lightning.models import EASE, GAT, GFCF, MF, ItemKNN, LightGCN, Popularity, Recommender
from tests.models import graphs


@pytest.mark.parametrize("kind", [EASE, ItemKNN, GFCF, LightGCN, GAT])
def test_who_has_messages_can_weigh_and_divide_them(kind: type[Recommender]) -> None:
    model = kind(graphs.schema(5, 4))
    assert isinstance(model, Weighable) and isinstance(model, Additive) and not isinstance(model, Influenced)
    assert isinstance(model, Attentive) == (kind is GAT)


@pytest.mark.parametrize("kind", [MF, Popularity])
def test_who_has_none_does_not_pretend(kind: type[Recommender]) -> None:
    model = kind(graphs.schema(5, 4))
    assert not any(isinstance(model, ability) for ability in (Weighable, Additive, Attentive, Influenced))
