"""Disks whose operations fail, and disks whose process dies."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from lenscope import storage
from lenscope.storage import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

D = TypeVar("D", bound=Disk)

OPERATIONS = tuple(name for name in vars(Disk) if not name.startswith("_"))


class Watched(Disk):
    """A disk whose operations all go through `act`."""

    def act(self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        raise NotImplementedError


def _through_act(name: str) -> Callable[..., Any]:
    def operation(self: Watched, *arguments: Any) -> Any:
        return self.act(name, getattr(super(Watched, self), name), arguments)

    return operation


for _name in OPERATIONS:
    setattr(Watched, _name, _through_act(_name))


class Failing(Watched):
    """Fails its n-th operation (from 1) and, with `for_good`, all later ones; with `error` None a write is short."""

    def __init__(self, number: int, error: int | None, *, for_good: bool) -> None:
        self.number, self.error, self.for_good, self.count = number, error, for_good, 0

    def act(self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self.count += 1
        if self.count != self.number and not (self.for_good and self.count > self.number):
            return real(*arguments)
        if self.error is None:
            return real(*_half(arguments) if name == "write" else arguments)
        if name in {"close", "write"}:  # the system did it, or a part of it, before it failed
            real(*_half(arguments) if name == "write" else arguments)
        raise OSError(self.error, os.strerror(self.error))


class Killed(BaseException):
    """The process was killed; no handler of ours catches it."""


class Dying(Watched):
    """Its process is killed in the n-th operation (from 1), halfway through a write, and does nothing more."""

    def __init__(self, number: int) -> None:
        self.number, self.count = number, 0

    def act(self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self.count += 1
        if self.count < self.number:
            return real(*arguments)
        if name == "close" or (name == "write" and self.count == self.number):
            real(*_half(arguments) if name == "write" else arguments)
        raise Killed


def _half(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    descriptor, content = arguments
    return descriptor, content[: max(1, len(content) // 2)]


def count_operations(work: Callable[[], object]) -> int:
    """The number of disk operations of some work."""
    with in_place(Failing(0, None, for_good=False)) as disk:
        work()
    return disk.count


@contextmanager
def in_place(disk: D) -> Iterator[D]:
    """Put a disk in the place of the real one."""
    real, storage.disk = storage.disk, disk
    try:
        yield disk
    finally:
        storage.disk = real
