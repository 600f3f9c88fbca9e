"""What the parts of a model do for it: variants of an experiment, run and set side by side.

    python experiments/ablation.py --config experiments/ml-100k/genre_gat.yaml --seeds 3
    python experiments/ablation.py --config experiments/ml-100k-text/hybrid.yaml --seeds 3

Of GenreGAT these are genres, attention and the genre weight; of HybridRecommender its views, texts, width and gates;
of TwoTower its fusions, mimicry, features and new items; and the models beside each of the latter two. Each run is what
`recsys fit` and `recsys test` do with the options of its variant. Runs lie in `runs/ablation/`, where a finished one is
not done again unless options, data or code have changed; the table is printed, and written beside them. Options that
are not known here go to every run, e.g. `--data.root FOLDER`.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from commands import carry_out, folder_in, folder_of, parser_of
from comparisons import TEXT_ONLY, Comparison, Experiment, Variant
from measuring import OF_MODEL, Run, data_of, measure

from recsys_lightning.errors import InputError
from recsys_lightning.reports.ablation import Line, Training, compare, report, training_section
from recsys_lightning.reports.gates import gate_section

OF_COLD = "For cold items, a tenth of the items is held out with all their rows for val, and another for test."


class Runs:
    """Does runs of variants below a folder, each once.

    Args:
        folder: of all runs.
        seeds: trainings of each variant.
        options: of every run.
        epochs: at most so many; None as configurations say.
    """

    def __init__(self, folder: Path, seeds: int, options: Sequence[str], epochs: int | None) -> None:
        self.folder = folder
        self.seeds = seeds
        self.options = tuple(options)
        self.epochs = () if epochs is None else (f"--trainer.max_epochs={epochs}",)
        self.data_of = functools.cache(data_of)

    def __call__(self, variant: Variant, cold: bool) -> list[Run]:
        """Runs of a variant, by seed."""
        place = folder_in(self.folder / ("cold" if cold else ""), variant)
        words, seeds = ((*self.options, *self.epochs), self.seeds) if variant.trained else (self.options, 1)
        data = self.data_of(*(word for word in (*variant.options, *words) if not word.startswith(OF_MODEL)))
        trained = [run.checkpoint for run in self(variant.of, cold)] if variant.of else [None] * seeds
        return [
            measure(variant, seed, words, place / f"seed_{seed}", cold, data, trained[seed]) for seed in range(seeds)
        ]


def ablate(given: argparse.Namespace, options: Sequence[str]) -> str:
    """Do the runs that are not there yet; the report, which is written beside them.

    Raises:
        InputError: an option cannot be used.
    """
    for name, number in (("seeds", given.seeds), ("epochs", given.epochs)):
        if number is not None and number < 1:
            raise InputError(f"--{name} is {number}; at least 1 is needed.")
    experiment = Experiment.read(given.config)
    comparisons = experiment.comparisons
    wanted = given.only.split(",") if given.only else list(comparisons)
    if unknown := sorted(set(wanted) - set(comparisons)):
        raise InputError(f"--only names {', '.join(unknown)}; there are {', '.join(comparisons)}.")
    metric = given.metric or experiment.monitor.removeprefix("val/")
    folder = folder_of(given)
    runs = Runs(folder, given.seeds, options, given.epochs)
    lines: list[Line] = []
    times: dict[tuple[str, str], list[Training]] = {}
    gates = {}
    for name in wanted:
        one = comparisons[name]
        base = runs(one.base, one.cold)
        found = {variant.name: runs(variant, one.cold) for variant in one.variants}
        values = {variant: [run.values for run in of] for variant, of in found.items()}
        verdicts = {variant.name: variant.verdicts for variant in one.variants}
        lines += compare(name, (one.base.name, [run.values for run in base]), values, verdicts, metric)
        if one.timed:
            for variant, of in {one.base.name: base, **found}.items():
                times[name, variant] = [run.training for run in of if run.training]
        if tables := [run.gates for run in base if run.gates is not None]:
            gates[f"{one.base.name}{', cold items held out' if one.cold else ''}"] = tables
    sections = [training_section(times)] if times else []
    sections += [gate_section(gates)] if gates else []
    about = _about(experiment, [comparisons[name] for name in wanted])
    title = f"Ablation of {given.config.parent.name}/{given.config.name}"
    text = report(title, lines, metric, given.seeds, about, sections)
    (folder / "table.md").write_text(text, encoding="utf-8")
    return text


def _about(experiment: Experiment, comparisons: Sequence[Comparison]) -> str:
    """The base in words, and what is cold."""
    parts = [f"Base: {experiment.model} with `{' '.join(experiment.base)}`."]
    if any(one.base.name == TEXT_ONLY for one in comparisons):
        parts.append(f"The base `{TEXT_ONLY}` has the text view alone.")
    return " ".join([*parts, OF_COLD] if any(one.cold for one in comparisons) else parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line; the exit status."""
    parser = parser_of(str(__doc__), "of GenreGAT, TwoTower or HybridRecommender", "trainings of each variant")
    parser.add_argument("--epochs", type=int, help="at most so many; without, as the configuration says")
    parser.add_argument("--only", help="comparisons, e.g. genres,cold; without, all of them")
    parser.add_argument("--metric", help="that is compared; without, what the configuration selects by")
    return carry_out("ablation", parser, ablate, arguments)


if __name__ == "__main__":
    sys.exit(main())
