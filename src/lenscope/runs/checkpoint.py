"""Checkpoints: all that a run goes on from, one safetensors file each.

A file holds the weights, the optimiser's memory and, as its metadata, how far the run was and how long the appended
files were then. No generator's state is in it, since randomness is a function. It is a static file of the manifest,
so it counts from the moment when the manifest names it. The newest two are kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter
from safetensors.numpy import save

from lenscope.errors import RunError, StorageError
from lenscope.runs.manifest import APPENDED, Entry, entries_of, read_static
from lenscope.runs.tensors import decode_tensors
from lenscope.training.events import Position, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lenscope.runs.manifest import Manifest
    from lenscope.training.events import Checkpoint

FOLDER = "checkpoint"
FORMAT = 1
KEPT = 2
MOMENTS = ("first", "second")
POSITION = TypeAdapter(Position)


@dataclass(frozen=True, eq=False)
class Kept:
    """What a checkpoint's file holds.

    Attributes:
        step: after which it was made.
        position: how far the run was.
        state: what the engine goes on from.
        appended: the committed part of each appended file at that time.
    """

    step: int
    position: Position
    state: State
    appended: dict[str, Entry]


def file_name(step: int) -> str:
    """The path of a checkpoint within its run."""
    return f"{FOLDER}/{step:012d}.safetensors"


def names(manifest: Manifest) -> list[str]:
    """The paths of the checkpoints that a manifest names, the newest first."""
    return sorted((name for name in manifest.static if name.startswith(FOLDER + "/")), reverse=True)


def encode(event: Checkpoint, appended: Mapping[str, Entry]) -> bytes:
    """A checkpoint's file; raises StorageError where a number is not finite, which is never to be kept."""
    state = event.state
    moments = {name: values for name in MOMENTS if (values := getattr(state, name)).size}
    arrays = {f"weights.{name}": values for name, values in state.weights.items()} | moments
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise StorageError(f"step {event.step}: a weight or moment is not finite; the checkpoint before is kept")
    facts = {
        "format": FORMAT,
        "step": event.step,
        "position": asdict(event.position),
        "updates": state.updates,
        "appended": {name: asdict(entry) for name, entry in appended.items()},
    }
    return save(arrays, metadata={"lenscope": json.dumps(facts, sort_keys=True)})


def decode(content: bytes, source: str) -> Kept:
    """What a checkpoint's file holds; raises RunError naming `source`."""
    try:
        arrays, metadata = decode_tensors(content)
        facts = json.loads(metadata["lenscope"])
        if facts["format"] != FORMAT:
            got = json.dumps(facts["format"])[:20]
            raise RunError(f"{source}: format {got}, expected {FORMAT}; use a newer Lenscope")
        weights = {name.removeprefix("weights."): array for name, array in arrays.items() if name not in MOMENTS}
        first, second = (arrays.get(name, np.empty(0, np.float32)) for name in MOMENTS)
        state = State(weights, int(facts["updates"]), first, second)
        return Kept(int(facts["step"]), _position(facts["position"]), state, _appended(facts["appended"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise RunError(f"{source}: not a checkpoint; the file is broken") from None


def _position(facts: Any) -> Position:
    position = POSITION.validate_python(facts)
    if position.epoch < 1 or position.done < 0:
        raise ValueError("no run was ever there")
    return position


def _appended(table: Any) -> dict[str, Entry]:
    appended = entries_of(table)
    if not appended.keys() <= {*APPENDED}:
        raise ValueError("no run appends to such files")
    return appended


def newest_sound(root: Path, manifest: Manifest) -> tuple[Kept | None, list[str]]:
    """The newest checkpoint that can be trusted, and what is wrong with those that are newer."""
    problems: list[str] = []
    for name in names(manifest):
        try:
            return decode(read_static(root, name, manifest), str(root / name)), problems
        except RunError as error:
            problems.append(str(error))
    return None, problems
