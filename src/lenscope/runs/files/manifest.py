"""The manifest: the committed content of a run directory.

It is replaced as a whole at each commit. It lists each static file with its size and SHA-256, and each appended file
with its committed length; bytes beyond that length do not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lenscope.errors import RunError
from lenscope.runs.files.decoding import broken, decoding, require_format

if TYPE_CHECKING:
    from pathlib import Path

FILE = "manifest.json"
FORMAT = 1
APPENDED = ("metrics.csv", "losses.f32", "film.bin")
TEXT_LIMIT, LIMIT = 4 * 2**20, 2**30  # bytes of a static file: of JSON or TOML, and of any other format
NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)  # a path that stays within the run


@dataclass(frozen=True)
class Fingerprint:
    """Size in bytes and SHA-256 of a static file, or of the committed part of an appended file."""

    size: int
    sha256: str


@dataclass
class Manifest:
    """The files of a run by their path within it."""

    static: dict[str, Fingerprint] = field(default_factory=dict)
    appended: dict[str, Fingerprint] = field(default_factory=dict)
    replacing: dict[str, Fingerprint] = field(default_factory=dict)  # new content of static files; old or new is valid

    def to_json(self) -> bytes:
        """The manifest as its file holds it."""
        tables = {
            kind: {name: asdict(entry) for name, entry in sorted(entries.items())}
            for kind, entries in (("static", self.static), ("appended", self.appended), ("replacing", self.replacing))
            if entries or kind != "replacing"
        }
        return (json.dumps({"format": FORMAT, **tables}, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes, source: str) -> Manifest:
        """The manifest in a file's bytes; raises RunError naming `source`."""
        with decoding(source, "a manifest"):
            tables = json.loads(text, object_pairs_hook=_without_repeats)
            require_format(tables["format"], FORMAT, source)
            return cls(*map(fingerprints_from, (tables["static"], tables["appended"], tables.get("replacing", {}))))


def fingerprint(content: bytes) -> Fingerprint:
    """The fingerprint of a file with this content."""
    return Fingerprint(len(content), hashlib.sha256(content).hexdigest())


def read_static(root: Path, name: str, manifest: Manifest) -> bytes:
    """A static file's bytes, compared with the manifest; raises RunError naming a missing or broken file."""
    entries = [entry for entry in (manifest.static.get(name), manifest.replacing.get(name)) if entry]
    size = max((entry.size for entry in entries), default=0)
    limit = TEXT_LIMIT if name.endswith((".json", ".toml")) else LIMIT
    if size > limit:
        raise broken(root / name, f"{size:,} bytes, expected at most {limit:,}")
    content = read_bytes(root / name, size + 1) if entries else None
    if content is None:
        raise RunError(f"{root}: lacks {name}; the run did not get so far, or the file was deleted")
    if fingerprint(content) not in entries:
        raise broken(root / name, "differs from the manifest")
    return content


def read_appended(root: Path, name: str, manifest: Manifest) -> bytes:
    """The committed part of an appended file, compared with the manifest; raises RunError like `read_static`."""
    entry = manifest.appended.get(name, fingerprint(b""))
    content = read_bytes(root / name, entry.size)
    if content is None and entry.size:
        raise RunError(f"{root}: lacks {name}; the file was deleted")
    if fingerprint(content or b"") != entry:
        raise broken(root / name, "differs from the manifest")
    return content or b""


def require_sizes(root: Path, manifest: Manifest) -> None:
    """Raise RunError naming a file that is missing or shorter than committed; cheaper than reading all of them."""
    for name, entry in {**manifest.static, **manifest.appended}.items():
        least = min(entry.size, manifest.replacing.get(name, entry).size)
        try:
            size = (root / name).stat().st_size
        except OSError:
            size = 0
        if size < least:
            raise broken(root / name, f"{size:,} bytes, expected {least:,}")


def read_bytes(path: Path, limit: int) -> bytes | None:
    """The first `limit` bytes of a file; None where there is no regular, readable file."""
    try:
        if not path.is_file():  # opening a named pipe would block
            return None
        with path.open("rb") as file:
            actual = os.fstat(file.fileno()).st_size  # memory for the actual size, not for the claimed one
            return file.read(min(limit, actual))
    except OSError:
        return None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises ValueError for a repeated name, which one flipped bit can cause."""
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a duplicate name")
    return table


def fingerprints_from(table: Any) -> dict[str, Fingerprint]:
    """Fingerprints from JSON; raises whatever wrong content causes, ValueError for an impossible name or size."""
    entries = {str(name): Fingerprint(int(entry["size"]), str(entry["sha256"])) for name, entry in table.items()}
    if any(entry.size < 0 or not NAME.fullmatch(name) for name, entry in entries.items()):
        raise ValueError("invalid name or size")
    return entries
