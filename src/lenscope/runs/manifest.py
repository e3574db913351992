"""The manifest: what a run directory holds for certain.

Replaced as a whole at each commit. A static file is there with its size and SHA-256; an appended one counts up to its
committed length, whatever lies beyond.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lenscope.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "manifest.json"
FORMAT = 1
APPENDED = ("metrics.csv", "losses.f32", "film.bin")
TEXT_LIMIT, LIMIT = 4 * 2**20, 2**30  # bytes of a static file: JSON or TOML, and any other
NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)  # of a file within its run, and never out of it


@dataclass(frozen=True)
class Entry:
    """The size in bytes and the SHA-256 of a static file, or of an appended one's committed part."""

    size: int
    sha256: str


@dataclass
class Manifest:
    """The files of a run by their path within it."""

    static: dict[str, Entry] = field(default_factory=dict)
    appended: dict[str, Entry] = field(default_factory=dict)
    replacing: dict[str, Entry] = field(default_factory=dict)  # of static files that are being replaced: either counts

    def to_json(self) -> bytes:
        """The manifest as it stands in the file."""
        tables = {
            kind: {name: {"size": entry.size, "sha256": entry.sha256} for name, entry in sorted(entries.items())}
            for kind, entries in (("static", self.static), ("appended", self.appended), ("replacing", self.replacing))
            if entries or kind != "replacing"
        }
        return (json.dumps({"format": FORMAT, **tables}, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes, source: str) -> Manifest:
        """The manifest in a file's bytes; raises RunError naming `source`."""
        try:
            tables = json.loads(text, object_pairs_hook=_without_repeats)
            if tables["format"] != FORMAT:
                got = json.dumps(tables["format"])[:20]
                raise RunError(f"{source}: format {got}, expected {FORMAT}; use a newer Lenscope")
            kinds = (tables["static"], tables["appended"], tables.get("replacing", {}))
            return cls(*map(entries_of, kinds))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise RunError(f"{source}: not a manifest; the run cannot be trusted") from None


def entry_of(content: bytes) -> Entry:
    """The entry of a static file with this content."""
    return Entry(len(content), hashlib.sha256(content).hexdigest())


def read_static(root: Path, name: str, manifest: Manifest) -> bytes:
    """A static file's bytes, checked against the manifest; raises RunError that names what is missing or broken."""
    entries = [entry for entry in (manifest.static.get(name), manifest.replacing.get(name)) if entry]
    size = max((entry.size for entry in entries), default=0)
    limit = TEXT_LIMIT if name.endswith((".json", ".toml")) else LIMIT
    if size > limit:
        raise RunError(f"{root / name}: {size:,} bytes, expected at most {limit:,}; no run of ours has such a file")
    content = read_bytes(root / name, size + 1) if entries else None
    if content is None:
        raise RunError(f"{root}: lacks {name}; the run did not get so far, or a part was deleted")
    if entry_of(content) not in entries:
        raise RunError(f"{root / name}: differs from the manifest; the file was changed after the run")
    return content


def read_appended(root: Path, name: str, manifest: Manifest) -> bytes:
    """An appended file up to its committed length, checked; raises RunError as `read_static` does."""
    entry = manifest.appended.get(name, Entry(0, hashlib.sha256().hexdigest()))
    content = read_bytes(root / name, entry.size)
    if content is None and entry.size:
        raise RunError(f"{root}: lacks {name}; a part was deleted")
    if entry_of(content or b"") != entry:
        raise RunError(f"{root / name}: differs from the manifest; the file was changed after the run")
    return content or b""


def read_bytes(path: Path, limit: int) -> bytes | None:
    """A file's first `limit` bytes; None where there is no plain file that can be read."""
    try:
        if not path.is_file():  # a named pipe would keep us waiting
            return None
        with path.open("rb") as file:
            return file.read(
                min(limit, os.fstat(file.fileno()).st_size)
            )  # memory for what is there, not for what is claimed
    except OSError:
        return None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; raises ValueError where a name comes twice, as one bit can make it, and the first is lost."""
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name comes twice")
    return table


def entries_of(table: Any) -> dict[str, Entry]:
    """Entries from JSON; raises what wrong JSON leads to, a ValueError where a name or a size cannot be."""
    entries = {str(name): Entry(int(entry["size"]), str(entry["sha256"])) for name, entry in table.items()}
    if any(entry.size < 0 or not NAME.fullmatch(name) for name, entry in entries.items()):
        raise ValueError("no such file can be")
    return entries
