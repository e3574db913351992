"""The command line: parse, call the API, print; the only place that prints or exits.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 and 143 interrupted with what was done saved.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from lenscope.cli.output import print_line, print_note
from lenscope.errors import LenscopeError, unknown_name
from lenscope.text import screen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

VERBS = {
    "train": ("train", "Train", "train a network and keep everything about it in a run directory"),
    "report": (
        "report",
        "Report",
        "write the one-file report of a run: all of it, with the network running in the page",
    ),
    "insight": (
        "report",
        "ShowInsight",
        "print the numbers under the pictures: how each kernel moved and what it resembles",
    ),
    "film": ("report", "Film", "write the film of the kernels as an animated GIF or WebP"),
    "plot": ("train", "Plot", "draw a run's pictures again"),
    "evaluate": ("use", "Evaluate", "measure a run's network on a labelled set"),
    "predict": ("use", "Predict", "ask a run's network what pictures show"),
    "runs": ("look", "Runs", "list runs with state, accuracy and course"),
    "verify": ("verify", "Verify", "compare every file of a run with its manifest, and train it again on demand"),
    "reproduce": ("lab", "Reproduce", "train the lecture's recipe with many seeds beside its table"),
    "race": ("lab", "Race", "race the optimisers, each at its best learning rate"),
    "initlab": ("lab", "Initlab", "start networks from random weights and from autoencoders, and compare"),
    "longrun": ("lab", "Longrun", "train for hundreds of epochs: do kernels become gradient operators?"),
    "sweep": ("lab", "Sweep", "train a grid or a list of settings with many seeds, or search for the best"),
    "lab": ("lab", "Lab", "draw the pictures and the page of an experiment again from its tables"),
    "compare": ("look", "Compare", "print what differs between runs"),
    "summary": ("look", "ShowSummary", "print a network's sizes, parameters and multiply-adds"),
    "data": ("data", "Data", "list, fetch, verify and locate data sets"),
    "bench": ("bench", "Bench", "time our engines and other ways to train the same network, side by side"),
    "doctor": ("look", "Doctor", "print versions, processor, engines and the data found"),
}
FIRST_TELLS = 5.0  # seconds in which the first of several ranks tells what is wrong, and torchrun ends the others
COLLECT_EACH = 100_000  # new objects: imports make as many, and all of them stay
FIRST_ENDS = 0.5  # seconds in which it ends, where all were asked to


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; without `argv` it is the process's own, which one Ctrl-C ends."""
    if argv is not None:
        with screen():
            return _run(list(argv))
    gc.set_threshold(COLLECT_EACH)
    screen()  # and a traceback, too
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell asks for that has us in the background
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = _run(sys.argv[1:])
    finally:
        _stop_listening()
        gc.freeze()  # at its end Python would look through all objects once more
    if _later_rank("".join(sys.argv[1:2])):
        _end_at_once(code)
    return code


def _end_at_once(code: int) -> NoReturn:
    """End a rank that has no more to do without PyTorch's clean-up, in which it aborts now and then (2.13, gloo)."""
    if sys.stdout:
        sys.stdout.flush()
    os._exit(code)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def _stop_listening() -> None:
    """From here on Ctrl-C ends the process without a word: in Python's own clean-up it would print a traceback."""
    with suppress(KeyboardInterrupt):
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(arguments: list[str]) -> int:
    verb = arguments[0] if arguments else "--help"
    try:
        code = _dispatch(verb, arguments[1:])
        if sys.stdout:
            sys.stdout.flush()  # here, where a reader that has gone can still be told from a failure
    except LenscopeError as error:
        rank = _later_rank(verb)
        if rank:
            _wait_for_the_first(FIRST_TELLS)
        who = f"rank {rank}: " if rank else ""
        print_note(f"lenscope{'' if verb.startswith('-') else f' {verb}'}: {who}{error}")
        return error.exit_code
    except MemoryError:
        print_note(f"lenscope {verb}: out of memory; free some, or allow the process more")
        return 1
    except KeyboardInterrupt as error:
        _stop_listening()
        if _later_rank(verb):
            _wait_for_the_first(FIRST_ENDS)
        else:
            print_note(f"lenscope {verb}: {str(error) or 'interrupted'}")
        return 128 + int(getattr(error, "signal", None) or signal.SIGINT)
    except BrokenPipeError:  # whoever read our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _later_rank(verb: str) -> int:
    """The rank of a process that trains with others and is not the first of them, which speaks for all; else 0."""
    if verb != "train":
        return 0
    from lenscope.training.ranks import find_place

    with suppress(LenscopeError):
        place = find_place()
        return place.rank if place else 0
    return 0


def _wait_for_the_first(seconds: float) -> None:
    """Let the first rank tell what there is to tell, and torchrun end this one."""
    _stop_listening()
    time.sleep(seconds)


def _dispatch(verb: str, arguments: list[str]) -> int:
    if verb in {"--help", "-h", "help"}:
        print_line(*_overview().split("\n"))
        return 0
    if verb == "--version":
        from lenscope.environment import package_version

        print_line(f"lenscope {package_version('lenscope')}")
        return 0
    if verb not in VERBS:
        raise unknown_name("command", verb, VERBS)
    module, name, _ = VERBS[verb]
    command = getattr(import_module(f"lenscope.cli.{module}"), name)
    try:
        parsed = command.parse(f"lenscope {verb}", arguments)
        import_module("lenscope.native").report_cut_files()
        parsed.execute()
    except SystemExit as end:  # tyro's way to end after --help
        return int(end.code or 0)
    return 0


def _overview() -> str:
    lines = "\n".join(f"  {verb:<9} {purpose}" for verb, (_, _, purpose) in VERBS.items())
    return (
        "usage: lenscope VERB [options]\n\n"
        "Train a LeNet in seconds on an ordinary CPU and look inside it.\n\n"
        f"verbs:\n{lines}\n\n"
        "Begin with:  lenscope train\n"
        "Options of a verb:  lenscope VERB --help"
    )
