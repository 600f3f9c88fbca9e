from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from recsys_lightning.data.text import cache as module
from recsys_lightning.data.text.cache import embedded, file_of
from recsys_lightning.errors import InputError
from tests.data.text.films import Counting, Fitted, letters

TEXTS = ["beta rare", "", "alpha", "beta rare", "gamma"]


def files(folder: Path) -> list[Path]:
    return sorted((folder / "text").iterdir())


def test_a_second_run_encodes_nothing(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    found = embedded(first, TEXTS, [], tmp_path)
    again = embedded(second, TEXTS, [], tmp_path)
    assert first.asked == [["alpha", "beta rare", "gamma"]] and second.asked == []  # equal texts once
    assert found.dtype == np.float32 and found.tolist() == again.tolist() == letters(TEXTS).tolist()
    assert not found[1].any()
    assert [file.suffix for file in files(tmp_path)] == [".npy"]


def test_the_order_of_items_does_not_matter(tmp_path: Path) -> None:
    embedded(Counting(), TEXTS, [], tmp_path)
    again = Counting()
    assert embedded(again, TEXTS[::-1], ["other"], tmp_path).tolist() == letters(TEXTS[::-1]).tolist()
    assert again.asked == []


def test_without_a_folder_all_is_encoded() -> None:
    one = Counting()
    assert embedded(one, TEXTS, [], None).tolist() == embedded(one, TEXTS, [], None).tolist()
    assert len(one.asked) == 2


def test_nothing_is_asked_for_no_text(tmp_path: Path) -> None:
    one = Counting()
    assert embedded(one, ["", ""], [], tmp_path).shape == (2, 0) and embedded(one, [], [], tmp_path).shape == (0, 0)
    assert one.asked == [] and not (tmp_path / "text").exists()


def test_another_model_or_text_or_fit_is_another_file(tmp_path: Path) -> None:
    places = {
        file_of(embedder, texts, fit, tmp_path)
        for embedder, texts, fit in [
            (Counting(), ["a", "b"], ["a"]),
            (Counting("other"), ["a", "b"], ["a"]),
            (Counting(), ["a", "bc"], ["a"]),
            (Counting(), ["ab"], ["a"]),
            (Fitted(), ["a", "b"], ["a"]),
            (Fitted(), ["a", "b"], ["b"]),
            (Fitted(), ["a"], ["a", "b"]),
        ]
    }
    assert len(places) == 7
    assert file_of(Counting(), ["a"], ["a"], tmp_path) == file_of(Counting(), ["a"], ["b"], tmp_path)
    assert file_of(Counting(), ["\ud800"], [], tmp_path)  # half a character


def test_what_is_fitted_depends_on_the_fit_texts(tmp_path: Path) -> None:
    one = Fitted()
    few, many = (embedded(one, ["a"], fit, tmp_path)[0, 3] for fit in (["a"], ["a", "b"]))
    assert (few, many) == (2, 3) and len(one.asked) == 2


def damaged() -> list[tuple[str, bytes | np.ndarray]]:
    rows = letters(["alpha", "beta rare", "gamma"])
    return [
        ("cut", b""),
        ("foreign", b"no array at all"),
        ("rows", rows[:2]),
        ("kind", rows.astype(np.float64)),
        ("flat", rows.ravel()),
        ("objects", np.array([{}, {}, {}], object)),
    ]


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("wrong", damaged(), ids=lambda wrong: wrong[0])
def test_a_damaged_file_is_made_again(
    tmp_path: Path, wrong: tuple[str, bytes | np.ndarray], mapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mapped:
        monkeypatch.setattr(module, "MAPPED_BYTES", 0)
    embedded(Counting(), TEXTS, [], tmp_path)
    (file,) = files(tmp_path)
    match wrong:
        case ("cut", _):
            file.write_bytes(file.read_bytes()[:-5])
        case (_, bytes(content)):
            file.write_bytes(content)
        case (_, array):
            np.save(file, array, allow_pickle=True)
    again = Counting()
    assert embedded(again, TEXTS, [], tmp_path).tolist() == letters(TEXTS).tolist()
    assert len(again.asked) == 1 and files(tmp_path) == [file]
    assert embedded(again, TEXTS, [], tmp_path).tolist() == letters(TEXTS).tolist()
    assert len(again.asked) == 1


def test_large_files_are_mapped_and_the_result_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAPPED_BYTES", 0)
    mapped: list[object] = []
    load = np.load

    def spy(*args: object, **options: object) -> object:
        mapped.append(load(*args, **options))  # type: ignore[arg-type]
        return mapped[-1]

    monkeypatch.setattr(np, "load", spy)
    for _ in range(2):
        found = embedded(Counting(), TEXTS, [], tmp_path)
        assert found.flags.writeable and not isinstance(found, np.memmap)
    assert len(mapped) == 2 and all(isinstance(one, np.memmap) and not one.flags.writeable for one in mapped)


def test_a_folder_that_cannot_be_written_warns(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a file where the folder would be")
    with pytest.warns(UserWarning, match="cannot be used.*Set RECSYS_CACHE"):
        assert embedded(Counting(), TEXTS, [], tmp_path).tolist() == letters(TEXTS).tolist()


def test_a_write_that_breaks_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(module.os, "replace", full)
    with pytest.warns(UserWarning, match="no space left"):
        embedded(Counting(), TEXTS, [], tmp_path)
    assert files(tmp_path) == []


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "text" / f".building-{socket.gethostname()}-{2**22 + 1}-abc"  # no process has that number
    left.mkdir(parents=True)
    (left / "half.npy").write_bytes(b"half")
    embedded(Counting(), TEXTS, [], tmp_path)
    assert [file.suffix for file in files(tmp_path)] == [".npy"]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 4), np.float32), r"Counting made vectors of shape \(2, 4\) out of 3 texts"),
        (np.ones(3, np.float32), r"shape \(3,\)"),
        (np.ones((3, 0), np.float32), r"it must be \(3, width\)"),
        (np.array([[1], [np.nan], [np.inf]], np.float32), "made 2 vectors that hold NaN .* of the text 'beta rare'"),
    ],
)
def test_embedders_are_held_to_their_word(
    tmp_path: Path, vectors: np.ndarray, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Counting()
    monkeypatch.setattr(one, "embed", lambda texts, fit: vectors)
    with pytest.raises(InputError, match=message):
        embedded(one, TEXTS, [], tmp_path)
    assert not (tmp_path / "text").exists()
