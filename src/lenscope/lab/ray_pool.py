"""Many runs on a Ray cluster: an actor a processor, which gets a bundle of runs at a time.

Ray core alone: its actors are long-lived processes, its object store holds the data once a node. What is done is known
from the run directories, as everywhere, and not from Ray: an actor or a node that dies takes nothing with it.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections import Counter, deque
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from lenscope.errors import Interrupted, LenscopeError, RunError, UsageError
from lenscope.lab.pool import DEATHS, LOOK_SECONDS, Pool, require_few
from lenscope.lab.trials import carry_out
from lenscope.runs import manifest
from lenscope.runs.storage import make_directory, remove_file, write_file
from lenscope.training.interrupt import listen_for_stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lenscope.data.dataset import Splits
    from lenscope.lab.pool import Teller
    from lenscope.lab.trials import Trial
    from lenscope.training.interrupt import StopFlag

BUNDLE_SECONDS = 5.0  # of work that an actor gets at a time: to hand it out takes milliseconds
GPU_SHARE = 0.25  # of a GPU that a run takes where there is one: a LeNet leaves most of it idle
LOCAL, LOOPBACK = "local", "127.0.0.1"
OF_ITS_OWN = {  # how a cluster is started that is for this pool alone
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # no other machine may join it: all of it listens on loopback alone
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",  # nobody is told
}
MARKER = ".seen-from-here"


class RayPool(Pool):
    """What runs are trained with on a Ray cluster, to which it stays connected until it is closed.

    Where an actor sees the experiment's directory, as on this machine or a shared file system, it writes its runs there
    itself, and a run whose actor died goes on from its checkpoint. Where it does not, it trains in a directory of its
    own node and sends the files when the run is done; a run whose actor died begins again.

    Args:
        splits, processes, teller: as for `Pool`; so many processors has a cluster of its own.
        address: of a running cluster, `auto` for one that was started on this machine; `local` starts one for this
            pool, on loopback alone, without a dashboard, and ends it afterwards.
    """

    def __init__(self, splits: Splits, processes: int, teller: Teller, address: str = LOCAL) -> None:
        super().__init__(splits, processes, teller)
        self._address = address
        self._open = ExitStack()
        self._actors: _Crew | None = None

    def close(self) -> None:
        """End the actors, and the cluster where it is this pool's own."""
        super().close()
        self._open.close()
        self._actors = None

    def train_together(self, trials: Sequence[Trial], runs: Path) -> None:
        """Train them on the cluster; as `Pool.train` otherwise."""
        if not trials:
            return
        self._actors = self._actors or self._connect(trials, runs)
        with listen_for_stop() as flag:
            self._actors.work(trials, flag)

    def _connect(self, trials: Sequence[Trial], runs: Path) -> _Crew:
        ray = self._open.enter_context(_connected(self._address, self.processes))
        marker = self._open.enter_context(_marked(runs))
        options = _options(ray, trials)
        data = ray.put(with_hashes(self.splits))
        make = partial(ray.remote(**options)(Trainer).remote, data)
        crew = _Crew(ray, make, _places(ray, options), self.teller, runs.resolve(), marker)
        self._open.callback(crew.end)
        return crew


@dataclass
class _Actor:
    """An actor, what it has been given and has not done, and the reference that tells of its next step."""

    handle: Any
    next: Any
    shares: bool | None = None  # the directory with the driver; None until it has said so
    given: deque[Trial] = field(default_factory=deque)
    begun: float = 0.0


@dataclass
class _Crew:
    """The actors at work on what is waiting."""

    ray: Any
    make: Callable[[], Any]
    places: int  # for actors on the cluster
    teller: Teller
    runs: Path
    marker: str
    waiting: deque[Trial] = field(default_factory=deque)
    actors: list[_Actor] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    done: int = 0
    stillborn: int = 0  # actors, one after another, that died before they could say anything

    def work(self, trials: Sequence[Trial], flag: StopFlag) -> None:
        """Until nothing is left, or somebody asks to stop."""
        self.waiting.extend(trials)
        if self.places < 1:
            raise RunError("the Ray cluster has no processor to train on; start a node with at least one")
        for actor in [actor for actor in self.actors if actor.next is None]:
            self._give(actor)
        for _ in range(min(self.places - len(self.actors), len(self.waiting))):
            self._hire()
        while self.waiting or any(actor.given for actor in self.actors):
            self._hear()
            if flag():
                raise Interrupted(self.runs, flag.signal, "what is done is kept")

    def end(self) -> None:
        """Let all actors go, whatever they are at."""
        for actor in self.actors:
            self.ray.kill(actor.handle)
        self.actors.clear()

    def _hire(self) -> None:
        handle = self.make()
        self.actors.append(_Actor(handle, handle.sees.remote(str(self.runs), self.marker)))

    def _hear(self) -> None:
        """Wait a little for the next step of any actor, and take it."""
        busy = {id(actor.next): actor for actor in self.actors if actor.next is not None}
        ready, _ = self.ray.wait([actor.next for actor in busy.values()], num_returns=1, timeout=LOOK_SECONDS)
        for actor in [busy[id(reference)] for reference in ready]:
            try:
                self._take(actor)
            except self.ray.exceptions.RayActorError:
                self._bury(actor)
                if self.waiting:
                    self._hire()
            except self.ray.exceptions.RayError as error:
                raise RunError(f"{_named(actor)}: Ray: {str(error).strip().splitlines()[-1]}") from None

    def _take(self, actor: _Actor) -> None:
        """What an actor tells: whether it sees the directory, a run that is done, or that it is free again."""
        if actor.shares is None:
            actor.shares, self.stillborn = self.ray.get(actor.next), 0
            self._give(actor)
            return
        try:
            reference = next(actor.next)
        except StopIteration:
            self._give(actor)
            return
        problem, files = self.ray.get(reference)
        trial = actor.given[0]
        if problem:
            raise RunError(f"{trial.name}: {problem}")
        if files is not None:
            store(files, self.runs / trial.name)
        actor.given.popleft()
        self.done += 1
        self.seconds += monotonic() - actor.begun
        actor.begun = monotonic()
        self.teller.advance(trial.name, trial.config.epochs)

    def _give(self, actor: _Actor) -> None:
        """A bundle, small enough that the others are not left without work at the end."""
        actor.given = deque(self.waiting.popleft() for _ in range(min(self._bundle(), len(self.waiting))))
        actor.begun = monotonic()
        where = str(self.runs) if actor.shares else None
        actor.next = actor.handle.train.remote(list(actor.given), where) if actor.given else None

    def _bundle(self) -> int:
        fair = ceil(len(self.waiting) / (2 * len(self.actors)))
        lasting = ceil(BUNDLE_SECONDS * self.done / self.seconds) if self.seconds else 1
        return max(1, min(fair, lasting))

    def _bury(self, actor: _Actor) -> None:
        """Take back what a dead actor had, and count its death against the run that it was at."""
        self.actors.remove(actor)
        if actor.shares is None:
            self.stillborn += 1
            if self.stillborn >= DEATHS * (len(self.actors) + 1):
                raise RunError(
                    "the Ray cluster: actors die before they train; is this Lenscope installed on every node?"
                )
        if actor.given:
            self.deaths[actor.given[0].name] += 1
            require_few(self.deaths, actor.given[0])
        self.waiting.extendleft(reversed(actor.given))


def _named(actor: _Actor) -> str:
    return actor.given[0].name if actor.given else "an actor"


class Trainer:
    """What an actor does.

    Args:
        splits: the data, in the node's object store, read in place.
    """

    def __init__(self, splits: Splits) -> None:
        self._splits = splits

    def sees(self, runs: str, marker: str) -> bool:
        """Whether the driver's directory is there, known by what the driver has just put into it."""
        with suppress(OSError):
            return (Path(runs) / MARKER).read_text() == marker
        return False

    def train(self, trials: Sequence[Trial], runs: str | None) -> Iterator[tuple[str | None, dict[str, bytes] | None]]:
        """For each run what was wrong, in words, and its files where the driver has to write them."""
        for trial in trials:
            try:
                yield None, self._train(trial, runs)
            except LenscopeError as error:
                yield str(error), None
                return

    def _train(self, trial: Trial, runs: str | None) -> dict[str, bytes] | None:
        if runs is not None:
            carry_out(trial, Path(runs) / trial.name, self._splits)
            return None
        with tempfile.TemporaryDirectory(prefix="lenscope-") as folder:
            path = Path(folder) / trial.name
            carry_out(trial, path, self._splits)
            files = (file for file in path.rglob("*") if file.is_file())
            return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def store(files: dict[str, bytes], path: Path) -> None:
    """Write a run that came as bytes; it counts from the moment when the manifest is there, which comes last."""
    make_directory(path, exist_ok=True)
    remove_file(path / manifest.FILE)
    for name in sorted(files, key=lambda name: name == manifest.FILE):
        file = path / name
        if not file.resolve().is_relative_to(path.resolve()):
            raise RunError(f"{path}: a file named {name!r} came with it; it is none of a run's")
        make_directory(file.parent, exist_ok=True)
        write_file(file, files[name])


def with_hashes(splits: Splits) -> Splits:
    """The same, each part knowing its SHA-256, so that nobody who gets it computes it again."""
    for part in (splits.train, splits.validation, splits.test):
        if part is not None:
            part.sha256  # noqa: B018 - it is kept once asked for
    return splits


def _places(ray: Any, options: dict[str, float]) -> int:
    """How many actors the cluster has room for."""
    there = ray.cluster_resources()
    own = {"CPU": options["num_cpus"], "GPU": options.get("num_gpus", 0)}
    return int(min(there.get(name, 0) // amount for name, amount in own.items() if amount))


def _options(ray: Any, trials: Sequence[Trial]) -> dict[str, float]:
    """A processor an actor, and a part of a GPU where there are some and runs may use them."""
    free = any(trial.config.device != "cpu" and trial.config.engine != "fused" for trial in trials)
    if free and ray.cluster_resources().get("GPU", 0) >= 1:
        return {"num_cpus": 1, "num_gpus": GPU_SHARE}
    return {"num_cpus": 1}


@contextmanager
def _marked(runs: Path) -> Iterator[str]:
    """Put a file into the directory by which actors know it, and take it away again."""
    marker = secrets.token_hex(16)
    write_file(runs / MARKER, marker.encode())
    try:
        yield marker
    finally:
        remove_file(runs / MARKER)


@contextmanager
def _connected(address: str, processes: int) -> Iterator[Any]:
    """Ray, connected to a cluster; one of its own is ended at the end."""
    own = address == LOCAL
    with _environment(OF_ITS_OWN if own else {}):
        try:
            import ray
        except ImportError:
            raise UsageError("--backend ray: needs Ray; pip install 'lenscope[ray]'") from None
        settings = {"num_cpus": processes, "include_dashboard": False} if own else {}
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False, **settings)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            hint = "start a cluster with 'ray start --head', or leave the address out"
            raise UsageError(f"--ray-address {address}: {reason}; {hint}") from None
        try:
            if own:
                _require_loopback(ray)
            yield ray
        finally:
            ray.shutdown()


def _require_loopback(ray: Any) -> None:
    """Raise RunError where Ray listens elsewhere, as it does where it was imported before it could be told."""
    where = ray.nodes()[0]["NodeManagerAddress"]
    if where != LOOPBACK:
        raise RunError(f"Ray listens on {where}, expected {LOOPBACK}; import ray after the experiment, or not at all")


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment that are not set, for a while."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
