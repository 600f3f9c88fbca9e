"""The `recsys` command."""

from __future__ import annotations

import difflib
import os
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from importlib import import_module

from recsys_lightning import __version__
from recsys_lightning.errors import InputError, NonFiniteError, OtherProcessError, linked

HELP = """\
recsys: train, evaluate and compare recommender systems

  recsys fit      --config FILE [options]                    train, keep the best on val
  recsys validate --config FILE --ckpt_path FILE [options]   rank for the val rows
  recsys test     --config FILE --ckpt_path FILE [options]   rank for the test rows, write metrics.json and report.md
  recsys predict  --config FILE --ckpt_path FILE [options]   write top-k lists with ids and titles
  recsys recommend --config FILE --ckpt_path FILE --user ID  the best items for one user
  recsys explain  --config FILE --ckpt_path FILE --user ID   why: what the scores are made of
  recsys floors   --config FILE [--only NAME,...]            tune and test popularity, item-kNN, EASE, GF-CF
  recsys chain    FILE                                       experiments that feed one another, set side by side
  recsys report   RUN                                        all that a run measured, as report.md and report.html
  recsys compare  RUN RUN ...                                are the differences real: paired tests on the same users
  recsys seeds    --config FILE --n N                        one experiment under N seeds: mean and deviation
  recsys dashboard --task NAME                               a workspace of Weights & Biases for the runs of a task
  recsys tune     --config FILE --sweep FILE --trials N      search for options on val; every trial is a run
  recsys export   --config FILE --ckpt_path FILE --to FOLDER vectors, towers and names, ready to be served
  recsys serve    FOLDER                                     answer over HTTP, with a page to try it
  recsys estimate --config FILE                              memory and time of a training, before it
  recsys doctor                                              versions, devices, memory, and what is known not to work
  recsys audit    --config FILE                              leaks, duplicates, twins: is the split what it says
  recsys data     list | describe NAME | download NAME | prepare --config FILE

Closed-form models (Popularity, ItemKNN, EASE, GFCF) need no checkpoint. `recsys VERB --help` says more of a verb.
Raw data lie in `data/`, or in the folder that the environment variable RECSYS_DATA or --data.root names.

  recsys fit --config experiments/movietweetings/lightgcn.yaml
  recsys fit --data MovieTweetings --model Ranking --model.recommender LightGCN --model.recommender.layers 2
"""

VERBS = {
    "fit": "recsys_lightning.cli.trainer",
    "validate": "recsys_lightning.cli.trainer",
    "test": "recsys_lightning.cli.trainer",
    "predict": "recsys_lightning.cli.trainer",
    "recommend": "recsys_lightning.cli.recommend",
    "explain": "recsys_lightning.cli.explain",
    "floors": "recsys_lightning.cli.floors",
    "chain": "recsys_lightning.cli.chain",
    "report": "recsys_lightning.cli.report",
    "compare": "recsys_lightning.cli.compare",
    "seeds": "recsys_lightning.cli.seeds",
    "dashboard": "recsys_lightning.cli.dashboard",
    "tune": "recsys_lightning.cli.tune",
    "export": "recsys_lightning.cli.export",
    "serve": "recsys_lightning.cli.serve",
    "estimate": "recsys_lightning.cli.estimate",
    "doctor": "recsys_lightning.cli.doctor",
    "audit": "recsys_lightning.cli.audit",
    "data": "recsys_lightning.cli.data",
}
"""Where each verb is carried out; imported only when asked for, as some take seconds to import."""
ALONE = ("doctor",)
"""Verbs that do something without a word more; the others show their help then."""
INTERRUPTED = 130
"""Exit status of what Ctrl-C ended, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line, without the program's name; the exit status.

    0 is success, 1 a run whose numbers or processes broke down or an audit that found faults, 2 something given
    wrongly, 130 what Ctrl-C ended.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        print(__version__)
        return 0
    verb = words[0]
    try:
        if verb not in VERBS:
            near = difflib.get_close_matches(verb, VERBS, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"There is no verb {verb}.{hint} The verbs are {', '.join(VERBS)}.")
        warnings.showwarning = show_warning
        module = import_module(VERBS[verb])
        text = getattr(module, "HELP", None)  # those that parse Lightning's options have a help for each verb
        if text is not None and (words[1:2] in (["-h"], ["--help"]) or (words == [verb] and verb not in ALONE)):
            print(text, end="")
            return 0
        run: Callable[[list[str]], None] = module.run
        run(words)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        # parsers of options wrap what is raised while they make objects, and libraries what is while they are imported
        chain = list(linked(error))
        if stopped := next((link for link in chain if isinstance(link, KeyboardInterrupt)), None):
            if not isinstance(error, SystemExit):  # a trainer ends so, and has said how to go on
                print(f"recsys: {str(stopped) or 'interrupted'}", file=sys.stderr)
            return INTERRUPTED
        if isinstance(error, SystemExit):
            raise
        for status, kind in ((2, InputError), (1, NonFiniteError), (1, OtherProcessError)):
            if ours := next((link for link in chain if isinstance(link, kind)), None):
                print(f"recsys: {ours}", file=sys.stderr)
                return status
        # what the machine or Lightning refuses is said in one sentence of its own: files, devices, combinations
        if isinstance(error, OSError | UnicodeError) or type(error).__name__ == "MisconfigurationException":
            print(f"recsys: {error}", file=sys.stderr)
            return 2
        if not isinstance(error, ArgumentError):
            raise
        from recsys_lightning.cli.options import sentence

        print(f"recsys: {sentence(str(error), verb)}", file=sys.stderr)
        return 2
    return 0


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    """Warnings of ours are sentences for people; those of libraries stay as they are."""
    ours = "recsys_lightning" in filename or category is UserWarning
    text = f"recsys: {message}" if ours else warnings.formatwarning(message, category, filename, lineno).rstrip()
    print(text, file=sys.stderr)
