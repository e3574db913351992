"""The exception tree.

    LenscopeError               any expected failure; exit code 1
    ├── UsageError              a wrong option, name or argument; exit code 2
    │   └── ConfigError         a setting outside its range
    ├── DataError               a data file, folder or picture that cannot be used
    │   └── IntegrityError      bytes that differ from the published ones
    ├── SizeMismatchError       an input size that a layer does not accept
    ├── NonFiniteError          a NaN or an infinity in training
    ├── RunError                a run directory with a missing or broken file
    ├── StorageError            a file that could not be written
    └── RankLostError           a process of a distributed run has ended

Interrupted is a KeyboardInterrupt, so that it also stops a loop that catches LenscopeError.

Every message is one printable line: what was got, what was expected, what to do.
"""

from __future__ import annotations

from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from lenscope.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


class LenscopeError(Exception):
    """The root of the tree; `exit_code` is the exit code of the command line."""

    exit_code = 1

    def __str__(self) -> str:
        """The message on one printable line."""
        return printable(super().__str__())


class UsageError(LenscopeError):
    """A wrong option, name or argument."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting outside its range."""


class DataError(LenscopeError):
    """A data file, folder or picture that cannot be used."""


class IntegrityError(DataError):
    """Bytes that differ from the published ones."""


class SizeMismatchError(LenscopeError):
    """An input size that a layer does not accept."""


class NonFiniteError(LenscopeError):
    """A NaN or an infinity in training.

    Attributes:
        epoch: the epoch, counted from 1.
        step: the step within the whole run, counted from 1.
        layer: the first layer with such a number, such as `conv1` or `fc3.weight.grad`.
    """

    def __init__(self, epoch: int, step: int, layer: str) -> None:
        """Make the message."""
        super().__init__(
            f"epoch {epoch}, step {step}: {layer} is not finite; the last finite weights are kept; try a lower --lr"
        )
        self.epoch, self.step, self.layer = epoch, step, layer


class RunError(LenscopeError):
    """A run directory with a missing or broken file."""


class StorageError(LenscopeError):
    """A file that could not be written."""


class RankLostError(LenscopeError):
    """A process of a distributed run has ended, or has not connected."""


class Interrupted(KeyboardInterrupt):
    """A run or an experiment was stopped by a signal; its directory holds all completed work.

    Attributes:
        path: the directory.
        signal: SIGINT or SIGTERM.
    """

    def __init__(self, path: Path, number: int | None, then: str) -> None:
        """Make the message; `then` is the next command."""
        super().__init__(printable(f"interrupted; {then}"))
        self.path, self.signal = path, number


def unknown_name(kind: str, got: str, known: Iterable[str], former: Mapping[str, str] | None = None) -> UsageError:
    """The error for an unknown name, suggesting the closest match; `former` are old names, each with its new one.

    >>> print(unknown_name("network", "lenett", ["lenet", "mlp"]))
    unknown network 'lenett'; did you mean 'lenet'? known: lenet, mlp
    """
    names = sorted(known)
    return UsageError(f"unknown {kind} {got[:60]!r}; {suggestion(got, names, former or {})}known: {', '.join(names)}")


def suggestion(got: str, known: Iterable[str], former: Mapping[str, str]) -> str:
    """`did you mean 'NAME'? ` with the known name that is closest to `got`, or an empty text if none is close."""
    near = get_close_matches(got.lower(), [*known, *former], n=1, cutoff=0.5)
    return f"did you mean '{former.get(near[0], near[0])}'? " if near else ""


@contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Prefix the UsageError that is raised where PyTorch is missing with what needs it."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None
