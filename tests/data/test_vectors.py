from __future__ import annotations

import json
import pickle
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from recsys_lightning.batches import Vectors
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.prepared import Prepared
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.vectors import read_vectors, write_vectors
from recsys_lightning.errors import InputError
from tests.worlds import DomainSource, MemorySource


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(DomainSource(), Recipe(split="random"), None)


def vectors(prepared: Prepared, domains: int = 0, width: int = 3, seed: int = 0) -> Vectors:
    generator = torch.Generator().manual_seed(seed)
    between = (domains,) if domains else ()
    user = torch.randn(prepared.num_users, *between, width, generator=generator)
    return Vectors(user, torch.randn(prepared.num_items, width, generator=generator))


def rewritten(file: Path, facts: dict[str, str | None] | None = None, **tensors: torch.Tensor) -> Path:
    """The file with other facts and tensors; None leaves one out."""
    with safe_open(file, framework="pt") as opened:
        held = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        said = {**opened.metadata(), **(facts or {})}
    path = file.with_name("other.safetensors")
    save_file({**held, **tensors}, path, {name: value for name, value in said.items() if value is not None})
    return path


@pytest.mark.parametrize("domains", [0, 2])
def test_what_is_written_is_read(tmp_path: Path, prepared: Prepared, domains: int) -> None:
    made = vectors(prepared, domains)
    write_vectors(tmp_path / "new" / "v.safetensors", made, prepared, "GAT", rows=["train", "val"])
    found = read_vectors(tmp_path / "new" / "v.safetensors", prepared)
    assert all(torch.equal(a, b) for a, b in zip(found.tensors(), made, strict=True))
    assert (found.width, found.model, len(found.digest)) == (3, "GAT", 16)
    assert found.rows == ("train", "val")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["v.safetensors"]


def test_the_file_tells_whose_vectors_it_holds(tmp_path: Path, prepared: Prepared) -> None:
    write_vectors(tmp_path / "v", vectors(prepared), prepared, "GAT", replace(prepared.schema(), graph="abc"))
    with safe_open(tmp_path / "v", framework="pt") as opened:
        facts = opened.metadata()
        ids = [json.loads(bytes(opened.get_tensor(name).tolist())) for name in ("user_ids", "item_ids")]
    assert ids == [prepared.users["user_id"].tolist(), prepared.items["item_id"].tolist()]
    schema = json.loads(facts["schema"])
    assert (schema["fingerprint"], schema["graph"]) == (prepared.fingerprint, "abc")
    assert schema["domains"] == ["movie", "book"] and json.loads(facts["rows"]) == ["train"]
    assert set(facts) == {"format", "model", "schema", "rows"}


def test_the_digest_is_of_the_numbers_alone(tmp_path: Path, prepared: Prepared) -> None:
    digests = []
    for number, seed in enumerate((0, 0, 1)):
        write_vectors(tmp_path / f"{number}", vectors(prepared, seed=seed), prepared, f"Model{number}")
        digests.append(read_vectors(tmp_path / f"{number}", prepared).digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("side", ["user", "item"])
def test_rows_of_others_are_refused(tmp_path: Path, prepared: Prepared, side: str) -> None:
    write_vectors(tmp_path / "v", vectors(prepared), prepared, "GAT")
    ids = (prepared.users["user_id"] if side == "user" else prepared.items["item_id"]).tolist()

    def told(*of: object, pretty: bool = False) -> Path:
        raw = json.dumps(of, indent=pretty or None).encode()
        return rewritten(tmp_path / "v", **{f"{side}_ids": torch.frombuffer(bytearray(raw), dtype=torch.uint8)})

    swapped = [*ids[:2], ids[3], ids[2], *ids[4:]]
    with pytest.raises(InputError, match=f"row 2 is of the {side} {ids[3]!r}, and in these data it is {ids[2]!r}"):
        read_vectors(told(*swapped), prepared)
    with pytest.raises(InputError, match=f"row {len(ids)} is of the {side} 'z', and in these data there is no such"):
        read_vectors(told(*ids, "z"), prepared)
    with pytest.raises(InputError, match=f"row {len(ids) - 1} is of nobody, and in these data it is {ids[-1]!r}"):
        read_vectors(told(*ids[:-1]), prepared)
    assert read_vectors(told(*ids, pretty=True), prepared).width == 3


def test_ids_that_cannot_be_read_are_refused(tmp_path: Path, prepared: Prepared) -> None:
    write_vectors(tmp_path / "v", vectors(prepared), prepared, "GAT")
    with pytest.raises(InputError, match="holds item_ids that cannot be read"):
        read_vectors(rewritten(tmp_path / "v", item_ids=torch.zeros(3, dtype=torch.uint8)), prepared)
    with pytest.raises(InputError, match="lacks user_ids:"):
        read_vectors(rewritten(tmp_path / "v", user_ids=torch.zeros(3)), prepared)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_kept_in_single(tmp_path: Path, prepared: Prepared, dtype: torch.dtype) -> None:
    made = Vectors(*(part.to(dtype).requires_grad_() for part in vectors(prepared)))
    write_vectors(tmp_path / "v", made, prepared, "GAT")
    found = read_vectors(tmp_path / "v", prepared).vectors
    assert found.user.dtype == torch.float32 and torch.equal(found.item, made.item.detach().float())


def test_other_data_are_refused_in_words(tmp_path: Path, prepared: Prepared) -> None:
    write_vectors(tmp_path / "v", vectors(prepared), prepared, "GAT")
    other = prepare(MemorySource(), Recipe(split="random"), None)
    with pytest.raises(InputError, match=r"made of other data[\s\S]*two-domains[\s\S]*world[\s\S]*data options"):
        read_vectors(tmp_path / "v", other)


def test_domains_in_another_order_are_refused(tmp_path: Path, prepared: Prepared) -> None:
    write_vectors(tmp_path / "v", vectors(prepared), prepared, "GAT")
    rows = replace(prepared.interactions, domains=("book", "movie"))
    with pytest.raises(InputError, match="domains movie, book, in this order, and these data have book, movie"):
        read_vectors(tmp_path / "v", replace(prepared, interactions=rows))


def test_one_user_without_finite_numbers_is_named(tmp_path: Path, prepared: Prepared) -> None:
    write_vectors(tmp_path / "v", made := vectors(prepared), prepared, "GAT")
    made.user[5, 0] = torch.nan
    match = f"safetensors holds values that are no finite numbers for the user {prepared.users['user_id'][5]!r}\\."
    with pytest.raises(InputError, match=match):
        read_vectors(rewritten(tmp_path / "v", user=made.user), prepared)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("side", ["user", "item"])
def test_numbers_that_are_not_finite_are_neither_written_nor_read(
    tmp_path: Path, prepared: Prepared, side: str, value: float
) -> None:
    made = vectors(prepared, 2)
    write_vectors(tmp_path / "v", made, prepared, "GAT")
    getattr(made, side)[4:6, 0] = value
    ids = (prepared.users["user_id"] if side == "user" else prepared.items["item_id"]).tolist()
    match = f"no finite numbers for 2 {side}s, first for {ids[4]!r}"
    with pytest.raises(InputError, match=f"The vectors of GAT hold.*{match}"):
        write_vectors(tmp_path / "w", made, prepared, "GAT")
    assert not (tmp_path / "w").exists()
    with pytest.raises(InputError, match=f"other.safetensors holds.*{match}"):
        read_vectors(rewritten(tmp_path / "v", **{side: getattr(made, side)}), prepared)


@pytest.mark.parametrize(
    ("user", "item", "match"),
    [
        ((59, 3), None, "have 60 users"),
        ((60, 3, 3), None, "2 domains"),
        ((60, 2, 4), None, "are needed"),
        ((60,), None, "are needed"),
        ((60, 3), (3,), "are needed"),
        ((60, 0), (70, 0), "are needed"),
        ((60, 3), (3, 3), r"of items \(3, 3\), and these data have"),
    ],
)
def test_other_shapes_are_refused(
    tmp_path: Path, prepared: Prepared, user: tuple[int, ...], item: tuple[int, ...] | None, match: str
) -> None:
    assert prepared.num_users == 60
    write_vectors(tmp_path / "v", vectors(prepared), prepared, "GAT")
    tensors = {"user": torch.zeros(user)} | ({} if item is None else {"item": torch.zeros(item)})
    with pytest.raises(InputError, match=match):
        read_vectors(rewritten(tmp_path / "v", **tensors), prepared)


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"format": "3"}, "of format 3; this program reads format 2"),
        ({"format": "1", "rows": None}, "of format 1; this program reads format 2. Write it again"),
        ({"rows": None}, "lacks rows"),
        ({"rows": "{"}, "does not say of which rows"),
        ({"rows": "[]"}, "does not say of which rows"),
        ({"rows": "7"}, "does not say of which rows"),
        ({"rows": '["train", ["val"]]'}, "does not say of which rows"),
        ({"rows": '["later"]'}, "does not say of which rows"),
        ({"format": None}, "lacks format"),
        ({"schema": None, "model": None}, "lacks model, schema"),
        ({"schema": "{"}, "schema that cannot be read"),
        ({"schema": "[1]"}, "schema that cannot be read"),
        ({"schema": '{"version": 5}'}, "schema that cannot be read"),
        ({"schema": '{"version": 4}'}, "another version of recsys_lightning"),
    ],
)
def test_strange_headers_are_refused(tmp_path: Path, prepared: Prepared, facts: Any, match: str) -> None:
    write_vectors(tmp_path / "v", vectors(prepared), prepared, "GAT")
    with pytest.raises(InputError, match=match):
        read_vectors(rewritten(tmp_path / "v", facts), prepared)


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_written_leaves_the_file_before_it_and_nothing_beside(
    tmp_path: Path, prepared: Prepared
) -> None:
    file = tmp_path / "v"
    write_vectors(file, made := vectors(prepared), prepared, "GAT")
    needed = sum(part.numel() * 4 for part in made)
    match = r"v cannot be written .*needs about [\d,]+ bytes and [\d,]+ are free.*is intact\. Free some space"
    with room(needed), pytest.raises(InputError, match=match):
        write_vectors(file, vectors(prepared, seed=1), prepared, "GAT")
    assert torch.equal(read_vectors(file, prepared).vectors.user, made.user)
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_none_is_refused(tmp_path: Path, prepared: Prepared) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_vectors(tmp_path / "file" / "v", vectors(prepared), prepared, "GAT")


def test_they_are_on_the_disk_before_they_are_in_their_place(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("os.fsync", lambda number: asked.append((tmp_path / "v").exists()))
    write_vectors(tmp_path / "v", vectors(prepared), prepared, "GAT")
    assert asked == [False] and (tmp_path / "v").exists()


def test_numbers_that_are_whole_are_no_vectors(tmp_path: Path, prepared: Prepared) -> None:
    write_vectors(tmp_path / "v", vectors(prepared), prepared, "GAT")
    whole = torch.zeros(prepared.num_users, 3, dtype=torch.long)
    with pytest.raises(InputError, match="lacks user"):
        read_vectors(rewritten(tmp_path / "v", user=whole), prepared)


def test_a_missing_file_and_a_pickle_are_refused(tmp_path: Path, prepared: Prepared) -> None:
    with pytest.raises(InputError, match="There is no file"):
        read_vectors(tmp_path / "none", prepared)
    (tmp_path / "pickle").write_bytes(pickle.dumps({"user": 1}))
    torch.save({"user": torch.zeros(2)}, tmp_path / "torch")
    for name in ("pickle", "torch"):
        with pytest.raises(InputError, match="no file of vectors, or is cut off"):
            read_vectors(tmp_path / name, prepared)


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_refused_or_says_the_same_shapes(tmp_path: Path, prepared: Prepared, data: Any) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        write_vectors(whole, vectors(prepared), prepared, "GAT")
    raw = bytearray(whole.read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        at = data.draw(st.integers(0, 2500) | st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged").write_bytes(raw)
    try:
        found = read_vectors(tmp_path / "damaged", prepared)
    except InputError:
        return
    assert found.vectors.user.shape == (60, 3) and all(part.isfinite().all() for part in found.vectors)
