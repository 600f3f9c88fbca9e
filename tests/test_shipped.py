"""`experiments/shipped.py`: the table says what holds, and each fault that is planted is red in its column alone."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys_lightning.reports.tables import DASH
from tests.conftest import REPOSITORY, Recsys
from tests.experiments import EXPERIMENTS, FILES, named

FIGURES = {"test/ndcg_10": 0.25, "test/recall_10": 0.5, "test/diversity_10": None, "test/users": 7.0}
SEVERAL = "What is served ranks all items together, and these data have 2 domains that are ranked apart."


def load(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "experiments")
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def shipped() -> ModuleType:
    return load("shipped")


@pytest.fixture(scope="module")
def claims() -> ModuleType:
    return load("claims")


@pytest.fixture(scope="module")
def trying() -> ModuleType:
    return load("trying")


class Commands:
    """Leaves what `recsys` would leave, but for one fault."""

    def __init__(self, folder: Path, fault: str, trying: ModuleType) -> None:
        self.folder, self.fault, self.trying = folder, fault, trying
        self.done: list[list[str]] = []

    def __call__(self, verb: str, *words: object) -> list[str]:
        said = [verb, *map(str, words)]
        self.done.append(said)
        two = "--trainer.devices=2" in said
        if self.fault == f"{verb} fails" or (two and self.fault == f"{verb} on two fails"):
            raise self.trying.Wrong(f"`recsys {verb}` ended with status 1: it broke")
        if self.fault == "no data":
            raise self.trying.Absent("There is no file u.data")
        return list(getattr(self, verb)(said, two))

    def fit(self, said: list[str], two: bool) -> list[str]:
        [epochs] = [int(word.rpartition("=")[2]) for word in said if word.startswith("--trainer.max_epochs=")]
        resumed = "--ckpt_path" in said
        run = self.folder / f"version_{len(self.done)}"
        if resumed and self.fault != "another folder":
            run = Path(said[said.index("--ckpt_path") + 1]).parent.parent
        weight = torch.full((2, 2), 1.0 * epochs)
        if resumed and self.fault == "one bit":
            weight[1, 1] = weight[1, 1].nextafter(torch.tensor(9.0))
        steps = 2 if self.fault == "never stopped" else epochs
        content = {"global_step": steps, "state_dict": {"w": weight}, "optimizer_states": [{"step": epochs}]}
        if resumed and self.fault == "optimizer":
            content["optimizer_states"] = [{"step": 1}]
        (run / "checkpoints").mkdir(parents=True, exist_ok=True)
        for name in ("last", "best"):
            torch.save({**content, "lr_schedulers": []}, run / "checkpoints" / f"{name}.ckpt")
        return ["best val/ndcg_10: 0.1", f"run: {run}", "test it: recsys test"]

    def test(self, said: list[str], two: bool) -> list[str]:
        folder = self.folder / f"test_{len(self.done)}"
        folder.mkdir()
        faults = {"infinite": {"test/diversity_10": float("inf")}, "nothing": {"test/ndcg_10": None}}
        figures = {**FIGURES, **faults.get(self.fault, {})}
        if two and self.fault == "2e-6":
            figures["test/ndcg_10"] = 0.25 + 2e-6
        (folder / "metrics.json").write_text(json.dumps({**figures, "users": 7}))
        return ["a table", str(folder / "metrics.json")]

    def export(self, said: list[str], two: bool) -> list[str]:
        if self.fault == "several domains":
            raise self.trying.Refused(SEVERAL)
        folder = Path(said[said.index("--to") + 1])
        folder.mkdir()
        (folder / "manifest.json").write_text("{}" if self.fault != "half an export" else "{")
        return []


@pytest.fixture
def cells(
    claims: ModuleType, trying: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Cells of an experiment with a fault, and what was done."""

    def judged(fault: str = "", name: str = "movietweetings/lightgcn") -> dict[str, Any]:
        config = EXPERIMENTS / f"{name}.yaml"
        do = Commands(tmp_path, fault, trying)
        history = {"test/ndcg_10": 0.25, "test/recall_10": 0.5, "test/users": 7.0}
        if fault == "not logged":
            history.pop("test/recall_10")

        def report(words: list[str]) -> int:
            for file in ("report.md", "report.html"):
                text = "a page" if fault == f"nameless {file}" else "LightGCN EASE"
                (Path(words[1]) / file).write_text(text)
            return 2 if fault == "no report" else 0

        monkeypatch.setattr(claims.cli, "main", report)
        monkeypatch.setattr(claims, "logged", lambda *_: SimpleNamespace(history=[{"val/loss": 1.0}, history]))
        return {**claims.Single(do, config, [], tmp_path).cells(), "done": do.done}

    return judged


def test_what_holds_is_green_by_seven_commands(cells: Callable[..., dict[str, Any]]) -> None:
    found = cells()
    verbs = [words[0] for words in found.pop("done")]
    assert all(cell == (True, "") for cell in found.values())
    assert verbs == ["fit", "test", "fit", "fit", "fit", "test", "export"]
    closed = cells(name="movietweetings/ease")
    assert [words[0] for words in closed["done"]] == ["test", "test", "export"]
    assert closed["resumes"] == (None, "a closed form has nothing to resume")


@pytest.mark.parametrize(
    ("fault", "column", "why"),
    [
        ("infinite", "runs", "test/diversity_10 is inf."),
        ("nothing", "runs", "test/ndcg_10 is None."),
        ("test fails", "runs", "`recsys test` ended with status 1: it broke"),
        ("one bit", "resumes", "state_dict.w of the resumed run differs."),
        ("optimizer", "resumes", "optimizer_states.0.step of the resumed run differs."),
        ("never stopped", "resumes", "It was stopped after 2 of 2 steps."),
        ("another folder", "resumes", "It went on in another folder."),
        ("fit on two fails", "processes", "`recsys fit` ended with status 1: it broke"),
        ("2e-6", "processes", "test/ndcg_10 is 0.25, on two processes 0.250002."),
        ("not logged", "logs", "test/recall_10 is 0.5, in the log None."),
        ("export fails", "exports", "`recsys export` ended with status 1: it broke"),
        ("half an export", "exports", "JSONDecodeError"),
        ("no report", "reports", "`recsys report` ended with status 2"),
        ("nameless report.md", "reports", "report.md does not name LightGCN."),
        ("nameless report.html", "reports", "report.html does not name LightGCN."),
    ],
)
def test_a_fault_is_red_in_its_column(cells: Callable[..., dict[str, Any]], fault: str, column: str, why: str) -> None:
    found = cells(fault)
    del found["done"]
    assert found[column].holds is False and found[column].why.startswith(why)
    others = {name: cell for name, cell in found.items() if name != column}
    expected = (False, "it does not run") if column == "runs" else (True, "")
    assert set(others.values()) == {expected}


def test_what_cannot_be_had_is_neither_red_nor_green(cells: Callable[..., dict[str, Any]]) -> None:
    found = cells("several domains")
    assert found["exports"] == (None, SEVERAL) and found["reports"].holds
    absent = cells("no data")
    assert len(absent.pop("done")) == 1
    assert set(absent.values()) == {(None, "not here: There is no file u.data")}


SEARCHES = {"whole": [("1", "0.3"), ("0", "0.2")], "stopped": [("1", "0.3"), ("0", "0.2")]}


@pytest.mark.parametrize(
    ("fault", "red"),
    [
        ("", set()),
        ("other trials", {"resumes"}),
        ("a trial fails", {"runs", "resumes", "processes", "logs", "exports", "reports"}),
        ("no metric in the log", {"logs"}),
    ],
)
def test_a_sweep(
    claims: ModuleType,
    trying: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    red: set[str],
) -> None:
    best = tmp_path / "best"
    best.mkdir()
    (best / "config.yaml").write_text("model: {init_args: {recommender: {class_path: recsys_lightning.models.mf.MF}}}")
    done: list[list[str]] = []

    def do(verb: str, *words: object) -> list[str]:
        said = [verb, *map(str, words)]
        done.append(said)
        if verb == "tune":
            if "--trainer.devices=2" in said:
                raise trying.Refused("A trial of `recsys tune` is one process: give --trainer.devices 1.")
            folder = Path(said[said.index("--storage") + 1]).parent
            folder.mkdir(exist_ok=True)
            rows = [f"{n},complete,{0.3 - n / 10},1,{len(done)},{best},,{16 * (n + 1)}" for n in range(2)]
            if fault == "a trial fails":
                rows[1] = "1,failed,,0,1,,out of memory,32"
            if fault == "other trials" and folder.name == "stopped":
                rows[1] = rows[1].replace(",32", ",64")
            head = "trial,state,val/ndcg_10,epochs,seconds,run,reason,model.recommender.dim"
            (folder / "trials.csv").write_text("\n".join([head, *rows]))
        if verb == "export":
            (tmp_path / "export").mkdir()
            (tmp_path / "export" / "manifest.json").write_text("{}")
        return [f"run: {best}"]

    do.folder = tmp_path  # type: ignore[attr-defined]
    monkeypatch.setattr(
        claims.cli, "main", lambda words: [(best / f"report.{end}").write_text("MF") for end in ("md", "html")] and 0
    )
    history = [{"val/loss": 1.0}] if fault == "no metric in the log" else [{"val/ndcg_10": 0.1}]
    monkeypatch.setattr(claims, "logged", lambda *_: SimpleNamespace(history=history))
    found = claims.Swept(do, EXPERIMENTS / "sweeps" / "mf.yaml", [], tmp_path).cells()
    assert {name for name, cell in found.items() if cell.holds is False} == red
    if not red:
        assert found["processes"].holds is None and "one process" in found["processes"].why
        [agent] = [words for words in done if words[0] == "fit"]
        assert agent[1:3] == ["--config", "experiments/movietweetings/mf.yaml"]
        assert {"--trainer.logger", "WandbLogger", "--model.recommender.dim=16"} <= set(agent)


@pytest.mark.parametrize(
    ("fault", "red"),
    [("", set()), ("begins anew", {"resumes"}), ("never ends", {"resumes"}), ("a stage is missing", {"reports"})],
)
def test_a_chain(claims: ModuleType, tmp_path: Path, fault: str, red: set[str]) -> None:
    finished: list[str] = []
    config = EXPERIMENTS / "cross_domain" / "synthetic.yaml"
    stages = list(claims.read_chain(config).stages)

    def do(verb: str, *words: object) -> list[str]:
        said = list(map(str, words))
        assert verb == "chain" and all(word.startswith(("--trainer.", "--data.")) for word in said if "=" in word)
        wanted = [said[said.index("--only") + 1]] if "--only" in said else stages
        new = [
            name
            for name in wanted
            if name not in finished or (fault, name) in {("begins anew", "gat"), ("never ends", "ease")}
        ]
        finished.extend(new)
        folder = Path(said[said.index("--to") + 1])
        folder.mkdir(exist_ok=True)
        shown = stages[1:] if fault == "a stage is missing" else stages
        for end in ("md", "html"):
            (folder / f"report.{end}").write_text(", ".join(f"({name})" for name in shown))
        return [f"== {name}: recsys fit" for name in new]

    do.folder = tmp_path  # type: ignore[attr-defined]
    found = claims.Chained(do, config, ["--model.k=1", "--data.users=9"], tmp_path).cells()
    assert {name for name, cell in found.items() if cell.holds is False} == red
    assert found["runs"].holds and found["exports"] == (None, "stages of a chain have rows of their own")


@pytest.mark.parametrize("stem", ["dot_product", "conditioner", "diffusion"])
def test_vectors_are_those_of_the_stage_before(claims: ModuleType, tmp_path: Path, stem: str) -> None:
    before = "conditioner" if stem == "diffusion" else "gat"
    asked: list[list[str]] = []

    def do(verb: str, *words: object) -> list[str]:
        asked.append([verb, *map(str, words)])
        if verb != "chain":
            raise AssertionError
        folder = tmp_path / "movietweetings" / f"{before}-1" / "runs"
        folder.mkdir(parents=True)
        (folder / "vectors.safetensors").touch()
        return []

    do.folder = tmp_path  # type: ignore[attr-defined]
    config = EXPERIMENTS / "movietweetings-domains" / f"{stem}.yaml"
    claims.Single(do, config, ["--data.recipe.limit_users=9"], tmp_path).cells()
    chain, next_one = asked[:2]
    assert chain[chain.index("--only") + 1] == before and "--data.recipe.limit_users=9" in chain
    assert "--data.interactions.recipe.limit_users=9" in next_one
    assert f"--data.vectors={tmp_path}/movietweetings/{before}-1/runs/vectors.safetensors" in next_one


def test_all_that_is_shipped_is_listed(shipped: ModuleType) -> None:
    names = shipped.shipped()
    others = {
        f"{path.parent.name}/{path.stem}"
        for folder in ("sweeps", "cross_domain")
        for path in (EXPERIMENTS / folder).glob("*.yaml")
    }
    assert set(names) == {named(file) for file in FILES} | others
    assert set(shipped.LIGHTER) <= {file.parent.name for file in FILES}
    assert [name.startswith("cross_domain/") for name in names] == sorted(
        name.startswith("cross_domain/") for name in names
    )


Table = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run(
    shipped: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Table:
    """A command line whose rows are made up; status, what it printed, and the rows that were done."""

    def command(*words: str, **cells: tuple[bool | None, str]) -> tuple[int, str, list[str]]:
        done: list[str] = []

        def row(config: Path, *_: object) -> dict[str, Any]:
            done.append(named(config))
            return {"cells": {**dict.fromkeys(shipped.COLUMNS, (True, "")), **cells}, "seconds": 12}

        monkeypatch.setattr(shipped, "_row", row)
        status = shipped.main([*words, "--to", str(tmp_path / "table")])
        out, err = capsys.readouterr()
        return status, out + err * (status == 2), done

    return command


def test_green_rows_are_done_once_and_red_ones_again(
    run: Table, shipped: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status, text, done = run("ml-100k/ease", "ml-100k/mf", exports=(None, "not to be had"))
    assert status == 0 and done == ["ml-100k/ease", "ml-100k/mf"]
    assert text.count(f"| {DASH} (1) |") == 2 and text.count("(1) not to be had") == 1
    assert text.startswith(f"2 green, 0 red, 0 without their data, {len(shipped.shipped()) - 2} not done yet.")
    assert (tmp_path / "table" / "shipped.md").read_text() == text
    status, text, done = run("ml-100k/[em]*", "sweeps/mf", resumes=(False, "one bit"))
    assert status == 1 and done == ["sweeps/mf"]
    assert "| sweeps/mf | yes | **no** (2) | yes | yes | yes | yes | 12 |" in text and "(2) one bit" in text
    status, text, done = run("ml-100k/mf", "sweeps/mf", "--data.recipe.limit_users=9")
    assert status == 0 and done == ["ml-100k/mf", "sweeps/mf"]
    assert "With `--data.recipe.limit_users=9`: ml-100k/mf, sweeps/mf." in text and text.startswith("3 green")
    monkeypatch.setattr(shipped, "_code", lambda: "changed")
    _, text, done = run("ml-100k/ease")
    assert done == [] and "other code than lies here now (`--again` does them again): ml-100k/ease, ml-100k/mf" in text
    assert run("ml-100k/ease", "--again")[2] == ["ml-100k/ease"]


def test_a_red_row_is_done_again_where_the_code_changed_meanwhile(
    run: Table, shipped: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = iter(["one", "two", "two", "three", "three", *["three"] * 9])
    monkeypatch.setattr(shipped, "_code", lambda: next(codes))
    status, text, done = run("ml-100k/ease", resumes=(False, "one bit"))
    assert status == 1 and done == ["ml-100k/ease"] * 3 and "other code" not in text
    codes = iter(["three", "four", "four", "four"])
    _, text, done = run("ml-100k/ease")
    assert done == ["ml-100k/ease"] and "other code than lies here now" in text


def test_what_lacked_its_data_is_tried_again(run: Table, shipped: ModuleType) -> None:
    absent = dict.fromkeys(shipped.COLUMNS, (None, "not here: There is no file"))
    status, text, done = run("ml-100k/ease", **absent)
    assert status == 0 and text.startswith("0 green, 0 red, 1 without their data")
    assert run("ml-100k/ease")[2] == done == ["ml-100k/ease"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ml-100k/es"], "There is no experiment ml-100k/es"),
        (["--data.root", "ml-100k/ease"], "--data.root is given to every run as one word"),
        (["--seed=1"], "--seed=1 is given to every run as one word"),
    ],
)
def test_bad_words_are_refused(run: Table, words: list[str], said: str) -> None:
    status, text, done = run(*words)
    assert status == 2 and said in text and done == []


@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        ("echo fine", None, "fine"),
        ("echo 'a warning' >&2; echo 'ValueError: broken' >&2; exit 1", "Wrong", "status 1: ValueError: broken"),
        ("echo 'recsys: There is no option --x.' >&2; exit 2", "Wrong", "status 2: There is no option --x."),
        ("echo 'recsys: There is no file /raw/u.data: x.' >&2; exit 2", "Absent", "There is no file /raw/u.data: x."),
        ("echo 'recsys: There is no file /runs/v.txt: x.' >&2; exit 2", "Wrong", "There is no file /runs/v.txt: x."),
        ("echo 'recsys: X needs y: pip install y.' >&2; exit 2", "Absent", "X needs y: pip install y."),
        (f"echo 'recsys: {SEVERAL}' >&2; exit 2", "Refused", SEVERAL),
        ("kill -9 $$", "Wrong", "status -9: it said nothing"),
        ("sleep 60", "Wrong", "took more than 0.2 seconds"),
    ],
)
def test_a_command_is_a_process_whose_end_is_understood(
    trying: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: str | None, said: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(trying.sys, "executable", str(program))
    monkeypatch.setenv("RECSYS_DATA", "/raw")
    do = trying.Recsys(tmp_path, tmp_path / "said.txt", 0.2 if "sleep" in script else 60)
    if error is None:
        assert do("fit", "--x=a b", 3) == [said]
        assert (tmp_path / "said.txt").read_text() == "$ recsys fit '--x=a b' 3\nfine\n[0]\n\n"
        return
    with pytest.raises(getattr(trying, error)) as raised:
        do("fit")
    assert said in str(raised.value)


Nested = st.recursive(
    st.integers()
    | st.text(max_size=3)
    | st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3).map(torch.tensor),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(Nested, st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_nested_values_are_equal_in_every_bit_or_differ(trying: ModuleType, value: Any, number: float) -> None:
    tensor = torch.tensor([1.0, number])
    assert trying.difference({"a": value, "b": tensor}, {"a": value, "b": tensor.clone()}) is None
    other = torch.stack([tensor[0].nextafter(torch.tensor(2.0)), tensor[1]])
    assert trying.difference({"a": value, "b": [tensor]}, {"a": value, "b": [other]}, "x") == "x.b.0"
    assert trying.difference([value], [value, value], "x") == "x"
    assert trying.difference(tensor, tensor.double(), "x") == "x"


def test_what_is_said_of_data_that_are_not_here_is_understood(
    recsys: Recsys, trying: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_DATA", "/nowhere")
    for folder in ("ml-100k", "gowalla", "amazon-movie-book"):
        said = recsys("data", "prepare", "--config", EXPERIMENTS / folder / "ease.yaml").err
        with pytest.raises(trying.Absent):
            trying.complain("test", 2, said)


@pytest.mark.slow
def test_a_real_row_is_green(shipped: ModuleType, tmp_path: Path) -> None:
    assert shipped.main(["movietweetings/mf", "--to", str(tmp_path), "--data.recipe.limit_users=300"]) == 0
    text = (tmp_path / "shipped.md").read_text()
    assert "| movietweetings/mf | yes | yes | yes | yes | yes | yes |" in text
