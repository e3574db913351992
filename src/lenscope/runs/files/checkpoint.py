"""Checkpoints: all that training resumes from, in one safetensors file each.

A file holds the weights, the optimiser's moments and, as metadata, the position of the run and the lengths of the
appended files at that time. It holds no random state, since randomness is a function of seed, purpose, epoch and
index. A checkpoint is a static file of the manifest: it counts once the manifest names it. The newest two are kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter
from safetensors.numpy import save

from lenscope.errors import RunError, StorageError
from lenscope.runs.files.decoding import decoding, require_format
from lenscope.runs.files.manifest import APPENDED, Fingerprint, fingerprints_from, read_static
from lenscope.runs.files.tensors import decode_tensors
from lenscope.training.events import Position, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lenscope.runs.files.manifest import Manifest
    from lenscope.training.events import Checkpoint

FOLDER = "checkpoint"
FORMAT = 1
KEPT = 2
MOMENTS = ("first", "second")
POSITION = TypeAdapter(Position)


@dataclass(frozen=True, eq=False)
class LoadedCheckpoint:
    """The content of a checkpoint's file.

    Attributes:
        step: number of steps before it.
        position: epoch, and steps done in it.
        state: weights and moments, from which the engine resumes.
        appended: the committed part of each appended file at that time.
    """

    step: int
    position: Position
    state: State
    appended: dict[str, Fingerprint]


def file_name(step: int) -> str:
    """The path of a checkpoint within its run."""
    return f"{FOLDER}/{step:012d}.safetensors"


def names(manifest: Manifest) -> list[str]:
    """The paths of the checkpoints that a manifest names, newest first."""
    return sorted((name for name in manifest.static if name.startswith(FOLDER + "/")), reverse=True)


def encode(event: Checkpoint, appended: Mapping[str, Fingerprint]) -> bytes:
    """A checkpoint's file; raises StorageError for a number that is not finite, which is never stored."""
    state = event.state
    moments = {name: values for name in MOMENTS if (values := getattr(state, name)).size}
    arrays = {f"weights.{name}": values for name, values in state.weights.items()} | moments
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise StorageError(f"step {event.step}: a weight or moment is not finite; the previous checkpoint is kept")
    metadata = {
        "format": FORMAT,
        "step": event.step,
        "position": asdict(event.position),
        "updates": state.steps,
        "appended": {name: asdict(entry) for name, entry in appended.items()},
    }
    return save(arrays, metadata={"lenscope": json.dumps(metadata, sort_keys=True)})


def decode(content: bytes, source: str) -> LoadedCheckpoint:
    """The content of a checkpoint's file; raises RunError naming `source`."""
    with decoding(source, "a checkpoint"):
        arrays, header = decode_tensors(content)
        metadata = json.loads(header["lenscope"])
        require_format(metadata["format"], FORMAT, source)
        weights = {name.removeprefix("weights."): array for name, array in arrays.items() if name not in MOMENTS}
        first, second = (arrays.get(name, np.empty(0, np.float32)) for name in MOMENTS)
        state = State(weights, int(metadata["updates"]), first, second)
        position, appended = _position(metadata["position"]), _appended(metadata["appended"])
        return LoadedCheckpoint(int(metadata["step"]), position, state, appended)


def _position(metadata: Any) -> Position:
    position = POSITION.validate_python(metadata)
    if position.epoch < 1 or position.done < 0:
        raise ValueError("impossible position")
    return position


def _appended(table: Any) -> dict[str, Fingerprint]:
    appended = fingerprints_from(table)
    if not appended.keys() <= {*APPENDED}:
        raise ValueError("not an appended file")
    return appended


def load(root: Path, name: str, manifest: Manifest) -> LoadedCheckpoint:
    """A checkpoint that a manifest names; raises RunError where it is broken."""
    return decode(read_static(root, name, manifest), str(root / name))


def newest_sound(root: Path, manifest: Manifest) -> tuple[LoadedCheckpoint | None, list[str]]:
    """The newest intact checkpoint, and the problems of the broken ones that are newer."""
    problems: list[str] = []
    for name in names(manifest):
        try:
            return load(root, name, manifest), problems
        except RunError as error:
            problems.append(str(error))
    return None, problems
