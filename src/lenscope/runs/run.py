"""Reads a run directory, also while the run is being written."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from lenscope.config import TrainConfig
from lenscope.data.digits.form import Form  # noqa: TC001 - read by pydantic
from lenscope.errors import ConfigError, LenscopeError, RunError, needed_by, suggestion
from lenscope.nets.layers import Network
from lenscope.runs.files import manifest
from lenscope.runs.files.decoding import broken, decoding
from lenscope.runs.files.film import Film, decode_film, read_layout
from lenscope.runs.files.metrics import Metrics, decode_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lenscope.nets.layers import Weights
    from lenscope.pytorch.nets.module import TableModule
    from lenscope.runs.unsure import UnsureRule


Kind = TypeVar("Kind")
RUNS = Path("runs")  # where runs are created, and found by their name
LAST = "last"


@dataclass(frozen=True)
class Status:
    """The state of a run.

    Attributes:
        state: running, finished, interrupted, failed, or abandoned (its process ended without a word).
        why: the reason, unless all epochs were trained.
        started: time, ISO 8601 in UTC.
        ended: time, or None.
    """

    state: Literal["running", "finished", "interrupted", "failed", "abandoned"]
    why: str | None
    started: str
    ended: str | None


@dataclass(frozen=True)
class _Owner:
    """The process that writes a run."""

    process: Annotated[int, Field(gt=0, lt=2**31)]
    host: str


@dataclass(frozen=True)
class DataMetadata:
    """A run's data: names, counts, and one SHA-256 of images and labels as loaded per split.

    `form` is the form of the training images; None in a run of a release that did not measure it. `validation_sha256`
    is None where the validation split was held out of the training images.
    """

    name: str
    source: str
    licence: str
    train_sha256: str
    test_sha256: str | None
    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=100_000)]
    channels: Annotated[int, Field(ge=1, le=1024)]
    image_size: tuple[int, int]
    train_images: Annotated[int, Field(ge=1)]
    validation_images: Annotated[int, Field(ge=0)]
    test_images: Annotated[int, Field(ge=0)]
    form: Form | None = None
    validation_sha256: str | None = None

    @property
    def hashes(self) -> dict[str, str | None]:
        """The SHA-256 of each split as `Splits.hashes` has it."""
        return {"train": self.train_sha256, "validation": self.validation_sha256, "test": self.test_sha256}


@dataclass(frozen=True)
class Resumed:
    """One time that a run was resumed.

    Attributes:
        step: number of steps before.
        at: time, ISO 8601 in UTC.
        differs: what has computed differently since then, one phrase each; empty if nothing that decides bytes changed.
    """

    step: int
    at: str
    differs: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """A run directory; each file is read on first use.

    Attributes:
        path: the directory.
    """

    path: Path

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name or self.path.absolute().name

    @cached_property
    def config(self) -> TrainConfig:
        """The settings; raises RunError."""
        text = self._static("config.toml").decode(errors="replace")
        try:
            return TrainConfig.from_toml(text, str(self.path / "config.toml"))
        except ConfigError as error:
            raise RunError(str(error)) from None

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, processor, engine, device and data, as in `environment.json`."""
        return _json_object(self._static("environment.json"), self.path / "environment.json")

    @cached_property
    def data(self) -> DataMetadata:
        """The data it was trained on; raises RunError."""
        return _checked(DataMetadata, self.environment.get("data"), self.path / "environment.json")

    @property
    def resumed(self) -> tuple[Resumed, ...]:
        """The times that it was resumed; raises RunError."""
        return resumed_of(self.environment, self.path)

    @property
    def status(self) -> Status:
        """Its current state; read again at each access."""
        path = self.path / "status.json"
        content = _json_object(_read_small(path), path)
        status = _checked(Status, content, path)
        abandoned = status.state == "running" and not _alive(_checked(_Owner, content, path))
        return replace(status, state="abandoned") if abandoned else status

    @property
    def metrics(self) -> Metrics:
        """One row per epoch so far; read again at each access."""
        return decode_metrics(self._appended("metrics.csv"), str(self.path / "metrics.csv"))

    @property
    def losses(self) -> NDArray[np.float32]:
        """The loss of every step so far, in nats per image; float32, shape (steps,)."""
        return decode_losses(self._appended("losses.f32"))

    @property
    def film(self) -> Film:
        """The convolution kernels at each snapshot so far."""
        layout = read_layout(self._static("film.json"), str(self.path / "film.json"))
        return decode_film(self._appended("film.bin"), layout, str(self.path / "film.bin"))

    def weights(self, which: Literal["initial", "final"] = "final") -> Weights:
        """The weights before or after training, float32, named as in the network's state_dict; raises RunError."""
        from lenscope.runs.files.tensors import decode_tensors

        name = f"weights/{which}.safetensors"
        content = self._static(name)
        with decoding(self.path / name, "safetensors of float32"):
            return decode_tensors(content)[0]

    @property
    def architecture(self) -> Network:
        """The network as a table of layers; raises RunError."""
        return Network(self.config.network, self.data.channels, len(self.data.classes))

    def checked_weights(self, which: Literal["initial", "final"] = "final") -> Weights:
        """The weights before or after training, in the network's order.

        Raises:
            RunError: weights that are missing, broken, not finite, or of another network.
        """
        weights = self.weights(which)
        try:
            return self.architecture.check(weights)
        except RunError as error:
            raise broken(self.path / f"weights/{which}.safetensors", str(error)) from None

    def network(self, which: Literal["initial", "final"] = "final") -> TableModule:
        """The network as a PyTorch module with its weights before or after training, in evaluation mode.

        Raises:
            RunError: as for `checked_weights`.
            UsageError: PyTorch is not installed.
        """
        with needed_by("a run's network as a module"):
            from lenscope.pytorch.nets.build import build_module

        return build_module(self.architecture, self.checked_weights(which)).eval()

    @property
    def unsure_rule(self) -> UnsureRule | None:
        """When an answer counts as unsure; None in a run that has not finished, or that has no rule."""
        from lenscope.runs import unsure

        if unsure.FILE not in self.committed.static:
            return None
        path = self.path / unsure.FILE
        return _checked(unsure.UnsureRule, _json_object(self._static(unsure.FILE), path), path)

    @property
    def committed(self) -> manifest.Manifest:
        """The manifest; read again at each access."""
        path = self.path / manifest.FILE
        return manifest.Manifest.from_json(_read_small(path), str(path))

    def _static(self, name: str) -> bytes:
        return manifest.read_static(self.path, name, self.committed)

    def _appended(self, name: str) -> bytes:
        return manifest.read_appended(self.path, name, self.committed)


def resumed_of(environment: Mapping[str, Any], path: Path) -> tuple[Resumed, ...]:
    """The times at which a run was resumed, according to its environment; raises RunError."""
    return _checked(tuple[Resumed, ...], environment.get("resumed", []), path / "environment.json")


def uncommitted_environment(path: Path) -> dict[str, Any]:
    """A run's environment as written before its first commit; empty if it was not written."""
    content = manifest.read_bytes(path / "environment.json", manifest.TEXT_LIMIT)
    return {} if content is None else _json_object(content, path / "environment.json")


def decode_losses(content: bytes) -> NDArray[np.float32]:
    """The losses in a file's bytes; an incomplete last one is ignored."""
    return np.frombuffer(content[: len(content) // 4 * 4], "<f4").astype(np.float32)


def open_run(run: str | Path) -> Run:
    """Open a run by its directory, by its name in `runs/`, or by the name `last`.

    Raises:
        RunError: no such run, a run without its first commit, or broken settings.
    """
    found = find_run(run)
    _ = found.config
    return found


def find_run(run: str | Path) -> Run:
    """As `open_run`, but reads no file of the run; raises RunError where there is none."""
    path = locate_run(run)
    if not (path / manifest.FILE).exists():
        raise RunError(f"{path}: lacks {manifest.FILE}; not a run directory, or its run had not started")
    return Run(path)


def locate_run(run: str | Path) -> Path:
    """The directory of a run: the path itself if it is a directory, else the run of that name in `runs/`.

    The name `last` is the run in `runs/` that was started or resumed last.

    Raises:
        RunError: no such directory, and no run of that name.
    """
    path = Path(run)
    is_name = path.name == str(path)
    for place in (path, RUNS / path) if is_name else (path,):
        if os.path.isdir(place):  # noqa: PTH112 - Path.is_dir raises where a name is too long
            return place
    if os.path.exists(path):  # noqa: PTH110 - as above
        raise RunError(f"{path}: is a file, expected a run directory; list the runs with: lenscope runs")
    if not is_name:
        raise RunError(f"{path}: no such run directory; list the runs with: lenscope runs")
    started = _started_in(RUNS)
    if str(path) != LAST:
        names = [LAST, *(place.name for place in started)]
        raise RunError(f"{path}: no run of that name; {suggestion(path.name, names, {})}'lenscope runs' lists them")
    if not started:
        raise RunError(f"{LAST}: no run yet; create one with: lenscope train")
    return max(started, key=lambda place: (started[place], place))


def _started_in(root: Path) -> dict[Path, str]:
    """The runs in a directory, each with the time at which it was started or resumed."""
    found = {}
    for path in root.iterdir() if root.is_dir() else ():
        with suppress(RunError):
            found[path] = Run(path).status.started
    return found


def opened(run: Run | str | Path) -> Run:
    """The run itself, or the run that `open_run` finds; raises as `open_run`."""
    return run if isinstance(run, Run) else open_run(run)


def is_run(path: Path) -> bool:
    """Whether a directory has a run, also a broken one; False where this cannot be seen."""
    return any(os.path.isfile(path / name) for name in (manifest.FILE, "environment.json"))  # noqa: PTH113 - as above


def list_runs(root: Path) -> list[Run | LenscopeError]:
    """The runs in a directory by name, or the run that it is; for a broken run, its error."""
    found: list[Run | LenscopeError] = []
    for path in [root, *sorted(root.iterdir())] if root.is_dir() else []:
        if not is_run(path):
            continue
        try:
            run = open_run(path)
            _ = run.status, run.metrics, run.data
            manifest.require_sizes(path, run.committed)
            found.append(run)
        except LenscopeError as error:
            found.append(error)
    return found


def _read_small(path: Path) -> bytes:
    content = manifest.read_bytes(path, manifest.TEXT_LIMIT)
    if content is None:
        raise RunError(f"{path.parent}: lacks {path.name}; not a run directory, or the file was deleted")
    return content


def _json_object(content: bytes, path: Path) -> dict[str, Any]:
    with decoding(path, "a JSON object"):
        value = json.loads(content)
        if not isinstance(value, dict):
            raise TypeError
        return value


def _checked(kind: type[Kind], content: object, path: Path) -> Kind:
    """Content from a file as a dataclass; raises RunError naming the file and the first field of a wrong type."""
    try:
        checked: Kind = _adapter(kind).validate_python(content)  # type: ignore[arg-type]  # a type is hashable
    except ValidationError as error:
        field = error.errors()[0]["loc"][:1]
        raise broken(path, f"{field[0] if field else 'the data'} is missing or wrong") from None
    return checked


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _alive(owner: _Owner) -> bool:
    """Whether the process that writes a run exists, as far as this machine can tell."""
    if owner.host != socket.gethostname() or os.name != "posix":
        return True
    try:
        os.kill(owner.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
