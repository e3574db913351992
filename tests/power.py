"""A disk that records every operation, and its possible contents after a loss of power at any moment.

A file's content is durable once the file was synced, a name once its directory was. Any subset of the later operations
may be on the disk, in any order, and a write may be there in part or as zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disks import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Write = tuple[int, bytes]  # at which offset, what
    Cut = tuple[int, None]  # to which size
    Names = dict[str, int | None]  # a name's file, DIRECTORY, or None when it is removed

DIRECTORY = -1


@dataclass
class Platter:
    """What is durable, and what is pending."""

    names: Names = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    renamed: list[tuple[str, Names]] = field(default_factory=list)  # in which directory, what
    written: dict[int, list[Write | Cut]] = field(default_factory=dict)
    syncs: dict[str, int] = field(default_factory=dict)  # number of syncs per directory

    def sync(self, file: int) -> None:
        self.contents[file] = applied(self.contents.get(file, b""), self.written.pop(file, []))

    def sync_directory(self, directory: str) -> None:
        self.syncs[directory] = self.syncs.get(directory, 0) + 1
        for place, change in self.renamed:
            if place == directory:
                self.names.update(change)
        self.renamed = [(place, change) for place, change in self.renamed if place != directory]

    def outcomes(self) -> Iterator[dict[str, bytes | None]]:
        """All possible contents after a loss of power: paths with bytes, None for a directory.

        In the first everything pending was kept, in the last everything pending was lost.
        """
        choices = [_contents(self.contents.get(file, b""), changes) for file, changes in self.written.items()]
        for kept in product((True, False), repeat=len(self.renamed)):
            names = dict(self.names)
            for (_, change), is_kept in zip(self.renamed, kept, strict=True):
                names.update(change if is_kept else {})
            for chosen in product(*choices):
                contents = {**self.contents, **dict(zip(self.written, chosen, strict=True))}
                yield {
                    name: None if file == DIRECTORY else contents.get(file, b"")
                    for name, file in names.items()
                    if file is not None and _is_reachable(name, names)
                }


def applied(content: bytes, changes: list[Write | Cut]) -> bytes:
    """A content after writes and cuts."""
    for place, what in changes:
        kept = content[:place].ljust(place, b"\0")
        content = kept if what is None else kept + what + content[place + len(what) :]
    return content


def _contents(durable: bytes, changes: list[Write | Cut]) -> list[bytes]:
    """A file's possible contents: all changes, all but one, the last one torn or zeroed, or none."""
    found = [applied(durable, changes)]
    found += [applied(durable, [*changes[:skipped], *changes[skipped + 1 :]]) for skipped in range(len(changes))]
    place, what = changes[-1]
    if what is not None:
        half = len(what) // 2
        torn = (what[:1], what[:half], what[:-1], bytes(len(what)), what[:half] + bytes(len(what) - half))
        found += [applied(durable, [*changes[:-1], (place, part)]) for part in torn]
    return [*dict.fromkeys(found), durable]


def _is_reachable(name: str, names: Names) -> bool:
    return all(names.get(str(above)) == DIRECTORY for above in list(Path(name).parents)[:-1])


class Remembering(Watched):
    """Executes every operation and records it as a change of a `Platter`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, int] = {}
        self._descriptors: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self.steps: list[Callable[[Platter], None]] = []
        self.start = Platter()
        for path in sorted(root.rglob("*")):
            name = self._name(path)
            self.start.names[name] = DIRECTORY if path.is_dir() else self._new(name)
            if path.is_file():
                content = path.read_bytes()
                self.start.contents[self._files[name]] = content
                self._sizes[self._files[name]] = len(content)

    def act(self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        done = real(*arguments)
        getattr(self, f"_{name}")(done, *arguments)
        return done

    def platters(self) -> Iterator[Platter]:
        """The disk before the first operation and after each; one object, changed in place."""
        platter = self.start
        yield platter
        for step in self.steps:
            step(platter)
            yield platter

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _new(self, name: str) -> int:
        self._files[name] = len(self._sizes)
        self._sizes[self._files[name]] = 0
        return self._files[name]

    def _change_names(self, path: Path, change: Names) -> None:
        directory = self._name(path.parent)
        self.steps.append(lambda platter: platter.renamed.append((directory, change)))

    def _change_content(self, file: int, change: Write | Cut) -> None:
        self.steps.append(lambda platter: platter.written.setdefault(file, []).append(change))

    def _open(self, descriptor: int, path: Path, _flags: int) -> None:
        name = self._name(path)
        if name not in self._files:
            self._change_names(path, {name: self._new(name)})
        self._descriptors[descriptor] = self._files[name]

    def _write(self, count: int, descriptor: int, content: bytes) -> None:
        file = self._descriptors[descriptor]
        self._change_content(file, (self._sizes[file], content[:count]))  # every write of ours is at a file's end
        self._sizes[file] += count

    def _truncate(self, _: None, descriptor: int, size: int) -> None:
        file = self._descriptors[descriptor]
        self._change_content(file, (size, None))
        self._sizes[file] = size

    def _sync(self, _: None, descriptor: int) -> None:
        file = self._descriptors[descriptor]
        self.steps.append(lambda platter: platter.sync(file))

    def _close(self, _: None, descriptor: int) -> None:
        del self._descriptors[descriptor]

    def _rename(self, _: None, path: Path, target: Path) -> None:
        file = self._files.pop(self._name(path))
        self._files[self._name(target)] = file
        self._change_names(path, {self._name(path): None, self._name(target): file})

    def _remove(self, _: None, path: Path) -> None:
        self._files.pop(self._name(path))
        self._change_names(path, {self._name(path): None})

    def _make_directory(self, _: None, path: Path) -> None:
        self._change_names(path, {self._name(path): DIRECTORY})

    def _remove_directory(self, _: None, path: Path) -> None:
        self._change_names(path, {self._name(path): None})

    def _sync_directory(self, _: None, path: Path) -> None:
        directory = self._name(path)
        self.steps.append(lambda platter: platter.sync_directory(directory))


def put(outcome: dict[str, bytes | None], root: Path) -> None:
    """Write an outcome into a directory."""
    for name in sorted(outcome):
        content, path = outcome[name], root / name
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
