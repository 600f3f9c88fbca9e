"""What the commands of experiments that run variants have in common: options, where runs lie, errors in words."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from comparisons import Variant

from recsys_lightning.cli import INTERRUPTED
from recsys_lightning.errors import InputError


def parser_of(about: str, config: str, seeds: str) -> argparse.ArgumentParser:
    """A parser of `--config`, `--seeds` and `--folder`.

    Args:
        about: the command's docstring.
        config: what the experiment must be.
        seeds: what there are so many of.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help=config)
    parser.add_argument("--seeds", type=int, default=3, help=f"{seeds} [3]")
    parser.add_argument("--folder", type=Path, default=Path("runs/ablation"), help="of the runs [%(default)s]")
    return parser


def carry_out(
    name: str,
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace, Sequence[str]], str],
    arguments: Sequence[str] | None,
) -> int:
    """Print what comes of a command line, or what is wrong with it; the exit status.

    Args:
        name: of the command.
        parser: of its own options.
        work: takes these, and those of every run.
        arguments: of the command line; None for those of this process.
    """
    try:
        print(work(*parser.parse_known_args(arguments)))
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(f"{name}: {str(stopped) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    return 0


def folder_of(given: argparse.Namespace) -> Path:
    """Where the runs of an experiment lie."""
    return Path(given.folder) / f"{given.config.parent.name}-{given.config.stem}"


def folder_in(place: Path, variant: Variant) -> Path:
    """Where those of a variant lie."""
    return place / re.sub(r"[^\w.-]+", "_", variant.name)
