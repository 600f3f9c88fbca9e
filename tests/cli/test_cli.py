from __future__ import annotations

import inspect
import re
import subprocess
import sys
import warnings
from importlib import import_module
from types import ModuleType

import pytest

from recsys_lightning import __version__, cli
from recsys_lightning.cli import ALONE, INTERRUPTED, VERBS, main
from recsys_lightning.errors import InputError, NonFiniteError


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A verb `do` whose `run` the test replaces."""
    module = ModuleType("do")
    monkeypatch.setitem(sys.modules, "do", module)
    monkeypatch.setitem(VERBS, "do", "do")
    return module


def failing(error: BaseException, cause: BaseException | None = None) -> object:
    def run(words: list[str]) -> None:
        raise error from cause

    return run


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"]])
def test_help_names_every_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert all(f"recsys {verb}" in out for verb in VERBS)
    assert not err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_its_help_and_that_names_its_options(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["recsys"])
    module = import_module(VERBS[verb])
    said = []
    for words in ([verb, "-h"], [verb, "--help"], [verb]):
        if len(words) > 1 or (hasattr(module, "HELP") and verb not in ALONE):
            assert main(words) == 0
            out, err = capsys.readouterr()
            said.append(out)
            assert not err
    assert said[0].startswith(f"recsys {verb}") and len(set(said)) == 1
    declared = re.findall(r"(?:OwnOptions|add_argument)\(([^)]*)\)", inspect.getsource(module))
    options = [option for text in declared for option in re.findall(r'"(--\w+)"', text)]
    assert all(re.search(rf"{option}\b", said[0]) for option in options)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["tset"], ["data"]])
def test_what_is_quick_to_say_is_said_without_importing_torch(words: list[str]) -> None:
    script = (
        "import sys\nfrom recsys_lightning.cli import main\n"
        f"main({words!r})\nprint([name for name in ('torch', 'lightning', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_m_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "recsys_lightning", "fitt"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("recsys: There is no verb fitt. Did you mean fit?")


@pytest.mark.parametrize(("word", "hint"), [("predcit", " Did you mean predict?"), ("xyzzy", "")])
def test_an_unknown_verb(word: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 2
    assert capsys.readouterr().err == f"recsys: There is no verb {word}.{hint} The verbs are {', '.join(VERBS)}.\n"


def test_a_verb_is_given_its_words(verb: ModuleType) -> None:
    given: list[list[str]] = []
    verb.run = given.append  # type: ignore[attr-defined]
    assert main(["do", "--this", "1"]) == 0
    assert given == [["do", "--this", "1"]]


@pytest.mark.parametrize(
    ("error", "cause", "status"),
    [
        (InputError("The file x is missing."), None, 2),
        (NonFiniteError("Training diverged."), None, 1),
        (ValueError("what a parser says"), InputError("The file x is missing."), 2),
        (SystemError("wrapped"), NonFiniteError("Training diverged."), 1),
    ],
)
def test_the_status_tells_what_went_wrong(
    verb: ModuleType, capsys: pytest.CaptureFixture[str], error: Exception, cause: Exception | None, status: int
) -> None:
    verb.run = failing(error, cause)  # type: ignore[attr-defined]
    assert main(["do"]) == status
    assert capsys.readouterr().err == f"recsys: {cause or error}\n"


@pytest.mark.parametrize(
    ("error", "cause", "said"),
    [
        (KeyboardInterrupt(), None, "recsys: interrupted\n"),
        (KeyboardInterrupt("Give the same command again."), None, "recsys: Give the same command again.\n"),
        (ImportError("numpy cannot be imported"), KeyboardInterrupt(), "recsys: interrupted\n"),
        (SystemExit(1), KeyboardInterrupt(), ""),  # as Lightning does, when how to go on is said
    ],
)
def test_ctrl_c_is_one_line_and_a_status_of_its_own(
    verb: ModuleType,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    cause: BaseException | None,
    said: str,
) -> None:
    verb.run = failing(error, cause)  # type: ignore[attr-defined]
    assert main(["do"]) == INTERRUPTED == 130
    assert capsys.readouterr().err == said


def test_other_ends_keep_their_status(verb: ModuleType) -> None:
    verb.run = failing(SystemExit(143))  # type: ignore[attr-defined]
    with pytest.raises(SystemExit, match="143"):
        main(["do"])


def test_a_fault_of_ours_keeps_its_traceback(verb: ModuleType) -> None:
    verb.run = failing(RuntimeError("a bug"))  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="a bug"):
        main(["do"])


def test_a_reader_that_has_enough_is_no_error() -> None:
    """`recsys data list | head -1` closes the pipe; that is neither an error nor worth a message."""
    script = f"{sys.executable} -m recsys_lightning data list | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert done.stdout.startswith("name")


def test_warnings_of_ours_are_sentences_and_those_of_libraries_stay(
    verb: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(words: list[str]) -> None:
        warnings.showwarning("Rows were dropped.", UserWarning, "somewhere.py", 1)
        warnings.showwarning("old", DeprecationWarning, "library.py", 7)

    verb.run = run  # type: ignore[attr-defined]
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    assert main(["do"]) == 0
    ours, theirs = capsys.readouterr().err.splitlines()[:2]
    assert ours == "recsys: Rows were dropped."
    assert theirs.startswith("library.py:7: DeprecationWarning: old")


def test_every_verb_can_be_imported() -> None:
    for name in VERBS.values():
        assert callable(__import__(name, fromlist=["run"]).run)
    assert cli.main is main
