"""Which versions are installed, against what this program needs and what is known not to work."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from recsys_lightning.reports.health import Finding, State

PROJECT = "recsys-lightning"
GROUP = "versions"
MALWARE = {"lightning": ("2.6.2", "2.6.3")}
REMOTE_CODE = {"lightning": "2.6.5", "torch": "2.9"}
"""Up to these, a checkpoint or its loading can run code or corrupt memory."""
COMPANIONS = ("torchvision", "torchaudio")
"""Each of their versions is built for one version of torch."""
COMPILED = ("pyg-lib", "torch-sparse", "torch-scatter", "torch-cluster", "torch-spline-conv")
"""Of torch-geometric; nothing here needs them."""
EXTRAS = ("text", "serve", "tune", "dashboards", "docs")
"""Of those who use this program; who develops it has them all."""


class Environment(NamedTuple):
    """What is installed.

    Attributes:
        python: its version.
        versions: of all distributions, by canonical name.
        requires: what a distribution says that it needs.
    """

    python: str
    versions: Mapping[str, str]
    requires: Callable[[str], Sequence[str]]

    @classmethod
    def here(cls) -> Environment:
        """That of this process."""
        versions: dict[str, str] = {}
        for found in metadata.distributions():
            versions.setdefault(canonicalize_name(found.name), found.version)  # the first on the path is imported
        return cls(platform.python_version(), versions, lambda name: metadata.requires(name) or ())


def check_versions(here: Environment, python: str | None = None) -> list[Finding]:
    """All that versions tell.

    Args:
        here: what is installed.
        python: versions of Python that this program needs; what its metadata say where None.
    """
    if PROJECT not in here.versions:
        text = f"{PROJECT} is not installed, so its floors are not known. Install it: make setup, or pip install -e ."
        return [Finding(GROUP, PROJECT, "problem", text), *_known_bad(here)]
    needed = python or metadata.metadata(PROJECT)["Requires-Python"] or ""
    fine = Version(here.python) in SpecifierSet(needed)
    told = f"{here.python} at {sys.executable}" if fine else f"{here.python}; {needed} is needed. Make the venv anew."
    found = [Finding(GROUP, "python", "ok" if fine else "problem", told)]
    return [*found, *_floors(here), *_extras(here), *_known_bad(here)]


def _floors(here: Environment) -> Iterator[Finding]:
    """Each library that this program always needs."""
    for needed in map(Requirement, here.requires(PROJECT)):
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield _floor(here, needed)


def _floor(here: Environment, needed: Requirement) -> Finding:
    version = here.versions.get(canonicalize_name(needed.name))
    wanted = f"{needed.name}{needed.specifier}"
    if version is None:
        return Finding(GROUP, needed.name, "problem", f"is not installed. Install it: pip install '{wanted}'")
    if not needed.specifier.contains(version, prereleases=True):
        text = f"{version}, and {needed.specifier} is needed. Install it: pip install '{wanted}'"
        return Finding(GROUP, needed.name, "problem", text)
    return Finding(GROUP, needed.name, "ok", version)


def _extras(here: Environment) -> Iterator[Finding]:
    """Each extra as a whole."""
    for extra in EXTRAS:
        needed = [
            one
            for one in map(Requirement, here.requires(PROJECT))
            if one.marker is not None and one.marker.evaluate({"extra": extra})
        ]
        missing = [one.name for one in needed if canonicalize_name(one.name) not in here.versions]
        old = [found for one in needed if one.name not in missing and (found := _floor(here, one)).state == "problem"]
        install = f"pip install '{PROJECT}[{extra}]'"
        if old:
            text = "; ".join(f"{found.name} {found.text.split('. ')[0]}" for found in old)
            yield Finding(GROUP, f"extra {extra}", "problem", f"{text}. Install it: {install}")
        elif missing:
            text = f"is not whole: {', '.join(missing)} missing. What needs it says so; install it: {install}"
            yield Finding(GROUP, f"extra {extra}", "note", text)
        elif needed:
            yield Finding(GROUP, f"extra {extra}", "ok", "installed")


def _known_bad(here: Environment) -> Iterator[Finding]:
    versions = here.versions
    for name, bad in MALWARE.items():
        if versions.get(name) in bad:
            text = (
                f"{versions[name]} was published with malware. Take this machine for compromised: remove it (pip "
                f"uninstall {name}), change the keys and passwords that were within reach, install 2.6.6 or later."
            )
            yield Finding(GROUP, f"{name} is malware", "problem", text)
    for name, last in REMOTE_CODE.items():
        version = versions.get(name)
        if version is not None and _release(version) <= _padded(last, version) and version not in MALWARE.get(name, ()):
            text = (
                f"{version} can be made to run code, or to fail, by a checkpoint. Load none of others, and update it."
            )
            yield Finding(GROUP, f"{name} is unsafe", "problem", text)
    yield from _twins(versions)
    yield from _companions(here)
    yield from _compiled(versions)
    if "transformers" in versions:
        text = f"{versions['transformers']}: torchmetrics imports it with lightning, which then starts seconds later"
        yield Finding(GROUP, "transformers", "note", text)


def _twins(versions: Mapping[str, str]) -> Iterator[Finding]:
    """The same classes exist in two distributions, one of which lightning itself installs."""
    twin, own = versions.get("pytorch-lightning"), versions.get("lightning")
    if twin is None or own is None:
        return
    state: State = "ok" if twin == own else "problem"
    text = f"{twin} lies beside lightning, which brings it: import lightning.pytorch only, as their classes differ"
    if twin != own:
        text = (
            f"{twin} lies beside lightning {own}: code of yours that imports it meets other classes than ours, and of "
            f"another version. Install the same: pip install pytorch-lightning=={own}"
        )
    yield Finding(GROUP, "pytorch-lightning", state, text)


def _companions(here: Environment) -> Iterator[Finding]:
    torch = here.versions.get("torch")
    for name in COMPANIONS:
        version = here.versions.get(name)
        if version is None or torch is None:
            continue
        built = next((one for one in map(Requirement, here.requires(name)) if one.name == "torch"), None)
        fits = built is None or built.specifier.contains(Version(torch).public, prereleases=True)
        text = f"{version}, built for this torch"
        if not fits:
            assert built is not None
            text = (
                f"{version} is built for torch{built.specifier}, and torch is {torch}: `import lightning` can fail at "
                f"it. Remove it, as nothing here needs it: pip uninstall {name}"
            )
        yield Finding(GROUP, name, "ok" if fits else "problem", text)


def _compiled(versions: Mapping[str, str]) -> Iterator[Finding]:
    """Companions of torch-geometric: their local version says for which torch they are built."""
    torch, there = versions.get("torch"), [name for name in COMPILED if name in versions]
    for name in there:
        built = re.search(r"\+pt(\d)(\d+)", versions[name])
        if torch is None or built is None or _release(torch)[:2] == (int(built[1]), int(built[2])):
            yield Finding(GROUP, name, "ok", f"{versions[name]}; nothing here needs it")
        else:
            text = f"{versions[name]} is built for torch {built[1]}.{built[2]}, and torch is {torch}. Remove it: pip "
            yield Finding(GROUP, name, "problem", f"{text}uninstall {name}; nothing here needs it")
    if not there:
        text = "not there, which is fine: nothing here needs them, and torch-geometric goes without"
        yield Finding(GROUP, "pyg-lib, torch-sparse", "ok", text)


def _release(version: str) -> tuple[int, ...]:
    return Version(version).release


def _padded(bound: str, version: str) -> tuple[int, ...]:
    """A bound as the release that it ends with: 2.9 includes 2.9.1, 2.6.5 does not include 2.6.6."""
    release = _release(bound)
    return (*release, *(sys.maxsize,) * max(0, len(_release(version)) - len(release)))
