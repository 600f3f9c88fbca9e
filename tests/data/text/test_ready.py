from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lightning.data.text.item_text import ItemText
from recsys_lightning.data.text.ready import read_ready
from recsys_lightning.errors import InputError

IDS = pa.array(["11", "12", "13", "new"])
KNOWN = np.array([True, True, True, False])
NAN = float("nan")


def content(**changes: Any) -> dict[str, Any]:
    """Movies 13, 99, 11, new: the last without overview; with 2, 1, 0, 1 reviews in three places."""
    overview = torch.tensor([[13.0, 1], [99, 1], [11, 1], [0, 0]])
    mask = torch.tensor([[1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]])
    review = torch.arange(1.0, 25).view(4, 3, 2) * mask[..., None]
    return {
        "movie_ids": ["13", "99", "11", "new"],
        "overview_embs": overview,
        "review_embs": review,
        "review_mask": mask,
        **changes,
    }


def save(folder: Path, value: Any = None, **changes: Any) -> Path:
    file = folder / "text.pt"
    torch.save(content(**changes) if value is None else value, file)
    return file


def read(file: Path, most: int = 10, ids: pa.Array = IDS, known: np.ndarray = KNOWN) -> ItemText:
    return read_ready(file, ids, known, most)


def test_rows_find_their_items(tmp_path: Path) -> None:
    text = read(save(tmp_path))
    assert text.overview.tolist() == [[11, 1], [0, 0], [13, 1], [0, 0]]
    assert text.known.tolist() == [True, False, True, False]
    assert text.crow.tolist() == [0, 0, 0, 2, 3]
    assert text.review.tolist() == [[1, 2], [5, 6], [21, 22]]
    assert text.overview.dtype == text.review.dtype == np.float32


@pytest.mark.parametrize(
    "changes",
    [
        {"movie_ids": [13, 99, 11, 7]},
        {"movie_ids": torch.tensor([13, 99, 11, 7])},
        {"movie_ids": ("13", "99", "11", "7")},
        {"review_mask": content()["review_mask"].bool()},
        {"review_mask": content()["review_mask"].float()},
        {"overview_embs": content()["overview_embs"].half(), "review_embs": content()["review_embs"].bfloat16()},
        {"more": "not read"},
    ],
)
def test_ids_masks_and_numbers_may_be_of_any_kind(tmp_path: Path, changes: dict[str, Any]) -> None:
    text, plain = read(save(tmp_path, **changes)), read(save(tmp_path))
    assert (text.overview == plain.overview).all() and (text.review[:2] == plain.review[:2]).all()


def test_an_old_file_is_read_too(tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert read(tmp_path / "old.pt").digest == read(save(tmp_path)).digest


def test_the_first_reviews_are_kept(tmp_path: Path) -> None:
    file = save(tmp_path)
    assert read(file, 1).review.tolist() == [[1, 2], [21, 22]]
    assert len(read(file, 0).review) == 0 and read(file, 0).known.any()


def test_masked_places_may_hold_anything(tmp_path: Path) -> None:
    review = content()["review_embs"].clone()
    review[0, 1], review[3, 0] = NAN, 7
    assert read(save(tmp_path, review_embs=review)).digest == read(save(tmp_path)).digest


def test_a_file_without_any_review_is_read(tmp_path: Path) -> None:
    none = {"review_embs": torch.zeros(4, 3, 2), "review_mask": torch.zeros(4, 3, dtype=torch.bool)}
    assert read(save(tmp_path, **none)).max_reviews == 0
    assert read(save(tmp_path, review_embs=torch.zeros(4, 0, 2), review_mask=torch.zeros(4, 0))).max_reviews == 0


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)))
def test_the_order_of_the_file_does_not_matter(tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    folder = tmp_path_factory.mktemp("ready")
    whole = content()
    moved = {name: value[order] for name, value in whole.items() if name != "movie_ids"}
    moved["movie_ids"] = [whole["movie_ids"][place] for place in order]
    assert read(save(folder, moved)).digest == read(save(folder)).digest


class Wicked:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def zipped(value: Any, file: Path) -> None:
    torch.save(value, file)


def old(value: Any, file: Path) -> None:
    torch.save(value, file, _use_new_zipfile_serialization=False)


def pickled(value: Any, file: Path) -> None:
    file.write_bytes(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize("write", [zipped, old, pickled])
def test_code_is_refused_and_not_run(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    file, trace = tmp_path / "wicked.pt", tmp_path / "trace"
    write(content(more=Wicked(f"touch {trace}")), file)
    with pytest.raises(InputError, match=r"wicked.pt wants to run code when it is read, and was refused"):
        read(file)
    assert not trace.exists()


def newer(value: Any, file: Path) -> None:
    file.write_bytes(pickle.dumps(value, protocol=4))


def newer_zipped(value: Any, file: Path) -> None:
    torch.save(value, file, pickle_protocol=4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("write", [newer, newer_zipped])
def test_newer_pickles_are_refused_without_advice_to_torch(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    file, trace = tmp_path / "wicked.pt", tmp_path / "trace"
    write(content(more=Wicked(f"touch {trace}")), file)
    with pytest.raises(InputError, match=r"wicked.pt holds more than tensors and may want to run code: it was refused"):
        read(file)
    assert not trace.exists()


@pytest.mark.filterwarnings("error")
def test_protocol_3_is_read(tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "text.pt", pickle_protocol=3)
    assert read(tmp_path / "text.pt").digest == read(save(tmp_path)).digest


def test_arrays_count_as_code(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"and was refused: .* \(arrays of NumPy are made by code too\)"):
        read(save(tmp_path, movie_ids=np.arange(4)))


@pytest.mark.parametrize("name", ["text.pt", "text.pth"])
@pytest.mark.parametrize("junk", [b"", b"item_id,vector\n", b"\x80\x02junk", b"PK\x03\x04junk"])
def test_other_files_are_refused(tmp_path: Path, name: str, junk: bytes) -> None:
    with pytest.raises(InputError, match="There is no file"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(junk)
    with pytest.raises(InputError, match=r"is no file of torch\.save"):
        read(tmp_path / name)


@pytest.mark.parametrize("write", [zipped, old])
def test_files_cut_off_are_refused(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    file = tmp_path / "cut.pt"
    write(content(), file)
    file.write_bytes(file.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"is no file of torch\.save"):
        read(file)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "holds a list; it must hold a dictionary of movie_ids, overview_embs"),
        ({}, "lacks movie_ids, .*; it has nothing"),
        ({"movie_ids": [1], "overview": torch.ones(1, 2)}, "lacks overview_embs, review_embs, review_mask; it has mov"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(save(tmp_path, value))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"movie_ids": [1.5, 2, 3, 4]}, "movie_ids must be a list of whole numbers or of texts"),
    ({"movie_ids": torch.ones(4)}, "movie_ids must be a list of whole numbers"),
    ({"movie_ids": torch.ones(4, 1, dtype=torch.long)}, "movie_ids must be a list of whole numbers"),
    ({"movie_ids": [True, False, True, True]}, "movie_ids must be a list of whole numbers"),
    ({"movie_ids": []}, "has no movie_ids"),
    ({"movie_ids": [13, "13", 11, 12]}, "has 1 items in several rows, for instance '13'"),
    ({"movie_ids": [13, 11]}, r"overview_embs has shape \(4, 2\); with 2 movie_ids it must be \(2, D\)"),
    ({"overview_embs": torch.ones(4)}, r"overview_embs has shape \(4,\); with 4 movie_ids it must be \(4, D\)"),
    (
        {"overview_embs": torch.ones(4, 3)},
        r"review_embs has shape \(4, 3, 2\); with 4 movie_ids it must be \(4, 3, 3\)",
    ),
    ({"review_mask": torch.ones(4, 2)}, r"review_mask has shape \(4, 2\); with 4 movie_ids it must be \(4, 3\)"),
    ({"overview_embs": [[1.0]] * 4}, "overview_embs is a list; it must be a dense tensor"),
    ({"overview_embs": torch.eye(4, 2).to_sparse()}, "overview_embs is a Tensor; it must be a dense tensor"),
    ({"overview_embs": torch.ones(4, 2, dtype=torch.long)}, "overview_embs holds torch.int64"),
    ({"overview_embs": torch.ones(4, 0), "review_embs": torch.ones(4, 3, 0)}, "vectors are 0 wide"),
    ({"review_mask": torch.full((4, 3), 0.5)}, "review_mask must hold True or 1"),
    ({"review_mask": torch.full((4, 3), NAN)}, "review_mask must hold True or 1"),
    ({"review_mask": 1 - content()["review_mask"]}, "none of the 4 others: it seems to be the other way round"),
    (
        {"overview_embs": torch.tensor([[1, NAN], [NAN, 1], [float("inf"), 0], [0, 0]])},
        "2 vectors of overview_embs hold NaN or infinite values, first that of item 11",
    ),
    (
        {"review_embs": content()["review_embs"] / torch.tensor([[[1.0]], [[0]], [[1]], [[0]]])},
        "1 vectors of review_embs hold NaN or infinite values, first that of item new",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_contradictions_are_said(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(save(tmp_path, **changes))


def test_vectors_of_other_movies_are_refused(tmp_path: Path) -> None:
    message = (
        r"has vectors of 1 of 3 items of train \(2 of 4 of all\), less than 50%: it seems to belong to other data. "
        "Its ids look like 'tt13', those of the data like '11'"
    )
    with pytest.raises(InputError, match=message):
        read(save(tmp_path, movie_ids=["tt13", 99, 11, "new"]))
    assert read(save(tmp_path, movie_ids=[12, 99, 11, 1])).known.sum() == 2


def parquet(folder: Path, ids: list[Any], rows: list[list[float]]) -> Path:
    file = folder / "text.parquet"
    pq.write_table(pa.table({"item_id": ids, "vector": rows}), file)
    return file


def test_parquet_holds_overviews(tmp_path: Path) -> None:
    text = read(parquet(tmp_path, [13, 99, 11], [[3.0, 4.0], [1, 1], [0, 0]]))
    assert text.overview.tolist() == [[0, 0], [0, 0], [3, 4], [0, 0]] and text.known.tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert text.review.shape == (0, 2) and text.max_reviews == 0
    with pytest.raises(InputError, match="has vectors of 1 of 3 items of train"):
        read(parquet(tmp_path, [13, 99], [[3.0, 4.0], [1, 1]]))
    with pytest.raises(InputError, match="1 vectors hold values that are no finite numbers, first that of '99'"):
        read(parquet(tmp_path, [13, 99], [[3.0, 4.0], [1, NAN]]))
