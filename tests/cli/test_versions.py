from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence

import pytest
from packaging.requirements import Requirement

from recsys_lightning.cli.versions import EXTRAS, PROJECT, Environment, check_versions
from recsys_lightning.reports.health import Finding
from tests.conftest import REPOSITORY

NEEDS = ("torch>=2.10", "lightning>=2.6.6", "wandb>=0.19", 'fastapi>=0.115; extra == "serve"', 'ruff; extra == "dev"')
GOOD = {PROJECT: "1.0", "torch": "2.13.0+cpu", "lightning": "2.6.6", "wandb": "0.31.0", "pytorch-lightning": "2.6.6"}


def check(versions: Mapping[str, str | None], requires: Mapping[str, Sequence[str]] | None = None) -> list[Finding]:
    """Of good versions, but for some."""
    there = {name: version for name, version in {**GOOD, **versions}.items() if version is not None}
    needs = {PROJECT: NEEDS, **(requires or {})}
    return check_versions(Environment("3.11.7", there, lambda name: needs.get(name, ())), python=">=3.11")


def problems(found: list[Finding]) -> dict[str, str]:
    return {one.name: one.text for one in found if one.state == "problem"}


def test_good_versions_are_no_problem() -> None:
    found = check({"fastapi": "0.165"})
    assert {one.state for one in found} == {"ok"}
    assert [one.text for one in found if one.name in ("torch", "extra serve")] == ["2.13.0+cpu", "installed"]


@pytest.mark.parametrize(
    ("versions", "name", "text"),
    [
        ({"torch": "2.9.1"}, "torch", "2.9.1, and >=2.10 is needed. Install it: pip install 'torch>=2.10'"),
        ({"torch": "2.9.1"}, "torch is unsafe", "2.9.1 can be made to run code"),
        ({"wandb": None}, "wandb", "is not installed. Install it: pip install 'wandb>=0.19'"),
        ({"lightning": "2.6.2"}, "lightning is malware", "published with malware"),
        ({"lightning": "2.6.3"}, "lightning is malware", "Take this machine for compromised"),
        ({"lightning": "2.6.5"}, "lightning is unsafe", "Load none of others"),
        ({"pytorch-lightning": "2.5.0"}, "pytorch-lightning", "pip install pytorch-lightning==2.6.6"),
        ({"fastapi": "0.1"}, "extra serve", "fastapi 0.1, and >=0.115 is needed"),
        ({"torch-sparse": "0.6.18+pt21cu118"}, "torch-sparse", "built for torch 2.1, and torch is 2.13.0+cpu"),
        ({PROJECT: None}, PROJECT, "is not installed"),
    ],
)
def test_what_is_known_to_be_bad_is_a_problem(versions: dict[str, str | None], name: str, text: str) -> None:
    assert text in problems(check(versions))[name]


@pytest.mark.parametrize("version", ["2.6.6", "2.7.0"])
def test_later_ones_are_safe(version: str) -> None:
    assert not problems(check({"lightning": version, "pytorch-lightning": version, "torch": "2.10.0"}))


def test_torchvision_must_be_of_the_same_torch() -> None:
    needs = {"torchvision": ["numpy", "torch==2.12.0"]}
    assert "pip uninstall torchvision" in problems(check({"torchvision": "0.27.0"}, needs))["torchvision"]
    needs = {"torchvision": ["numpy", "torch==2.13.0"]}
    assert not problems(check({"torchvision": "0.28.0"}, needs))


def test_what_is_only_worth_knowing() -> None:
    found = check({"transformers": "5.0", "pyg-lib": "0.5.0+pt213cpu"})
    assert {one.name: one.state for one in found if one.state == "note"} == {
        "transformers": "note",
        "extra serve": "note",
    }
    assert any(one.name == "pyg-lib" and one.state == "ok" for one in found)


def test_an_old_python() -> None:
    here = Environment("3.10.1", GOOD, lambda name: NEEDS if name == PROJECT else ())
    assert ">=3.11 is needed" in problems(check_versions(here, python=">=3.11"))["python"]


def test_floors_are_those_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    found = check_versions(Environment.here())
    named = {one.name for one in found}
    assert {Requirement(line).name for line in project["dependencies"]} <= named
    assert set(EXTRAS) == set(project["optional-dependencies"]) - {"dev"}
    assert {f"extra {extra}" for extra in EXTRAS} <= named
    assert "python" in named and not [one for one in found if one.state == "problem"]
