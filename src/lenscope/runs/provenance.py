"""What decides the bytes of a run besides its settings: recorded in `environment.json`, compared on resume."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.data.digits.form import measure_form
from lenscope.environment import describe_environment
from lenscope.errors import RunError
from lenscope.runs.run import DataMetadata

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lenscope.data.dataset import Splits
    from lenscope.runs.prepare import Prepared
    from lenscope.training.engine import Engine

COMPARED = ("engine", "device", "gpu", "isa")
COMPARED_WITH_TORCH = ("threads", "processor")  # by which its libraries choose algorithms
COMPARED_PACKAGES = ("lenscope", "numpy")


def environment_of(engine: Engine, prepared: Prepared) -> dict[str, Any]:
    """The content of `environment.json`: the machine, the engine and the data."""
    own: dict[str, Any] = {"engine": engine.name, "device": engine.device, "isa": engine.isa}
    own |= {"threads": engine.threads, "ranks": engine.ranks, "gpu": engine.gpu}
    own["numerics"] = {"cosines and powers": _hash_of_functions(), **engine.numerics()}
    return describe_environment() | own | {"data": asdict(data_metadata(prepared))}


def data_metadata(prepared: Prepared) -> DataMetadata:
    """The metadata of the data, for `environment.json`."""
    whole, splits, train = prepared.whole, prepared.sized, prepared.whole.train
    return DataMetadata(
        name=train.name,
        source=train.source,
        licence=train.licence,
        train_sha256=train.sha256,
        validation_sha256=whole.validation.sha256 if whole.validation else None,
        test_sha256=whole.test.sha256 if whole.test else None,
        classes=train.classes,
        channels=train.channels,
        image_size=(train.images.shape[2], train.images.shape[3]),
        train_images=len(splits.train),
        validation_images=len(splits.validation or ()),
        test_images=len(splits.test or ()),
        form=measure_form(train.images),
    )


def require_same_data(environment: Mapping[str, Any], splits: Splits, path: Path) -> None:
    """Raise RunError if the loaded data differ from the data that the run in `path` was trained on."""
    recorded = _table(environment, "data")
    for split, got in splits.hashes.items():
        # Earlier releases did not record the hash of a validation split of the data's own.
        expected = recorded.get(f"{split}_sha256", got if split == "validation" else None)
        if got != expected:
            raise RunError(
                f"{path}: the {split} data differ from those that it was trained on (SHA-256 {str(got)[:12]}, "
                f"expected {str(expected)[:12]}); pass the original data with --data"
            )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What computes differently now than in an earlier environment, one phrase each."""
    packages, with_torch = _table(before, "packages"), now["engine"] == "torch"
    pairs = [(name, before.get(name), now[name]) for name in (*COMPARED, *(COMPARED_WITH_TORCH if with_torch else ()))]
    compared = (*COMPARED_PACKAGES, *(("torch",) if with_torch else ()))
    pairs += [(name, packages.get(name), now["packages"].get(name)) for name in compared]
    pairs.append(("ranks", before.get("ranks", 1), now["ranks"]))
    numerics = _table(before, "numerics")  # an older version recorded less, and differs by its version
    pairs += [(name, numerics[name], value) for name, value in now["numerics"].items() if name in numerics]
    return [
        f"{name} {_be(name, 'are')} {new}, {_be(name, 'were')} {str(old)[:80]}"
        for name, old, new in pairs
        if old != new
    ]


def _be(name: str, plural: str) -> str:
    """The form of the verb for one thing or for several."""
    return plural if name.endswith("s") else {"are": "is", "were": "was"}[plural]


def _table(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = content.get(name)
    return table if isinstance(table, dict) else {}


def _hash_of_functions() -> str:
    """A hash of values of the C library's cosine and power, which learning rates and Adam's bias corrections use.

    glibc chooses an implementation by processor: with and without FMA, some values differ in the last bit.
    """
    steps = np.arange(4096)
    powers = [base**step for base in (0.9, 0.999) for step in range(1000)]
    return hashlib.sha256(np.cos(np.pi * steps / 4096).tobytes() + np.array(powers).tobytes()).hexdigest()[:12]
