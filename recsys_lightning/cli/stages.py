"""The stages of a chain: which configurations are run one after the other, and what each takes from an earlier one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recsys_lightning.cli.experiment import read_yaml
from recsys_lightning.code import code_digest
from recsys_lightning.errors import InputError

VERBS = ("fit", "test", "predict")
CODE = ("data", "datamodules", "losses", "metrics", "models", "tasks", "batches.py", "callbacks", "schema.py")
"""Parts of the package that figures come from."""
_STAGE = {"config", "vectors", "domain", "run", "options", "once"}
_CHAIN = {"stages", "base"}


@dataclass(frozen=True)
class Stage:
    """A configuration that is run.

    Attributes:
        name: of the stage.
        config: the experiment.
        vectors: the earlier stage whose vectors of users and items are its data; None for none.
        domain: the only one that it is trained and tested on; None for all of them.
        run: verbs, in the order of `VERBS`.
        options: of the command line.
        once: whether it is the same for every seed.
    """

    name: str
    config: Path
    vectors: str | None
    domain: str | None
    run: tuple[str, ...]
    options: tuple[str, ...]
    once: bool

    def words(self, vectors: Path | None, seed: int) -> list[str]:
        """Options of the command line, but for where it writes and from what it goes on."""
        words = [f"--config={self.config}", *self.options, f"--seed_everything={seed}"]
        if self.domain is not None:
            recipe = "--data.recipe" if self.vectors is None else "--data.interactions.recipe"
            words.append(f"{recipe}.only={self.domain}")
        return words if vectors is None else [*words, f"--data.vectors={vectors}"]


@dataclass(frozen=True)
class Chain:
    """Stages in the order in which they are run.

    Attributes:
        name: of the file.
        stages: by name.
        base: the stage that the others are compared with.
    """

    name: str
    stages: dict[str, Stage]
    base: str

    def chosen(self, names: Sequence[str]) -> list[Stage]:
        """The stages of these names, as `--only` gives them; all of them without any.

        Raises:
            InputError: there is no stage of a name.
        """
        if unknown := sorted(set(names) - set(self.stages)):
            raise InputError(f"--only names {', '.join(unknown)}; there are {', '.join(self.stages)}.")
        return [self.stages[name] for name in names or self.stages]


def read_chain(file: Path) -> Chain:
    """Read a chain.

    Raises:
        InputError: the file is not there, or not as it should be.
    """
    given = read_yaml(file, "The chain")
    if not isinstance(given, dict) or not isinstance(given.get("stages"), dict) or not given["stages"]:
        raise InputError(f"{file}: a chain has `stages`, each with a name and at least a `config`.")
    _refuse_unknown(given, _CHAIN, str(file))
    stages: dict[str, Stage] = {}
    used = {str(entry.get("vectors")) for entry in given["stages"].values() if isinstance(entry, dict)}
    for key, entry in given["stages"].items():
        name = str(key)
        if name in stages:
            raise InputError(f"{file}: there are two stages of the name {name}. Give one another name.")
        stages[name] = _stage(file, name, entry, list(stages), name in used)
    tested = [name for name, stage in stages.items() if "test" in stage.run]
    if not tested:
        raise InputError(f"{file}: no stage is tested, so there is nothing to set side by side. Let one run test.")
    base = _name(given, "base", str(file)) or tested[0]
    if base not in tested:
        raise InputError(f"{file}: base is {base}, and it must be a stage that is tested: {', '.join(tested)}.")
    return Chain(file.stem, stages, base)


def digest(stage: Stage, words: list[str]) -> str:
    """8 hexadecimal digits that change with a stage's options, each configuration file it reads, and the code."""
    found = hashlib.blake2b(code_digest(*CODE).encode(), digest_size=4)
    for file in sorted({stage.config, *_included(stage.config)}):
        found.update(file.read_bytes())
    found.update(repr((stage.run, [word for word in words if not word.startswith("--config=")])).encode())
    return found.hexdigest()


def _stage(file: Path, name: str, entry: Any, earlier: list[str], used: bool) -> Stage:
    where = f"{file}: stage {name}"
    if not re.fullmatch(r"\w+", name):
        raise InputError(f"{where}: a name consists of letters, digits and underscores.")
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), str):
        raise InputError(f"{where}: it needs `config: FILE`, an experiment relative to this file.")
    _refuse_unknown(entry, _STAGE, where)
    config = file.parent / entry["config"]
    if not config.is_file():
        raise InputError(f"{where}: there is no file {config}.")
    vectors, domain = _name(entry, "vectors", where), _name(entry, "domain", where)
    if vectors is not None and vectors not in earlier:
        raise InputError(
            f"{where}: vectors is {vectors}; it can be a stage before it: {', '.join(earlier) or 'there is none'}."
        )
    run = entry.get("run", ["fit", "test"])
    if not isinstance(run, list) or not run or any(verb not in VERBS for verb in run):
        raise InputError(f"{where}: run is {run}; it is a list of {', '.join(VERBS)}.")
    options = entry.get("options", [])
    if not isinstance(options, list) or not all(isinstance(word, str) and word.startswith("--") for word in options):
        raise InputError(f"{where}: options are a list of words such as --model.recommender.layers=2.")
    wanted = {*run, "predict"} if used else set(run)
    verbs = tuple(verb for verb in VERBS if verb in wanted)
    once = bool(entry.get("once", "fit" not in verbs and vectors is None))
    return Stage(name, config, vectors, domain, verbs, tuple(options), once)


def _name(given: dict[str, Any], key: str, where: str) -> str | None:
    """What a key names; YAML takes some names for numbers."""
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{where}: {key} is {value}, and it must be one name; one such as no or 1.5 in quotes.")
    return str(value)


def _refuse_unknown(given: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(map(str, given)) - known):
        raise InputError(f"{where}: there is no {unknown[0]}; there are {', '.join(sorted(known))}.")


def _included(file: Path) -> Iterator[Path]:
    """Configuration files that a configuration names, and those that these name."""
    try:
        values = [yaml.safe_load(file.read_text(encoding="utf-8"))]
    except (OSError, yaml.YAMLError):
        return
    while values:
        value = values.pop()
        if isinstance(value, dict | list):
            values += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str) and value.endswith((".yaml", ".yml")) and (file.parent / value).is_file():
            yield file.parent / value
            yield from _included(file.parent / value)
