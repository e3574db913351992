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
from typing import TYPE_CHECKING

from safetensors.numpy import save

from lenscope.errors import LenscopeError, RunError, StorageError, UsageError
from lenscope.runs import unsure
from lenscope.runs.files import checkpoint, manifest
from lenscope.runs.files.film import describe_layout, encode_record
from lenscope.runs.files.metrics import HEADER, encode_row
from lenscope.runs.run import RUNS
from lenscope.storage import append_file, cut_file, make_directory, remove_file, write_file
from lenscope.training.events import Checkpoint, EpochDone, RunFinished, RunStarted, Snapshot, StepsDone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lenscope.nets.layers import Weights
    from lenscope.runs.files.checkpoint import LoadedCheckpoint
    from lenscope.runs.lock import Lock
    from lenscope.training.events import Event

FINAL = "weights/final.safetensors"
LEFTOVER = re.compile(rf"([\w-]+/)?\.[\w.-]+\.\d+\.part|{checkpoint.FOLDER}/\d{{12}}\.safetensors", re.ASCII)


class Recorder:
    """Records training in a run directory, which at every moment is readable up to its last finished epoch.

    Args:
        path: the run's directory.
        environment: the content of `environment.json`.
        lock: of the directory, held as long as the recorder is used.
        before: the manifest of a run that is resumed.
        loaded: the checkpoint that it resumes from; None to start from the beginning.
        calibrate: makes the rule by which answers count as unsure; called at the end of a finished run.

    Nothing is written before the first event. `record` raises StorageError if a file could not be written, and
    RunError if the directory or an appended file has been changed by others.
    """

    def __init__(  # noqa: PLR0913 - called where a run is recorded
        self,
        path: Path,
        environment: Mapping[str, object],
        lock: Lock,
        before: manifest.Manifest | None = None,
        loaded: LoadedCheckpoint | None = None,
        *,
        calibrate: Callable[[Weights], unsure.UnsureRule | None] = lambda _: None,
    ) -> None:
        self.path = path
        self._environment = environment
        self._lock = lock
        self._before, self._loaded, self._calibrate = before, loaded, calibrate
        self._manifest = before or manifest.Manifest()
        self._digests: dict[str, hashlib._Hash] = {}
        self._pending: dict[str, bytes] = {}
        self._started = _now()
        self._ended = False

    def record(self, event: Event) -> None:
        """Record an event; durable at the end of each epoch."""
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
                self._write_checkpoint(event)
            case RunFinished(weights=weights, why=why):
                self._write_rule(weights)
                self._end("finished", why, save(weights))
            case _:
                self._end("failed" if event.error else "interrupted", event.why, save(event.weights))

    def _write_rule(self, weights: Weights) -> None:
        """Record when an answer is unsure; if calibration fails, the finished run has no rule."""
        try:
            rule = self._calibrate(weights)
        except LenscopeError:  # such as too little disk space for mapped arrays
            return
        if rule:
            self._write_static(unsure.FILE, rule.to_json())

    def give_up(self, error: BaseException) -> None:
        """Record in the status which error ended the run; all else stays as committed."""
        if "config.toml" in self._manifest.static and not self._ended:
            with suppress(StorageError, RunError):  # the error that is being raised matters more
                self._write_status("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", str(error))

    def _start(self, event: RunStarted) -> None:
        """Write the settings first: once they exist, the run can be resumed."""
        if self._before:
            self._restore(self._loaded)
        self._replace("config.toml", event.config.to_toml().encode())
        self._replace("environment.json", _json(self._environment))
        self._write_status("running", None)
        for folder in ("weights", checkpoint.FOLDER):
            make_directory(self.path / folder, exist_ok=True)
        if self._loaded:
            return
        self._replace("weights/initial.safetensors", save(event.weights))
        self._append("metrics.csv", HEADER.encode())
        self._commit()

    def _restore(self, loaded: LoadedCheckpoint | None) -> None:
        """Restore the directory's content at a checkpoint, or before the first step: manifest first, then files."""
        appended = loaded.appended if loaded else {}
        for name in appended:
            at_that_time = manifest.Manifest(appended=appended)
            self._digests[name] = hashlib.sha256(manifest.read_appended(self.path, name, at_that_time))
        newest = checkpoint.file_name(loaded.step) if loaded else ""
        later = [name for name in checkpoint.names(self._manifest) if name > newest]
        dropped = [name for name in (*later, FINAL, unsure.FILE) if self._manifest.static.pop(name, None)]
        self._manifest.appended = dict(appended)
        if self._manifest.static:  # an empty manifest would hide that the run has no first commit
            self._write_manifest()
        for name in manifest.APPENDED:  # also a file without committed bytes
            cut_file(self.path / name, appended[name].size if name in appended else 0)
        for name in (*dropped, *self._leftovers()):
            remove_file(self.path / name)

    def _leftovers(self) -> list[str]:
        """Files that a killed process has left: temporary files, and checkpoints that were not committed."""
        names = [path.relative_to(self.path).as_posix() for path in (*self.path.glob(".*"), *self.path.glob("*/*"))]
        return [name for name in names if LEFTOVER.fullmatch(name) and name not in self._manifest.static]

    def _write_checkpoint(self, event: Checkpoint) -> None:
        """Write a checkpoint, read it back, commit it, and only then delete the oldest."""
        self._append_pending()
        name = checkpoint.file_name(event.step)
        self._replace(name, checkpoint.encode(event, self._manifest.appended))
        try:
            manifest.read_static(self.path, name, self._manifest)
        except RunError as error:
            raise StorageError(f"{error}; it has just been written: check the disk") from None
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
        self._manifest.static[name] = manifest.fingerprint(content)

    def _replace(self, name: str, content: bytes) -> None:
        """Write a static file that the manifest may already name; until then old and new content are valid."""
        if name in self._manifest.static:
            self._manifest.replacing[name] = manifest.fingerprint(content)
            self._write_manifest()
        self._write_static(name, content)
        if self._manifest.replacing.pop(name, None):
            self._write_manifest()

    def _append(self, name: str, content: bytes) -> None:
        self._pending[name] = self._pending.get(name, b"") + content

    def _commit(self) -> None:
        """Append the pending content, then replace the manifest, which commits it."""
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
            self._manifest.appended[name] = manifest.Fingerprint(size, digest.hexdigest())
        self._pending = {}

    def _require_appended(self) -> None:
        """Raise RunError if the size of an appended file is not what was written to it."""
        for name, entry in self._manifest.appended.items():
            path = self.path / name
            try:
                size = path.stat().st_size
            except OSError:  # deleted, or its directory moved
                size = 0
            if size != entry.size:
                raise RunError(
                    f"{path}: {size:,} bytes, expected {entry.size:,}; it was changed or deleted while the run was "
                    "being written: restore it and resume the run, or train it again"
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
        """Replace a file, if this process still holds the directory."""
        self._lock.check()
        write_file(self.path / name, content)


def claim_directory(out: Path | None, stem: str, root: Path = RUNS) -> Path:
    """Create a run's directory and return it: `out`, or the next free `root/stem-NNN`.

    Raises:
        UsageError: `out` exists.
        StorageError: it could not be created.
    """
    if out is not None:
        try:
            make_directory(out)
        except FileExistsError:
            kind = "already exists" if out.is_dir() else "is a file"
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
        except FileExistsError:  # another process was faster
            number += 1
        else:
            return path


def _json(content: object) -> bytes:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="replace")  # a path may contain bytes that are not UTF-8


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
