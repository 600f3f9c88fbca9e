"""What the parser of options finds wrong, in a sentence."""

from __future__ import annotations

import difflib
import inspect
import re

_KEY = re.compile(r'Parser key "([^"]+)":')
_CLASS = re.compile(r"class_path[ =]'[\w.]*?(\w+)'")
_TYPE = re.compile(r"Expected an? <class '(?:[\w.]*\.)?(\w+)'>")
_VALUE = re.compile(r"(?:Got|Given) value: (\S+?)\.?(?:\s|$)")
_ATTEMPTS = re.compile(
    r"Problem with given class_path .*:$|Does not validate|Subtypes:|Errors:|Given value|Expected a path"
    r"|Expected a <class 'NoneType'>"
)
"""Lines that say what the parser tried, not what is wrong."""

_NO_OPTION = "There is no option {name}.{near}{more}"
_MISSING = "{name} must be given.{whence}{more}"
_WHENCE = {
    "data.vectors": " It is the file that `recsys predict` of an earlier run writes with "
    "--trainer.callbacks+=WriteVectors; `recsys chain` runs both, one after the other.",
}
"""What makes the files that options name and that nobody has lying about."""
_KINDS = (
    (r"Group '(?P<group>[^']+)' does not accept option '(?P<option>[^']+)'", _NO_OPTION),
    (r"Option '(?P<option>[^']+)' is not accepted", _NO_OPTION),
    (r"unrecognized arguments: --(?P<option>[^ =]+)", _NO_OPTION),
    (r"unrecognized arguments: (?P<option>.+)", "{option} is no option: options begin with two dashes."),
    (r"arguments are required: (?:\w+\.)?(?P<option>\w+)", _MISSING),
    (r"Expected a dot import path string: (?P<value>\S+)", "{path}: there is no {value}.{near}"),
    (
        r"Expected a \S*Literal\[(?P<kind>.+?)\]\. Got value: (?P<value>\S+?)\.?(?:\s|$)",
        "{path} is {value}; it can be {kind}.",
    ),
)


def sentence(complaint: str, verb: str) -> str:
    """What the parser of a verb's options complains of, in short, with the full name of the option.

    A complaint of an unknown form stays as it is.
    """
    keys = [key for key in _KEY.findall(complaint) if key != "config"]
    path = ".".join(keys)
    classes = _CLASS.findall(complaint.partition("Given value")[0])
    lines = [line.strip().removeprefix("- ") for line in complaint.splitlines()]
    text = " ".join(_KEY.sub("", line) for line in lines if line and not _ATTEMPTS.match(line)).strip()
    if (types := _TYPE.findall(text)) and (value := _VALUE.search(complaint)):
        return f"{path} is {value[1]}; it must be {' or '.join(types)}."
    for pattern, form in _KINDS:
        if found := re.search(pattern, text):
            parts = {name: value or "" for name, value in found.groupdict().items()}
            name = ".".join(filter(None, (path, parts.get("group"), parts.get("option"))))
            of = [f"--{keys[0]} {classes[0]}"] if len(keys) > 1 and len(classes) > 1 else []
            about = " ".join([*of, f"--{path}.help {classes[-1]}"]) if classes else "--help-all"
            more = f" `recsys {verb} {about}` lists what there is."
            near = difflib.get_close_matches(parts.get("value", ""), [kind.__name__ for kind in _classes()], 1)
            if form == _NO_OPTION:
                head, _, last = name.rpartition(".")
                known = _options(classes[-1] if classes and head == path else head)
                near = [f"{head}.{one}" for one in difflib.get_close_matches(last, known, 1)]
            hint = f" Did you mean {near[0]}?" if near else ""
            return form.format(
                **{**parts, "path": path, "name": name, "more": more, "near": hint, "whence": _WHENCE.get(name, "")}
            )
    return f"{path}: {text}" if path else text


def _options(of: str) -> list[str]:
    """Options of a class by its name, or of a group of the trainer's options; none where they are not known."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import EarlyStopping

    from recsys_lightning.callbacks.checkpoint import BestAndLast

    groups = {"trainer": Trainer, "checkpoint": BestAndLast, "early_stopping": EarlyStopping}
    kind = groups.get(of) or next((kind for kind in _classes() if kind.__name__ == of), object)
    found = (
        name
        for base in kind.__mro__
        if "__init__" in vars(base)
        for name in inspect.signature(vars(base)["__init__"]).parameters
    )
    return [name for name in dict.fromkeys(found) if name not in ("self", "args", "kwargs")]


def _classes() -> list[type]:
    """What is chosen by name: data sets, tasks, recommenders, losses, samplers, embedders, optimizers."""
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from recsys_lightning.data.negatives import NegativeSampler
    from recsys_lightning.data.text.embedder import TextEmbedder
    from recsys_lightning.datamodules.interactions import InteractionsDataModule
    from recsys_lightning.losses.ranking import Loss
    from recsys_lightning.models import Recommender
    from recsys_lightning.tasks.base import Task

    classes: list[type] = []
    found: list[type] = [InteractionsDataModule, Task, Recommender, Loss, NegativeSampler, TextEmbedder]
    found += [Optimizer, LRScheduler]
    while found:
        kind = found.pop()
        classes.append(kind)
        found += kind.__subclasses__()
    return classes
