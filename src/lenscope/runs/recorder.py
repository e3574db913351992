"""Writes a run directory from the events of training."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.numpy import save

from lenscope.errors import StorageError, UsageError
from lenscope.runs import manifest
from lenscope.runs.film import describe_layout, encode_record
from lenscope.runs.metrics import HEADER, encode_row
from lenscope.runs.storage import append_file, make_directory, write_file
from lenscope.training.events import EpochDone, RunFinished, RunStarted, Snapshot, StepsDone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lenscope.training.events import Event

RUNS = Path("runs")


class Recorder:
    """Keeps what happens in a run directory that is readable up to its last finished epoch at every moment.

    Args:
        path: an empty directory, from `claim_directory`.
        environment: what `environment.json` shall say.

    Raises:
        StorageError: a file could not be written (from `record`, too).
    """

    def __init__(self, path: Path, environment: Mapping[str, object]) -> None:
        self.path = path
        self._manifest = manifest.Manifest()
        self._digests: dict[str, hashlib._Hash] = {}
        self._pending: dict[str, bytes] = {}
        self._started = _now()
        self._ended = False
        self._write_static("environment.json", _json(environment))

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
            case RunFinished(weights=weights, why=why):
                self._end("finished", why, save(weights))
            case _:
                self._end("failed" if event.error else "interrupted", event.why, save(event.weights))

    def give_up(self, error: BaseException) -> None:
        """Say in the status what ended the run, unless its end is told already; the rest stays as committed."""
        if not self._ended:
            with suppress(StorageError):  # what is being raised matters more
                self._write_status("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", str(error))

    def _start(self, event: RunStarted) -> None:
        make_directory(self.path / "weights", exist_ok=True)
        self._write_status("running", None)
        self._write_static("config.toml", event.config.to_toml().encode())
        self._write_static("weights/initial.safetensors", save(event.weights))
        self._append("metrics.csv", HEADER.encode())
        self._commit()

    def _end(self, state: str, why: str | None, weights: bytes) -> None:
        self._write_static("weights/final.safetensors", weights)
        self._commit()
        self._write_status(state, why)
        self._ended = True

    def _write_static(self, name: str, content: bytes) -> None:
        write_file(self.path / name, content)
        self._manifest.static[name] = manifest.entry_of(content)

    def _append(self, name: str, content: bytes) -> None:
        self._pending[name] = self._pending.get(name, b"") + content

    def _commit(self) -> None:
        """Append what is pending, then replace the manifest, which makes it count."""
        for name, content in self._pending.items():
            append_file(self.path / name, content)
            digest = self._digests.setdefault(name, hashlib.sha256())
            digest.update(content)
            size = len(content) + (self._manifest.appended[name].size if name in self._manifest.appended else 0)
            self._manifest.appended[name] = manifest.Entry(size, digest.hexdigest())
        self._pending = {}
        write_file(self.path / manifest.FILE, self._manifest.to_json())

    def _write_status(self, state: str, why: str | None) -> None:
        status = {
            "state": state,
            "why": why,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "started": self._started,
            "ended": None if state == "running" else _now(),
        }
        write_file(self.path / "status.json", _json(status))


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
