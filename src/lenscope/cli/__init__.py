"""The command line: parse, call the API, print; the only place that prints or exits.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 and 143 interrupted with what was done saved.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from lenscope.cli.output import print_line, print_note, program
from lenscope.errors import LenscopeError, UsageError, unknown_name
from lenscope.text import screen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

Verbs = dict[str, tuple[str, str, str]]  # module, class and purpose of each verb

GROUPS: dict[str, Verbs] = {
    "train": {
        "train": ("train", "Train", "train a network and save everything about it in a run directory"),
    },
    "look at runs": {
        "runs": ("look", "Runs", "list runs with their state, accuracy and accuracy curve"),
        "open": ("report", "Open", "open the report of a run in the browser"),
        "report": ("report", "Report", "write a page: the whole run in one HTML file, with the network running in it"),
        "insight": ("report", "ShowInsight", "print numbers: how each kernel changed, and what it resembles"),
        "compare": ("look", "Compare", "print what differs between runs"),
        "plot": ("report", "Plot", "write PNG files: curves, kernels, confusion matrix, mistakes"),
        "film": ("report", "Film", "write an animated GIF or WebP: the kernels during training"),
        "summary": ("look", "ShowSummary", "print a network's sizes, parameters and multiply-adds"),
    },
    "use runs": {
        "predict": ("use", "Predict", "classify pictures with a run's network"),
        "evaluate": ("use", "Evaluate", "measure a run's network on labelled images"),
        "verify": ("verify", "Verify", "compare every file of a run with its manifest; --replay trains it again"),
    },
    "experiments": {
        "lab": ("lab", "Lab", "answer a question with many runs; lenscope lab --help lists the experiments"),
    },
    "data and machine": {
        "data": ("data", "Data", "list, download, verify and locate data sets"),
        "doctor": ("doctor", "Doctor", "print versions, processor, engines and data sets on this machine"),
        "bench": ("bench", "Bench", "time our engines and plain PyTorch on this machine"),
    },
}
LAB: Verbs = {
    "reproduce": ("lab", "Reproduce", "train the lecture's recipe with many seeds and compare with its table"),
    "race": ("lab", "Race", "compare the optimisers, each at its best learning rate"),
    "initlab": ("lab", "Initlab", "compare initial weights: random schemes and trained autoencoders"),
    "longrun": ("lab", "Longrun", "train for hundreds of epochs: do kernels become gradient operators?"),
    "sweep": ("lab", "Sweep", "train a grid or a list of settings with many seeds, or search for the best"),
    "show": ("lab", "Lab", "draw the pictures and the page of an experiment again from its tables"),
}
VERBS: Verbs = {verb: entry for group in GROUPS.values() for verb, entry in group.items() if verb != "lab"} | {
    f"lab {verb}": entry for verb, entry in LAB.items()
}
HIDDEN = {verb: f"lab {verb}" for verb in LAB if verb != "show"}  # old names, which still work
HELP = ("--help", "-h")
FAILURE_SECONDS = 5.0  # that the first rank has to report what failed before torchrun ends the others
INTERRUPT_SECONDS = 0.5  # that the first rank has to end when all ranks were interrupted
COLLECT_EVERY = 100_000  # new objects: imports make this many, and keep all of them


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; without `argv`, it is that of this process, and one Ctrl-C ends it."""
    if argv is not None:
        with screen():
            return _run(list(argv))
    gc.set_threshold(COLLECT_EVERY)
    screen()  # for the rest of the process, tracebacks too
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell makes background jobs ignore it
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = _run(sys.argv[1:])
    finally:
        _stop_listening()
        gc.freeze()  # on exit Python would otherwise scan all objects once more
    if _rank("".join(sys.argv[1:2])) is not None:
        _end_at_once(code)
    return code


def _end_at_once(code: int) -> NoReturn:
    """End a finished rank, also the first, without PyTorch's clean-up, which sometimes aborts it (2.13, gloo)."""
    if sys.stdout:
        sys.stdout.flush()
    os._exit(code)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def _stop_listening() -> None:
    """Let Ctrl-C end the process silently from here on: during Python's clean-up it would print a traceback."""
    with suppress(KeyboardInterrupt):
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(arguments: list[str]) -> int:
    verb, rest = _split(arguments)
    try:
        code = _dispatch(verb, rest)
        if sys.stdout:
            sys.stdout.flush()  # a BrokenPipeError is caught here, not on exit
    except LenscopeError as error:
        rank = _later_rank(verb)
        if rank:
            _wait_for_first_rank(FAILURE_SECONDS)
        who = f"rank {rank}: " if rank else ""
        print_note(f"lenscope{'' if verb.startswith('-') else f' {verb}'}: {who}{_as_typed(str(error))}")
        return error.exit_code
    except MemoryError:
        print_note(f"lenscope {verb}: out of memory; free some memory, or raise the limit of the process")
        return 1
    except KeyboardInterrupt as error:
        _stop_listening()
        if _later_rank(verb):
            _wait_for_first_rank(INTERRUPT_SECONDS)
        else:
            print_note(f"lenscope {verb}: {_as_typed(str(error)) or 'interrupted'}")
        return 128 + int(getattr(error, "signal", None) or signal.SIGINT)
    except BrokenPipeError:  # the reader of our output has ended, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _as_typed(message: str) -> str:
    """A message whose commands, such as `resume with: lenscope train …`, begin as this shell would find them."""
    return re.sub(r"(?<=: |.')lenscope (?=[a-z])", lambda _: f"{program()} ", message)


def _later_rank(verb: str) -> int:
    """The rank of this process if it is not the first of several, which prints for all; otherwise 0."""
    return _rank(verb) or 0


def _rank(verb: str) -> int | None:
    """The rank of this process if several train together, else None."""
    if verb != "train":
        return None
    from lenscope.training.ranks import find_rank_info

    with suppress(LenscopeError):
        place = find_rank_info()
        return place.rank if place else None
    return None


def _wait_for_first_rank(seconds: float) -> None:
    """Give the first rank time to print, and torchrun time to end this process."""
    _stop_listening()
    time.sleep(seconds)


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    """The verb, of two words in the lab, and its arguments.

    >>> _split(["race", "--epochs", "1"])
    ('lab race', ['--epochs', '1'])
    >>> _split(["help", "train"])
    ('train', ['--help'])
    """
    verb, *rest = arguments or ["--help"]
    if verb == "help":
        return _split([*rest, "--help"])
    if verb in HIDDEN:
        return HIDDEN[verb], rest
    if verb != "lab" or not rest or rest[0] in HELP:
        return verb, rest
    if rest[0] in LAB:
        return f"lab {rest[0]}", rest[1:]
    is_place = rest[0].startswith("-") or os.sep in rest[0] or os.path.exists(rest[0])  # noqa: PTH110
    return ("lab show" if is_place else "lab"), rest


def _dispatch(verb: str, arguments: list[str]) -> int:
    if verb in HELP:
        print_line(*_overview().split("\n"))
        return 0
    if verb == "--version":
        from lenscope.environment import package_version

        print_line(f"lenscope {package_version('lenscope')}")
        return 0
    if verb == "lab":
        if not arguments or arguments[0] in HELP:
            print_line(*_overview_of_lab().split("\n"))
            return 0
        raise unknown_name("experiment", arguments[0], LAB)
    if verb not in VERBS:
        raise _unknown(verb)
    module, name, _ = VERBS[verb]
    command = getattr(import_module(f"lenscope.cli.{module}"), name)
    try:
        parsed = command.parse(f"lenscope {verb}", arguments)
        import_module("lenscope.native").report_cut_files()
        parsed.execute()
    except SystemExit as end:  # raised by tyro after --help
        return int(end.code or 0)
    return 0


def _unknown(verb: str) -> LenscopeError:
    """The error for an unknown verb, which may be the name of a run."""
    from lenscope.runs.run import find_run

    with suppress(LenscopeError):
        path = find_run(verb).path
        return UsageError(f"got the run {path}, expected a command; did you mean 'lenscope open {path}'?")
    return unknown_name("command", verb, {verb for group in GROUPS.values() for verb in group}, HIDDEN)


def _overview() -> str:
    groups = "\n\n".join(f"{title}:\n{_listed(verbs)}" for title, verbs in GROUPS.items())
    return (
        "usage: lenscope VERB [options]\n\n"
        "Train a LeNet in seconds on an ordinary CPU and look inside it.\n\n"
        f"{groups}\n\n"
        "Start with:  lenscope train, then lenscope open\n"
        "Options of a verb:  lenscope VERB --help\n"
        "A RUN is its directory, its name in runs/, or last."
    )


def _overview_of_lab() -> str:
    return (
        "usage: lenscope lab EXPERIMENT [options]\n\n"
        "Answer a question with many runs: with intervals, tables and a page.\n\n"
        f"experiments:\n{_listed(LAB)}\n\n"
        "Options of an experiment:  lenscope lab EXPERIMENT --help"
    )


def _listed(verbs: Verbs) -> str:
    return "\n".join(f"  {verb:<10}{purpose}" for verb, (_, _, purpose) in verbs.items())
