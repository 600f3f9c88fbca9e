from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_lightning.data import cache as cache_module
from recsys_lightning.data.cache import cache_folder, key, store, sweep
from recsys_lightning.data.prepare import Recipe, prepare
from tests.data.memory import Memory, random_interactions

ROOT = Path(__file__).parents[2]
ITEMS = pd.DataFrame({"title": ["Nul", "Een"], "genres": [["a", "b"], ["c"]]}, index=["i000", "i001"])


def source(**options):
    made = Memory(random_interactions(), ITEMS, **options)
    made.on_request, made.later = ("genre",), ("title",)
    return made


def folders(cache):
    return sorted(path.name for path in cache.iterdir())


def assert_equal(one, other):
    assert one.fingerprint == other.fingerprint
    for name in ("steps", "split", "name", "item_type", "attributes", "on_request", "later"):
        assert getattr(one, name) == getattr(other, name)
    for name in cache_module.COLUMNS:
        left, right = getattr(one.interactions, name), getattr(other.interactions, name)
        assert (left is None) == (right is None)
        assert left is None or (left.dtype == right.dtype and (left == right).all())
    assert one.interactions.user_ids.equals(other.interactions.user_ids)
    assert one.interactions.item_ids.equals(other.interactions.item_ids)
    pd.testing.assert_frame_equal(one.items, other.items)
    pd.testing.assert_frame_equal(one.users, other.users)


def test_a_cached_data_set_is_the_same_and_read_once(tmp_path):
    fresh, first = prepare(source(), Recipe()), prepare(source(), Recipe(), tmp_path)
    again = source()
    second = prepare(again, Recipe(), tmp_path)
    assert again.reads == 0
    assert_equal(fresh, first)
    assert_equal(first, second)
    assert isinstance(second.interactions.user.base, np.memmap)
    assert [name.split("-")[0] for name in folders(tmp_path)] == ["memory"]
    # memory-mapped columns are read-only, and yet make tensors without a complaint
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        views = second.views("train")
        assert views.history.mask.any() and views.graph.num_nodes and views.genres is not None


def test_the_key_changes_with_file_option_recipe_and_code(tmp_path, monkeypatch):
    file = tmp_path / "raw.csv"
    file.write_text("a")
    keys = [key(source(file=file), Recipe())]
    keys.append(key(source(file=file), Recipe(min_rating=1)))
    keys.append(key(source(file=file, variant="b"), Recipe()))
    stat = file.stat()
    file.write_text("b")  # same size, same time
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    keys.append(key(source(file=file), Recipe()))
    assert key(source(file=file), Recipe()) == keys[-1]
    unasked = source(file=file)
    unasked.on_request = ()
    keys.append(key(unasked, Recipe()))
    timely = source(file=file)
    timely.later = ()
    keys.append(key(timely, Recipe()))
    for name, value in (("__version__", "99"), ("FORMAT", 99), ("code_digest", lambda *parts: "changed")):
        with monkeypatch.context() as patch:
            patch.setattr(cache_module, name, value)
            keys.append(key(source(file=file), Recipe()))
    assert len(set(keys)) == 9


def test_a_changed_file_is_read_again(tmp_path):
    file = tmp_path / "raw.csv"
    file.write_text("a")
    prepare(source(file=file), Recipe(), tmp_path / "cache")
    file.write_text("b")
    changed = source(file=file)
    prepare(changed, Recipe(), tmp_path / "cache")
    assert changed.reads == 1
    assert len(folders(tmp_path / "cache")) == 2


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("file", ["item.npy", "items.parquet", "manifest.json", "checksums.txt"])
def test_damage_is_noticed_and_rebuilt(tmp_path, damage, file):
    good = prepare(source(), Recipe(), tmp_path)
    folder = tmp_path / folders(tmp_path)[0]
    damage(folder / file)
    again = source()
    with pytest.warns(UserWarning, match="is damaged and will be rebuilt"):
        rebuilt = prepare(again, Recipe(), tmp_path)
    assert again.reads == 1
    assert rebuilt.fingerprint == good.fingerprint
    assert folders(tmp_path) == [folder.name]
    untouched = source()
    assert_equal(prepare(untouched, Recipe(), tmp_path), prepare(source(), Recipe()))
    assert untouched.reads == 0


@pytest.mark.parametrize("place", ["file/cache", "file"])
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="going on without it"):
        prepared = prepare(source(), Recipe(), tmp_path / place)
    assert_equal(prepared, prepare(source(), Recipe()))


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.warns(UserWarning, match="No space left"):
        prepare(source(), Recipe(), tmp_path)
    assert folders(tmp_path) == []


def test_the_second_builder_takes_what_the_first_stored(tmp_path):
    prepared = prepare(source(), Recipe())
    folder = tmp_path / "memory-0"
    store(prepared, folder, {})
    before = (folder / "manifest.json").stat().st_mtime_ns
    store(prepared, folder, {})
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    assert folders(tmp_path) == ["memory-0"]


SCRIPT = """
import sys, time
from pathlib import Path
from recsys_lightning.data import cache
from recsys_lightning.data.prepare import Recipe, prepare
from tests.data.test_cache import source

sync = cache._sync
def slow(path):  # every file is written; none is in its place yet
    print("writing", flush=True)
    time.sleep(float(sys.argv[2]))
    sync(path)
cache._sync = slow
print(prepare(source(), Recipe(), Path(sys.argv[1])).fingerprint, flush=True)
"""


def start(cache, pause):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(cache), str(pause)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_killed_builder_leaves_nothing_visible(tmp_path):
    builder = start(tmp_path, 30)
    assert builder.stdout.readline() == "writing\n"
    builder.send_signal(signal.SIGKILL)
    builder.communicate()
    assert [name[: len(".building")] for name in folders(tmp_path)] == [".building"]
    again = source()
    prepare(again, Recipe(), tmp_path)
    assert again.reads == 1
    assert [name.split("-")[0] for name in folders(tmp_path)] == ["memory"]  # what was left is swept


def test_two_processes_fill_one_cold_cache(tmp_path):
    builders = [start(tmp_path, 0.05) for _ in range(2)]
    printed = [builder.communicate()[0].split() for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert {words[-1] for words in printed} == {prepare(source(), Recipe()).fingerprint}
    assert all(words[0] == "writing" for words in printed), "both built; the test means nothing otherwise"
    assert [name.split("-")[0] for name in folders(tmp_path)] == ["memory"]
    again = source()
    prepare(again, Recipe(), tmp_path)
    assert again.reads == 0


def test_only_stale_folders_are_swept(tmp_path):
    host = socket.gethostname()
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    names = {
        "mine": f".building-{host}-{os.getpid()}-0a",
        "dead": f".building-{host}-{finished.pid}-0b",
        "elsewhere": f".building-not-{host}-{finished.pid}-0c",
        "old": f".building-not-{host}-1-0d",
        "cache": "memory-0123",
    }
    for name in names.values():
        (tmp_path / name).mkdir()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(tmp_path / names["old"], (long_ago, long_ago))
    os.utime(tmp_path / names["cache"], (long_ago, long_ago))
    sweep(tmp_path)
    assert folders(tmp_path) == sorted([names["mine"], names["elsewhere"], names["cache"]])


def test_the_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("RECSYS_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "recsys_lightning"
