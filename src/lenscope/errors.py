"""The exception tree.

    LenscopeError               anything that Lenscope refuses or cannot do; exit code 1
    ├── UsageError              a wrong option, name or argument; exit code 2
    │   └── ConfigError         a setting outside its range
    ├── DataError               a data file, folder or picture that cannot be used
    │   └── IntegrityError      bytes that are not the published ones
    ├── SizeMismatchError       a layer that got another size than it expects
    ├── NonFiniteError          training met a NaN or an infinity
    ├── RunError                a run directory that lacks a part or holds a broken one
    ├── StorageError            a file that could not be written
    └── RankLostError           one of the processes that train a network together is gone

Interrupted stands apart: it is a KeyboardInterrupt, so that a loop over seeds stops, too.

Every message is one printable line: what was got, what was expected, what to do.
"""

from __future__ import annotations

from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from lenscope.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class LenscopeError(Exception):
    """The root of the tree; its `exit_code` is what the command line ends with."""

    exit_code = 1

    def __str__(self) -> str:
        """The message on one line, whatever the names in it hold."""
        return printable(super().__str__())


class UsageError(LenscopeError):
    """A wrong option, name or argument."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting outside its range."""


class DataError(LenscopeError):
    """A data file, folder or picture that cannot be used."""


class IntegrityError(DataError):
    """Bytes that are not the published ones."""


class SizeMismatchError(LenscopeError):
    """A layer that got another size than it expects."""


class NonFiniteError(LenscopeError):
    """Training met a NaN or an infinity.

    Attributes:
        epoch: the epoch, counted from 1.
        step: the step within the whole run, counted from 1.
        layer: the first layer where it showed, such as `conv1` or `fc3.weight.grad`.
    """

    def __init__(self, epoch: int, step: int, layer: str) -> None:
        """Say where it was met."""
        super().__init__(
            f"epoch {epoch}, step {step}: {layer} is not finite; the last good weights are kept; try a lower --lr"
        )
        self.epoch, self.step, self.layer = epoch, step, layer


class RunError(LenscopeError):
    """A run directory that lacks a part or holds a broken one."""


class StorageError(LenscopeError):
    """A file that could not be written."""


class RankLostError(LenscopeError):
    """One of the processes that train a network together is gone, or never came."""


class Interrupted(KeyboardInterrupt):
    """A run or an experiment was asked to stop, and all that was done is in its directory.

    Attributes:
        path: the directory.
        signal: SIGINT or SIGTERM.
    """

    def __init__(self, path: Path, number: int | None, then: str) -> None:
        """Say where it is, and what follows, such as how to go on."""
        super().__init__(printable(f"interrupted; {then}"))
        self.path, self.signal = path, number


def unknown_name(kind: str, got: str, known: Iterable[str]) -> UsageError:
    """The error for a name that nobody knows, with the nearest one that somebody does.

    >>> print(unknown_name("network", "lenett", ["lenet", "mlp"]))
    unknown network 'lenett'; did you mean 'lenet'? known: lenet, mlp
    """
    names = sorted(known)
    near = get_close_matches(got.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return UsageError(f"unknown {kind} {got[:60]!r}; {hint}known: {', '.join(names)}")


@contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Say what needs PyTorch where it is found to be missing: `what` begins the line of a UsageError."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None
