"""What an ablation compares: for each model a base and variants of it, as options of the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recsys_lightning.cli.experiment import closed_form, read_yaml, recommender_of
from recsys_lightning.errors import InputError
from recsys_lightning.reports.ablation import Verdicts, added, beside, without

COLD = ("--data.recipe.split=item_cold", "--data.recipe.val=0.1", "--data.recipe.test=0.1")
BASE_ITSELF = Verdicts("", "", "")
OF_RECOMMENDER = "--model.recommender."
TEXT_ONLY = "text only"


@dataclass(frozen=True)
class Variant:
    """One way to run the experiment.

    Attributes:
        name: of the variant, and of its folder.
        options: as they are typed behind `recsys fit`, the configuration first.
        verdicts: on how it compares with the base.
        trained: false for closed forms, which have nothing to fit and nothing random.
        of: the variant whose trained parameters are tested with these options, in place of parameters of its own.
    """

    name: str
    options: tuple[str, ...]
    verdicts: Verdicts = BASE_ITSELF
    trained: bool = True
    of: Variant | None = None


@dataclass(frozen=True)
class Comparison:
    """Variants that answer one question, each set against the base.

    Attributes:
        base: that variants differ from.
        variants: in one thing each.
        cold: whether items without train rows are what is tested.
        timed: whether seconds of training are part of the answer.
    """

    base: Variant
    variants: tuple[Variant, ...]
    cold: bool = False
    timed: bool = False


@dataclass(frozen=True)
class Experiment:
    """What is read of a configuration."""

    config: Path
    model: str
    data: Path
    k: list[int]
    monitor: str

    @classmethod
    def read(cls, config: Path) -> Experiment:
        """The experiment of a YAML.

        Raises:
            InputError: it cannot be read, or is of a model that nothing is compared of.
        """
        text, model = read_yaml(config, "--config"), _model_of(config)
        try:
            k, monitor = text["model"]["init_args"]["k"], text["checkpoint"]["monitor"]
            found = cls(config, str(model), config.parent / text["data"], k, monitor)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"--config {config} is not laid out like experiments/ml-100k/genre_gat.yaml: data in a file of its "
                "own, the recommender with its options, k, and checkpoint.monitor."
            ) from error
        if found.model not in COMPARED:
            raise InputError(
                f"--config {config} is of {found.model}, and what is compared are options of {', '.join(COMPARED)}. "
                "Give an experiment of one of them, such as experiments/ml-100k/genre_gat.yaml."
            )
        return found

    @property
    def base(self) -> tuple[str, ...]:
        """What the base of every comparison is, whatever the configuration says: variants change one thing of it."""
        return COMPARED[self.model][0]

    @property
    def comparisons(self) -> dict[str, Comparison]:
        """All comparisons, by name."""
        return COMPARED[self.model][1](self)

    @property
    def options(self) -> tuple[str, ...]:
        """Those of the base."""
        return (f"--config={self.config}", *self.base)

    def closed_form(self, name: str) -> Variant:
        """A model that cold items are ranked by as a floor, with its defaults."""
        options = (f"--data={self.data}", "--model=Ranking", f"--model.recommender={name}", f"--model.k={self.k}")
        return Variant(name, (*options, *COLD), beside(_short(self.model), name), trained=False)

    def others(self) -> tuple[Variant, ...]:
        """The experiments beside this one that are of other models, each as its file has it."""
        found: dict[str, Variant] = {}
        for config in sorted(self.config.parent.glob("*.yaml")):
            model = _model_of(config)
            if model is not None and model != self.model:
                trained = not closed_form(model)
                name = f"{model} {config.stem}" if model in found else model
                found[name] = Variant(name, (f"--config={config}",), beside(_short(self.model), name), trained)
        return tuple(sorted(found.values(), key=lambda variant: not variant.trained))


def _model_of(config: Path) -> str | None:
    """The class of the recommender; None of a file that holds something else, such as data."""
    return recommender_of(read_yaml(config, "--config"))


def _short(model: str) -> str:
    """What a model is called in names of variants and in verdicts."""
    return "hybrid" if model == "HybridRecommender" else model


def _of_genre_gat(experiment: Experiment) -> dict[str, Comparison]:
    own = experiment.options
    base, none = Variant("base", own), f"{OF_RECOMMENDER}attention=none"
    shuffled, off = "--data.graph.shuffle=1", "--data.graph.attributes=[]"
    weights = [
        Variant(f"weight {gate}", (*own, f"{OF_RECOMMENDER}gate={gate}"), added(f"{gate} weight"))
        for gate in ("adaptive", "learned")
    ]
    lightgcn = (f"--config={experiment.config.with_name('lightgcn.yaml')}", *COLD)
    return {
        "genres": Comparison(
            base,
            (
                Variant("genres shuffled", (*own, shuffled), without("the meaning of attributes")),
                Variant("genres off", (*own, off), without("the attribute graph")),
            ),
        ),
        "attention": Comparison(base, (Variant("attention none", (*own, none), without("attention")),)),
        "weight": Comparison(base, tuple(weights)),
        "cold": Comparison(
            Variant(experiment.model, (*own, *COLD)),
            (
                experiment.closed_form("GenrePopularity"),
                Variant("LightGCN", lightgcn, beside(experiment.model, "LightGCN")),
                experiment.closed_form("Popularity"),
            ),
            cold=True,
        ),
    }


def _of_hybrid(experiment: Experiment) -> dict[str, Comparison]:
    """Text is looked at twice: alone, what it is worth, and beside the graph, what it adds."""
    own = experiment.options
    base = Variant("hybrid", own)
    text, graph = (_one_view(own, view) for view in ("text", "graph"))
    cold, cold_text, cold_graph = ((*options, *COLD) for options in (own, text, graph))
    visible, wide = (f"{OF_RECOMMENDER}{option}" for option in ("target=visible", "dim=null"))
    graph_only = without("the text view")
    found = {
        "views": Comparison(
            base,
            (Variant(TEXT_ONLY, text, without("the graph view")), Variant("graph only", graph, graph_only)),
        ),
        "models": Comparison(base, experiment.others()),
        "text": _controls(TEXT_ONLY, text, random=True),
        "text_beside_graph": _controls("hybrid", own, beside=" beside the graph"),
        "cold_text": _controls(TEXT_ONLY, cold_text, random=True, cold=True),
        "cold": _controls(
            "hybrid",
            cold,
            Variant("graph only", cold_graph, graph_only),
            experiment.closed_form("GenrePopularity"),
            experiment.closed_form("Popularity"),
            beside=" beside the graph",
            cold=True,
        ),
        "target": Comparison(base, (Variant("target visible", (*own, visible), without("leaving the target out")),)),
        "width": Comparison(
            base, (Variant("full width", (*own, wide), added("the full width of the text")),), timed=True
        ),
        "gate": Comparison(base, tuple(_forced(base, gate, words) for gate, words in GATES.items())),
    }
    return {name: one for name, one in found.items() if one.variants}


GATES = {"1.0": "text alone", "0.5": "halves", "0.0": "the graph alone"}
"""Constants that the learned gates of a hybrid give way to, and what they let through."""


def _one_view(own: tuple[str, ...], view: str) -> tuple[str, ...]:
    without_identity = (f"{OF_RECOMMENDER}identity=false",) if view == "text" else ()  # it is of the graph view
    return (*own, f"{OF_RECOMMENDER}views={view}", "--model.contrastive=null", *without_identity)


def _forced(base: Variant, gate: str, words: str) -> Variant:
    options = (*base.options, f"{OF_RECOMMENDER}gate={gate}")
    return Variant(f"gate {gate}", options, beside("the learned gate", f"a gate of {gate} ({words})"), of=base)


def _controls(
    name: str, own: tuple[str, ...], *others: Variant, random: bool = False, beside: str = "", cold: bool = False
) -> Comparison:
    """Texts against those of other items, and against random vectors of the same length."""
    shuffled, noise = (f"--data.text.control={control}" for control in ("shuffled", "random"))
    variants = [Variant(f"{name}, text shuffled", (*own, shuffled), without(f"each item's own text{beside}"))]
    if random:
        verdicts = without(f"text in place of random vectors{beside}")
        variants.append(Variant(f"{name}, text random", (*own, noise), verdicts))
    return Comparison(Variant(name, own), (*variants, *others), cold=cold)


TWO_TOWER = "adaptive mimic"
SHUFFLED = "--data.features.shuffle=1"
MIMICS = {"none": "no mimicry", "dat": "augmented vectors"}
"""What takes the place of metadata that mimics embeddings."""
LEVEL = "--model.loss.logq=false"
"""For new items: with the correction scores learn how popular items are, which puts new ones below all others."""
SHOTS = (0, 1, 2, 5, 10)
"""Rows of a cold item that train has, along the curve."""


def _of_two_tower(experiment: Experiment) -> dict[str, Comparison]:
    """Fusions and models on the experiment's own split; then for items that train has no row of."""
    own = experiment.options
    base = Variant(TWO_TOWER, own)
    new = (*own, *COLD, LEVEL)
    cold = Comparison(
        Variant(TWO_TOWER, new),
        (
            *_fusions(new, ("identity", "metadata")),
            Variant("features shuffled", (*new, SHUFFLED), without("the meaning of features")),
            *(experiment.closed_form(name) for name in ("ContentKNN", "Popularity")),
        ),
        cold=True,
    )
    return {
        "fusions": Comparison(base, _fusions(own, ("identity", "metadata", "sum", "concat"))),
        "mimic": Comparison(base, tuple(_mimic(own, name, words) for name, words in MIMICS.items())),
        "features": Comparison(
            base, (Variant("features shuffled", (*own, SHUFFLED), without("the meaning of features")),)
        ),
        "models": Comparison(base, experiment.others()),
        "cold": cold,
    }


def _fusions(own: tuple[str, ...], names: tuple[str, ...]) -> tuple[Variant, ...]:
    return tuple(_fusion(own, name) for name in names)


def _fusion(own: tuple[str, ...], name: str) -> Variant:
    """Another fusion; embeddings or metadata alone have nothing that could mimic."""
    alone = (f"{OF_RECOMMENDER}mimic=none",) if name in ("identity", "metadata") else ()
    return Variant(
        f"fusion {name}", (*own, f"{OF_RECOMMENDER}fusion={name}", *alone), beside(TWO_TOWER, f"fusion {name}")
    )


def _mimic(own: tuple[str, ...], name: str, words: str) -> Variant:
    return Variant(f"mimic {name}", (*own, f"{OF_RECOMMENDER}mimic={name}"), beside("metadata that mimics", words))


def shots(experiment: Experiment, rows: int) -> tuple[Variant, ...]:
    """Models for items of which train has so many rows; what is tested stays the same."""
    split = (*COLD, f"--data.recipe.shots={rows}", f"--data.recipe.reserve={max(SHOTS)}")
    own = (*experiment.options, *split, LEVEL)
    closed = (experiment.closed_form(name) for name in ("ContentKNN", "ItemKNN", "Popularity"))
    return (
        Variant(TWO_TOWER, own),
        *_fusions(own, ("identity", "metadata")),
        *(Variant(one.name, (*one.options, *split), trained=False) for one in closed),
    )


COMPARED: dict[str, tuple[tuple[str, ...], Callable[[Experiment], dict[str, Comparison]]]] = {
    "GenreGAT": ((f"{OF_RECOMMENDER}attention=gat", f"{OF_RECOMMENDER}gate=fixed"), _of_genre_gat),
    "TwoTower": ((f"{OF_RECOMMENDER}fusion=adaptive_mimic", f"{OF_RECOMMENDER}mimic=metadata"), _of_two_tower),
    "HybridRecommender": ((f"{OF_RECOMMENDER}views=both", f"{OF_RECOMMENDER}target=left_out"), _of_hybrid),
}
"""Options of the base, and the comparisons, by model."""
