"""Writes a run directory from the events of training."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.numpy import save

from lenscope.errors import LenscopeError, RunError, StorageError, UsageError
from lenscope.runs import checkpoint, manifest, unsure
from lenscope.runs.film import describe_layout, encode_record
from lenscope.runs.metrics import HEADER, encode_row
from lenscope.runs.storage import append_file, cut_file, make_directory, remove_file, write_file
from lenscope.training.events import Checkpoint, EpochDone, RunFinished, RunStarted, Snapshot, StepsDone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lenscope.nets.layers import Weights
    from lenscope.runs.checkpoint import Kept
    from lenscope.runs.lock import Lock
    from lenscope.training.events import Event

RUNS = Path("runs")
FINAL = "weights/final.safetensors"
LEFTOVER = re.compile(rf"([\w-]+/)?\.[\w.-]+\.\d+\.part|{checkpoint.FOLDER}/\d{{12}}\.safetensors", re.ASCII)


class Recorder:
    """Keeps what happens in a run directory that is readable up to its last finished epoch at every moment.

    Args:
        path: the run's directory.
        environment: what `environment.json` shall say.
        lock: of the directory, held as long as the recorder is used.
        before: the manifest of a run that goes on.
        kept: the checkpoint that it goes on from; None from the very start.
        calibrate: when answers of the trained weights count as unsure; asked at the end of a finished run.

    Nothing is written before the first event. `record` raises StorageError where a file could not be written, and
    RunError where the directory, or a file that is appended to, is no longer what it wrote.
    """

    def __init__(  # noqa: PLR0913 - each is given once, where a run is recorded
        self,
        path: Path,
        environment: Mapping[str, object],
        lock: Lock,
        before: manifest.Manifest | None = None,
        kept: Kept | None = None,
        *,
        calibrate: Callable[[Weights], unsure.UnsureRule | None] = lambda _: None,
    ) -> None:
        self.path = path
        self._environment = environment
        self._lock = lock
        self._before, self._kept, self._calibrate = before, kept, calibrate
        self._manifest = before or manifest.Manifest()
        self._digests: dict[str, hashlib._Hash] = {}
        self._pending: dict[str, bytes] = {}
        self._started = _now()
        self._ended = False

    def record(self, event: Event) -> None:
        """Keep what an event tells; durable at the end of each epoch."""
        match event:
            case RunStarted():
                self._start(event)
            case StepsDone(losses=losses):
                self._append("losses.f32", losses.astype("<f4").tobytes())
            case Snapshot(step=step, kernels=kernels):
                if "film.json" not in self._manifest.static:
                    self._write_static("film.json", describe_layout(kernels))
                self._append("film.bin", encode_record(step, kernels))
            case EpochDone(metrics=metrics):
                self._append("metrics.csv", encode_row(metrics))
                self._commit()
            case Checkpoint():
                self._keep(event)
            case RunFinished(weights=weights, why=why):
                self._keep_rule(weights)
                self._end("finished", why, save(weights))
            case _:
                self._end("failed" if event.error else "interrupted", event.why, save(event.weights))

    def _keep_rule(self, weights: Weights) -> None:
        """Keep when an answer is unsure; a run that is trained to its end does not fail for want of that."""
        try:
            rule = self._calibrate(weights)
        except LenscopeError:  # no room for what it takes
            return
        if rule:
            self._write_static(unsure.FILE, rule.to_json())

    def give_up(self, error: BaseException) -> None:
        """Say in the status what ended a run that had begun and whose end is not told; the rest stays as committed."""
        if "config.toml" in self._manifest.static and not self._ended:
            with suppress(StorageError, RunError):  # what is being raised matters more
                self._write_status("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", str(error))

    def _start(self, event: RunStarted) -> None:
        """The settings first: from the moment when they are there, the run can go on."""
        if self._before:
            self._go_back_to(self._kept)
        self._replace("config.toml", event.config.to_toml().encode())
        self._replace("environment.json", _json(self._environment))
        self._write_status("running", None)
        for folder in ("weights", checkpoint.FOLDER):
            make_directory(self.path / folder, exist_ok=True)
        if self._kept:
            return
        self._replace("weights/initial.safetensors", save(event.weights))
        self._append("metrics.csv", HEADER.encode())
        self._commit()

    def _go_back_to(self, kept: Kept | None) -> None:
        """Make the directory what it was at a checkpoint, or before the first: the manifest first, then the files."""
        appended = kept.appended if kept else {}
        for name in appended:
            at_that_time = manifest.Manifest(appended=appended)
            self._digests[name] = hashlib.sha256(manifest.read_appended(self.path, name, at_that_time))
        newest = checkpoint.file_name(kept.step) if kept else ""
        later = [name for name in checkpoint.names(self._manifest) if name > newest]
        dropped = [name for name in (*later, FINAL, unsure.FILE) if self._manifest.static.pop(name, None)]
        self._manifest.appended = dict(appended)
        if self._manifest.static:  # an empty one would hide that the run had never got to its first commit
            self._write_manifest()
        for name in manifest.APPENDED:  # also one whose first bytes never counted
            cut_file(self.path / name, appended[name].size if name in appended else 0)
        for name in (*dropped, *self._leftovers()):
            remove_file(self.path / name)

    def _leftovers(self) -> list[str]:
        """What a process that was killed left half done: files beside others, and checkpoints that never counted."""
        names = [path.relative_to(self.path).as_posix() for path in (*self.path.glob(".*"), *self.path.glob("*/*"))]
        return [name for name in names if LEFTOVER.fullmatch(name) and name not in self._manifest.static]

    def _keep(self, event: Checkpoint) -> None:
        """Write a checkpoint, see that it is there, make it count, and only then delete the one before the last."""
        self._append_pending()
        name = checkpoint.file_name(event.step)
        self._replace(name, checkpoint.encode(event, self._manifest.appended))
        try:
            manifest.read_static(self.path, name, self._manifest)
        except RunError as error:
            raise StorageError(f"{error}; it was written just now: look after the disk") from None
        old = checkpoint.names(self._manifest)[checkpoint.KEPT :]
        for other in old:
            del self._manifest.static[other]
        self._write_manifest()
        for other in old:
            remove_file(self.path / other)

    def _end(self, state: str, why: str | None, weights: bytes) -> None:
        self._write_static(FINAL, weights)
        self._commit()
        self._write_status(state, why)
        self._ended = True

    def _write_static(self, name: str, content: bytes) -> None:
        self._write(name, content)
        self._manifest.static[name] = manifest.entry_of(content)

    def _replace(self, name: str, content: bytes) -> None:
        """Write a static file that the manifest may name already: at every moment it names what is there."""
        if name in self._manifest.static:
            self._manifest.replacing[name] = manifest.entry_of(content)
            self._write_manifest()
        self._write_static(name, content)
        if self._manifest.replacing.pop(name, None):
            self._write_manifest()

    def _append(self, name: str, content: bytes) -> None:
        self._pending[name] = self._pending.get(name, b"") + content

    def _commit(self) -> None:
        """Append what is pending, then replace the manifest, which makes it count."""
        self._append_pending()
        self._write_manifest()

    def _append_pending(self) -> None:
        self._lock.check()
        self._require_appended()
        for name, content in self._pending.items():
            append_file(self.path / name, content)
            digest = self._digests.setdefault(name, hashlib.sha256())
            digest.update(content)
            size = len(content) + (self._manifest.appended[name].size if name in self._manifest.appended else 0)
            self._manifest.appended[name] = manifest.Entry(size, digest.hexdigest())
        self._pending = {}

    def _require_appended(self) -> None:
        """Raise RunError where a file that is appended to does not hold as many bytes as were written to it."""
        for name, entry in self._manifest.appended.items():
            path = self.path / name
            try:
                size = path.stat().st_size
            except OSError:  # deleted, or its directory moved
                size = 0
            if size != entry.size:
                raise RunError(
                    f"{path}: holds {size:,} bytes, expected {entry.size:,}; it was changed or deleted while the run "
                    "was being written: restore it and resume the run, or train it again"
                )

    def _write_manifest(self) -> None:
        self._write(manifest.FILE, self._manifest.to_json())

    def _write_status(self, state: str, why: str | None) -> None:
        status = {
            "state": state,
            "why": why,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "started": self._started,
            "ended": None if state == "running" else _now(),
        }
        self._write("status.json", _json(status))

    def _write(self, name: str, content: bytes) -> None:
        """Put a whole file in place, unless the directory is another's by now, or elsewhere."""
        self._lock.check()
        write_file(self.path / name, content)


def claim_directory(out: Path | None, stem: str, root: Path = RUNS) -> Path:
    """Make a run's directory and return it: `out`, or the next free `root/stem-NNN`.

    Raises:
        UsageError: `out` exists already.
        StorageError: it could not be made.
    """
    if out is not None:
        try:
            make_directory(out)
        except FileExistsError:
            kind = "exists already" if out.is_dir() else "is a file"
            raise UsageError(f"--out {out}: {kind}; choose another name, or delete it first") from None
        return out
    make_directory(root, exist_ok=True)
    taken = [
        int(tail) for path in root.glob(f"{glob.escape(stem)}-*") if (tail := path.name[len(stem) + 1 :]).isdecimal()
    ]
    number = max(taken, default=0) + 1
    while True:
        path = root / f"{stem}-{number:03d}"
        try:
            make_directory(path)
        except FileExistsError:  # another run was quicker
            number += 1
        else:
            return path


def _json(content: object) -> bytes:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="replace")  # a path may hold bytes that are no UTF-8


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
