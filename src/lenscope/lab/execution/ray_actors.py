"""Workers that are actors of a Ray cluster.

Ray core alone: its actors are long-lived processes, and its object store has the data once per node. Which runs are
done is known from the run directories, as everywhere, and not from Ray: an actor or a node that dies loses nothing.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscope.environment import install_command
from lenscope.errors import LenscopeError, RunError, UsageError
from lenscope.lab.execution.trials import train_trial
from lenscope.lab.execution.worker import LOOK_SECONDS, State
from lenscope.runs.files import manifest
from lenscope.storage import make_directory, remove_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lenscope.data.dataset import Splits
    from lenscope.lab.execution.trials import Trial

GPU_SHARE = 0.25  # of a GPU for each actor, where there is one: a LeNet leaves most of it idle
LOCAL, LOOPBACK = "local", "127.0.0.1"
PRIVATE = {  # the environment in which a private cluster is started
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # no other machine may join: every socket listens on loopback alone
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to Ray's makers
}
MARKER = ".seen-from-here"


class RayActors:
    """Actors, one per processor of the cluster.

    Where an actor sees the directory of runs, as on this machine or a shared file system, it writes its runs there, and
    a run whose actor died is resumed from its checkpoint. Where it does not, it trains in a temporary directory and
    sends the files when the run is done; a run whose actor died is started again.

    Args:
        splits: the data.
        processes: processors of a private cluster.
        address: of a running cluster, `auto` for one that was started on this machine; `local` starts a private one, on
            loopback alone, without a dashboard, which ends when this is closed.
        trials: the runs; GPUs are used if their settings allow it.
        runs: the directory of runs.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
        RunError: the cluster has no processor.
    """

    def __init__(self, splits: Splits, processes: int, address: str, trials: Sequence[Trial], runs: Path) -> None:
        for split in (splits.train, splits.validation, splits.test):
            if split is not None:
                split.sha256  # noqa: B018 - computed here once, and not by every actor
        with ExitStack() as stack:
            self._ray = stack.enter_context(_connected(address, processes))
            self._runs, self._marker = runs.resolve(), stack.enter_context(_marked(runs))
            options = _options(self._ray, trials)
            self.most = _places(self._ray, options)
            if self.most < 1:
                raise RunError("the Ray cluster has no processor to train on; start a node with at least one")
            self._make, self._data = self._ray.remote(**options)(Trainer).remote, self._ray.put(splits)
            self._started: list[_Actor] = []
            self._open = stack.pop_all()

    def start(self) -> _Actor:
        """A new actor."""
        self._started.append(_Actor(self._ray, self._make(self._data), self._runs, self._marker))
        return self._started[-1]

    def ready(self, workers: Sequence[Any]) -> list[_Actor]:
        """At most one of these actors: one that has a message."""
        by_reference = {worker.reference: worker for worker in workers}
        ready, _ = self._ray.wait([*by_reference], num_returns=1, timeout=LOOK_SECONDS)
        return [by_reference[reference] for reference in ready]

    def close(self) -> None:
        """End all actors, even while they train, and a private cluster."""
        for actor in self._started:
            self._ray.kill(actor.handle)
        self._open.close()


class _Actor:
    def __init__(self, ray: Any, handle: Any, runs: Path, marker: str) -> None:
        self.handle, self.reference = handle, handle.sees.remote(runs, marker)
        self._ray = ray
        self._sees: bool | None = None  # the directory of runs; None until it has started
        self._path = runs

    def give(self, trial: Trial, runs: Path) -> None:
        self._path = runs.resolve() / trial.name
        self.reference = self.handle.train.remote(trial, self._path if self._sees else None)

    def read(self) -> State | str:
        try:
            got = self._ray.get(self.reference)
        except self._ray.exceptions.RayActorError:
            return State.DIED
        except self._ray.exceptions.RayError as error:
            return f"Ray: {str(error).strip().splitlines()[-1]}"
        if self._sees is None:
            self._sees = got
            return State.FREE
        problem, files = got
        if problem:
            return str(problem)
        if files is not None:
            store(files, self._path)
        return State.FREE


class Trainer:
    """The code of an actor.

    Args:
        splits: the data, in the object store of its node, read in place.
    """

    def __init__(self, splits: Splits) -> None:
        self._splits = splits

    def sees(self, runs: Path, marker: str) -> bool:
        """Whether the driver's directory is here too, known by the marker that the driver has put into it."""
        with suppress(OSError):
            return (runs / MARKER).read_text() == marker
        return False

    def train(self, trial: Trial, path: Path | None) -> tuple[str | None, dict[str, bytes] | None]:
        """Train a run; returns an error message, if any, and the run's files where there is no path to write to."""
        try:
            if path:
                train_trial(trial, path, self._splits)
                return None, None
            with tempfile.TemporaryDirectory(prefix="lenscope-") as folder:
                path = Path(folder) / trial.name
                train_trial(trial, path, self._splits)
                files = (file for file in path.rglob("*") if file.is_file())
                return None, {file.relative_to(path).as_posix(): file.read_bytes() for file in files}
        except LenscopeError as error:
            return str(error), None


def store(files: dict[str, bytes], path: Path) -> None:
    """Write the files of a run; it counts as a run once its manifest is there, which comes last."""
    make_directory(path, exist_ok=True)
    remove_file(path / manifest.FILE)
    for name in sorted(files, key=lambda name: name == manifest.FILE):
        file = path / name
        if not file.resolve().is_relative_to(path.resolve()):
            raise RunError(f"{path}: got a file named {name!r}, which is not a file of a run")
        make_directory(file.parent, exist_ok=True)
        write_file(file, files[name])


def _places(ray: Any, options: dict[str, float]) -> int:
    """How many actors the cluster has room for."""
    there = ray.cluster_resources()
    own = {"CPU": options["num_cpus"], "GPU": options.get("num_gpus", 0)}
    return int(min(there.get(name, 0) // amount for name, amount in own.items() if amount))


def _options(ray: Any, trials: Sequence[Trial]) -> dict[str, float]:
    """A processor per actor, and a share of a GPU where the cluster has one and a run may use it."""
    may_use_gpu = any(trial.config.device != "cpu" and trial.config.engine != "fused" for trial in trials)
    if may_use_gpu and ray.cluster_resources().get("GPU", 0) >= 1:
        return {"num_cpus": 1, "num_gpus": GPU_SHARE}
    return {"num_cpus": 1}


@contextmanager
def _marked(runs: Path) -> Iterator[str]:
    """Put a file into the directory by which actors recognise it, and remove it afterwards."""
    marker = secrets.token_hex(16)
    write_file(runs / MARKER, marker.encode())
    try:
        yield marker
    finally:
        remove_file(runs / MARKER)


@contextmanager
def _connected(address: str, processes: int) -> Iterator[Any]:
    """Ray, connected to a cluster; a private one is ended afterwards."""
    private = address == LOCAL
    with _environment(PRIVATE if private else {}):
        try:
            import ray
        except ImportError:
            raise UsageError(f"--backend ray: needs Ray; run: {install_command('ray')}") from None
        settings = {"num_cpus": processes, "include_dashboard": False} if private else {}
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False, **settings)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            hint = "start a cluster with 'ray start --head', or omit --ray-address"
            raise UsageError(f"--ray-address {address}: {reason}; {hint}") from None
        try:
            if private:
                _require_loopback(ray)
            yield ray
        finally:
            ray.shutdown()


def _require_loopback(ray: Any) -> None:
    """Raise RunError where Ray listens on another address, as it does if it was imported before its settings."""
    address = ray.nodes()[0]["NodeManagerAddress"]
    if address != LOOPBACK:
        raise RunError(f"Ray listens on {address}, expected {LOOPBACK}; do not import ray before the experiment")


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, for a while."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
