from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lightning.models.listening import Scoring
from recsys_lightning.models.messages import Messages, Relations, some_rows
from recsys_lightning.models.neighbours import sample
from recsys_lightning.models.relations import relations
from recsys_lightning.schema import EdgeType
from tests.models import typed
from tests.models.typed import BACK, FROM_GENRE, GENRE, RATES

D, H = 6, 3
SCORINGS: list[Scoring] = ["gat", "gatv2", "none"]
CLOSE = {"atol": 1e-9, "rtol": 1e-9}
Dense = dict[EdgeType, Tensor]


def world(
    scoring: Scoring, layers: int, learned: bool = True, dropout: float = 0.0, **options: Any
) -> tuple[Messages, dict[str, Tensor], Relations]:
    """Messages in float64 with parameters as far from the start as training may bring them, x^0, and relations."""
    data = typed.world(**options)
    torch.manual_seed(0)
    messages = Messages(data.schema, D, H, layers, scoring, dropout).double().eval()
    if learned:
        for parameter in messages.parameters():
            torch.nn.init.normal_(parameter)
    x = {kind: torch.randn(size, D, dtype=torch.float64) for kind, size in data.schema.num_nodes.items()}
    found = data.views.derive(relations(data.schema))
    return messages, x, {kind: edges._replace(norm=edges.norm.double()) for kind, edges in found.items()}


def shares(messages: Messages, layer: int) -> dict[EdgeType, Tensor]:
    """g, in (-1/2, 1/2), of the relations of a layer that have one."""
    found = {}
    for key, edge_type in messages.edge_types.items():
        if f"{layer}-{key}" in messages.shares:
            found[edge_type] = messages.shares[f"{layer}-{key}"].tanh() / 2
    return found


def oracle(messages: Messages, x: dict[str, Tensor], found: Relations) -> tuple[dict[str, Tensor], list[Dense]]:
    """z of users and items and the coefficients (targets, sources, H) of each layer, by dense matrices."""
    layers, everything = [x], []
    for level, hears in enumerate(messages.layers):
        new: dict[str, Tensor] = {}
        weights: Dense = {}
        for key, listening in hears.items():  # type: ignore[operator]
            kind = messages.edge_types[key]
            edges, source, target = found[kind], layers[-1][kind[0]], layers[-1][kind[2]]
            prior = torch.zeros(len(target), len(source), dtype=torch.float64)
            prior[edges.target.row, edges.target.col.long()] = edges.norm
            if {kind[0], kind[2]} != {"user", "item"}:
                prior = (prior > 0).double() / (prior > 0).sum(1, keepdim=True).clamp(min=1)
            score = torch.zeros(len(target), len(source), 1)
            if listening.scoring == "gat":
                sides = (source @ listening.source)[None] + (target @ listening.target)[:, None]
                score = torch.nn.functional.leaky_relu(sides / D**0.5, 0.2)
            elif listening.scoring == "gatv2":
                sides = (source @ listening.source)[None] + (target @ listening.target)[:, None]
                bent = torch.nn.functional.leaky_relu(sides, 0.2).unflatten(2, (H, D // H))
                score = (bent * listening.score).sum(3) / D**0.5
            power = prior[..., None] * score.exp()
            alpha = power / power.sum(1, keepdim=True).clamp(min=1e-300) * prior.sum(1)[:, None, None]
            alpha = alpha * shares(messages, level).get(kind, 1.0)
            weights[kind] = alpha
            message = (alpha.repeat_interleave(D // alpha.shape[2], 2) * source[None]).sum(1)
            new[kind[2]] = new.get(kind[2], 0) + message
        layers.append({**layers[-1], **new})
        everything.append(weights)
    return {kind: sum(part[kind] for part in layers) / len(layers) for kind in ("user", "item")}, everything  # type: ignore[misc]


@pytest.mark.parametrize("options", [{}, {"weighted": True}, {"attributes": False}])
@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("scoring", SCORINGS)
def test_messages_and_coefficients_and_gradients_are_those_of_dense_matrices(
    scoring: Scoring, layers: int, options: dict[str, Any]
) -> None:
    messages, x, found = world(scoring, layers, **options)
    for table in x.values():
        table.requires_grad_()
    expected, weights = oracle(messages, x, found)
    z = messages(x, found, {})
    noise = {kind: torch.randn_like(rows) for kind, rows in z.items()}
    learned = [*x.values(), *messages.parameters()]
    gradients = []
    for side in (z, expected):
        for kind in side:
            torch.testing.assert_close(side[kind], z[kind], **CLOSE)
        loss = torch.stack([(side[kind] * noise[kind]).sum() for kind in side]).sum()
        gradients.append(torch.autograd.grad(loss, learned, allow_unused=True, materialize_grads=True))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    coefficients = messages.coefficients(x, found)
    assert [set(layer) for layer in coefficients] == [set(layer) for layer in weights]
    for ours_of, theirs_of in zip(coefficients, weights, strict=True):
        for kind, alpha in ours_of.items():
            rows = found[kind].target
            torch.testing.assert_close(alpha, theirs_of[kind][rows.row, rows.col.long()].to(alpha), **CLOSE)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_coefficients_of_a_target_add_up_to_its_mass(scoring: Scoring) -> None:
    messages, x, found = world(scoring, 2)
    for level, layer in enumerate(messages.coefficients(x, found)):
        for kind, alpha in layer.items():
            rows = found[kind].target
            total = torch.zeros(len(rows.crow) - 1, alpha.shape[1], dtype=alpha.dtype).index_add(0, rows.row, alpha)
            share = shares(messages, level).get(kind)
            if share is not None:
                assert -0.5 < share < 0.5
                total = total / share
            symmetric = {kind[0], kind[2]} == {"user", "item"}
            mass = torch.zeros(len(total), dtype=alpha.dtype).index_add(0, rows.row, found[kind].norm)
            expected = mass if symmetric else (rows.degree > 0).to(alpha)
            torch.testing.assert_close(total, expected[:, None].expand_as(total), **CLOSE)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_at_the_start_nothing_is_heard_from_attributes(scoring: Scoring) -> None:
    messages, x, found = world(scoring, 2, learned=False)
    z = messages(x, found, {})
    moved = {**x, "genre": x["genre"] + 5, "director": x["director"] - 5}
    for kind, rows in messages(moved, found, {}).items():
        assert torch.equal(rows, z[kind])
    alpha = messages.coefficients(x, found)[1]
    assert not alpha[FROM_GENRE].any()
    torch.testing.assert_close(alpha[BACK], found[BACK].norm[:, None].expand_as(alpha[BACK]), **CLOSE)


def test_nobody_listens_whom_nobody_hears() -> None:
    messages, _, _ = world("gat", 2)
    first, last = ({messages.edge_types[key] for key in layer} for layer in messages.layers)  # type: ignore[attr-defined]
    assert GENRE in first
    assert last == {kind for kind in first if kind[2] in ("user", "item")}
    assert {RATES, BACK, FROM_GENRE} <= last


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("scoring", SCORINGS)
class TestPartOfTheGraph:
    chosen = {"user": torch.tensor([0, 3, 22]), "item": torch.tensor([2, 5, 6, 16])}  # noqa: RUF012

    def test_chosen_nodes_get_what_they_would_among_all(self, scoring: Scoring, layers: int) -> None:
        messages, x, found = world(scoring, layers)
        whole = messages(x, found, {})
        for chosen in (self.chosen, {**self.chosen, "item": None}):
            part = messages(x, found, chosen)
            for kind, nodes in chosen.items():
                torch.testing.assert_close(part[kind], whole[kind] if nodes is None else whole[kind][nodes], **CLOSE)

    def test_sampling_all_neighbours_is_the_whole_graph(self, scoring: Scoring, layers: int) -> None:
        messages, x, found = world(scoring, layers)
        whole, blocks = messages(x, found, {}), sample(found, self.chosen, [-1] * layers)
        for kind, rows in messages.sampled(x, blocks, self.chosen).items():
            torch.testing.assert_close(rows, whole[kind][self.chosen[kind]], **CLOSE)

    def test_replay_of_the_coefficients_is_the_messages(self, scoring: Scoring, layers: int) -> None:
        messages, x, found = world(scoring, layers)
        z, states = messages.replay(x, found, messages.coefficients(x, found))
        assert len(states) == layers + 1
        for kind, rows in messages(x, found, {}).items():
            torch.testing.assert_close(z[kind], rows, **CLOSE)
            torch.testing.assert_close(torch.stack([state[kind] for state in states]).mean(0), rows, **CLOSE)


def test_dropout_is_of_training_alone() -> None:
    messages, x, found = world("gat", 2, dropout=0.5)
    still = messages(x, found, {})["user"]
    assert torch.equal(messages(x, found, {})["user"], still)
    messages.train()
    assert not torch.equal(messages(x, found, {})["user"], still)


@pytest.mark.parametrize(("scoring", "names"), [("gat", ("source", "target")), ("gatv2", ("score",)), ("none", ())])
def test_penalty_is_of_all_attention_vectors(scoring: Scoring, names: tuple[str, ...]) -> None:
    messages, _, _ = world(scoring, 2)
    parts = [p.square().sum().item() for name, p in messages.named_parameters() if name.rpartition(".")[2] in names]
    assert len(parts) == (6 + 4) * len(names)
    assert messages.penalty().item() == pytest.approx(sum(parts) / 2)
    assert world(scoring, 0)[0].penalty() == 0


def test_node_types_whose_names_torch_would_not_take() -> None:
    data = typed.world()
    renamed = {"genre": "a.b", "director": "type"}
    edges = tuple(tuple(renamed.get(part, part) for part in kind) for kind in data.schema.edge_types)
    schema = type(data.schema)(**{**vars(data.schema), "edge_types": edges})
    assert len(Messages(schema, D, H, 2, "gat", 0.0).edge_types) == 6


def test_some_rows_or_all() -> None:
    table = torch.arange(4)
    assert some_rows(table, None) is table
    assert some_rows(table, torch.tensor([3, 1])).tolist() == [3, 1]
