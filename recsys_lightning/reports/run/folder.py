"""The folder of a run: of `recsys test`, of `recsys fit`, and how each finds the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recsys_lightning.errors import InputError
from recsys_lightning.reports.ranking import RankingReport
from recsys_lightning.reports.run.curves import Curves, read_curves
from recsys_lightning.reports.run.facts import PREFIX, report_of
from recsys_lightning.reports.run.values import Values, read_json

METRICS, FACTS, DIAGNOSTICS, SHOTS = "metrics.json", "facts.json", "diagnostics.json", "shots.json"
CONFIG, PER_USER = "config.yaml", "per_user.parquet"


@dataclass(frozen=True)
class Run:
    """All that is known of a run; each part may be missing.

    Attributes:
        folder: that was asked for.
        tested: folder of the test that is shown.
        tests: how many tests of the same training there are.
        trained: folder of the training.
        checkpoint: that was tested, as the test wrote it down.
        metrics: metrics.json.
        facts: facts.json.
        report: the two as a report of a ranking.
        diagnostics: diagnostics.json.
        shots: shots.json.
        curves: of the training.
        per_user: ndcg at the first cut-off of each tested user, by the name of the domain; an empty one where there
            is one domain.
        config: config.yaml as it is written.
        options: and as nested values.
    """

    folder: Path
    tested: Path | None
    tests: int
    trained: Path | None
    checkpoint: str
    metrics: Values
    facts: Values
    report: RankingReport | None
    diagnostics: Values
    shots: Values
    curves: Curves | None
    per_user: Mapping[str, tuple[float, ...]]
    config: str
    options: Mapping[str, Any]


def read_run(folder: Path) -> Run:
    """Read all that a run left.

    Raises:
        InputError: this is no folder of a run, or one of its files is damaged.
    """
    if not folder.is_dir():
        what = "is a file: name the folder that it lies in" if folder.exists() else "is not there"
        raise InputError(f"{folder} {what}. `recsys report` takes the folder of a run, e.g. runs/world-mf/version_0.")
    tested, tests, trained = None, 0, None
    if (folder / METRICS).is_file():
        tested, tests, trained = folder, 1, training_of(folder)
    elif _was_trained(folder):
        found = _tests_of(folder)
        tested, tests, trained = (found[-1] if found else None), len(found), folder
    elif newest := newest_run(folder):
        raise InputError(f"{folder} holds several runs. Name one; the newest is {newest}.")
    else:
        raise InputError(
            f"{folder} is no folder of a run: it holds neither {METRICS}, which `recsys test` writes, nor metrics.csv "
            "or checkpoints, which `recsys fit` writes."
        )
    places = [place for place in (tested, folder, trained) if place is not None]
    metrics, facts = (read_json((tested or folder) / name) for name in (METRICS, FACTS))
    report = report_of(metrics, facts)
    config, options = read_config(places)
    chosen = options.get("checkpoint") if isinstance(options.get("checkpoint"), dict) else {}
    assert isinstance(chosen, dict)
    return Run(
        folder=folder,
        tested=tested,
        tests=tests,
        trained=trained,
        checkpoint=metrics["checkpoint"].text(),
        metrics=metrics,
        facts=facts,
        report=report,
        diagnostics=_first(places, DIAGNOSTICS),
        shots=_first(places, SHOTS),
        curves=None
        if trained is None
        else read_curves(trained, str(chosen.get("monitor") or ""), str(chosen.get("mode") or "max")),
        per_user={} if tested is None or report is None else _read_per_user(tested / PER_USER, report),
        config=config,
        options=options,
    )


def newest_run(folder: Path) -> Path | None:
    """The run with the highest version in a folder of runs; None where it holds none."""
    versions = [
        (int(found[1]), place)
        for place in (folder.iterdir() if folder.is_dir() else ())
        if (found := re.fullmatch(r"version_(\d+)", place.name))
        and ((place / METRICS).is_file() or _was_trained(place))
    ]
    return max(versions)[1] if versions else None


def _was_trained(folder: Path) -> bool:
    return (folder / "metrics.csv").is_file() or (folder / "checkpoints").is_dir()


def training_of(tested: Path) -> Path | None:
    """The folder that the tested checkpoint lies in; None where there was none, or it is not here any more.

    Paths are written down as they were given: relative ones are looked for from here, and from the folders above the
    test's. Where all runs were moved elsewhere together, the training still lies beside the test.
    """
    written = read_json(tested / METRICS)["checkpoint"].text()
    if not written:
        return tested if (tested / "checkpoints").is_dir() else None
    run = Path(written).parent.parent
    places = [run, *(above / run for above in tested.absolute().parents)]
    if run.parent.name == tested.absolute().parent.name:
        places.append(tested.absolute().parent / run.name)
    return next((place for place in places if (place / "checkpoints" / Path(written).name).is_file()), None)


def _tests_of(trained: Path) -> list[Path]:
    """The folders of its tests among the runs beside it, oldest first."""
    home = trained.resolve()
    found = []
    for file in sorted(home.parent.parent.glob(f"*/*/{METRICS}")):
        try:
            own = training_of(file.parent)
        except InputError:  # another run's damage is none of this one's
            continue
        if own is not None and own.resolve() == home:
            found.append((read_json(file.parent / FACTS)["tested"].text(), file.stat().st_mtime_ns, file.parent))
    return [place for *_, place in sorted(found)]


def _first(places: list[Path], name: str) -> Values:
    files = [place / name for place in places]
    return read_json(next((file for file in files if file.is_file()), files[0]))


def read_config(places: list[Path]) -> tuple[str, Mapping[str, Any]]:
    """The configuration of the first of these folders that has one: its text, and as nested values.

    Raises:
        InputError: it cannot be read, or is no YAML.
    """
    file = next((place / CONFIG for place in places if (place / CONFIG).is_file()), None)
    if file is None:
        return "", {}
    try:
        text = file.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file} is damaged: {' '.join(str(error).split())}. Mend it, or remove the file.") from error
    return text, values if isinstance(values, dict) else {}


def _read_per_user(file: Path, report: RankingReport) -> dict[str, tuple[float, ...]]:
    if not file.is_file():
        return {}
    import pyarrow
    import pyarrow.parquet

    column, domain = f"ndcg_{report.k[0]}", ["domain"] if report.domains else []
    try:
        table = pyarrow.parquet.read_table(file, columns=[column, *domain])
        names = table["domain"].to_pylist() if domain else [""] * len(table)
        rows = list(zip(names, table[column].to_pylist(), strict=True))
        wanted = report.domains or ("",)
        return {name: tuple(value for own, value in rows if own == name and value is not None) for name in wanted}
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{file} is damaged: {problem}. Mend it, or remove the file.") from error


def class_named(options: Mapping[str, Any], *keys: str) -> str:
    """Name of the class that a configuration has under these keys; empty where it has none."""
    value: Any = options
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    path = value.get("class_path") if isinstance(value, dict) else value
    return path.rsplit(".", 1)[-1] if isinstance(path, str) else ""


def measured(metrics: Values) -> Iterator[tuple[str, Values]]:
    """What metrics.json holds besides the figures."""
    return ((name, value) for name, value in metrics.items() if not name.startswith(PREFIX))
