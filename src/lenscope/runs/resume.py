"""What a run that goes on starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lenscope.config import TrainConfig
from lenscope.errors import ConfigError, RunError, UsageError
from lenscope.runs import checkpoint, manifest
from lenscope.runs.metrics import decode_metrics
from lenscope.runs.run import Resumed, decode_losses, open_run
from lenscope.training.fit import Start

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lenscope.runs.checkpoint import Kept
    from lenscope.runs.manifest import Manifest

SAME = ("engine", "device", "isa")  # and the versions of what computes: else the last bits may differ
SAME_PACKAGES = ("lenscope", "torch", "numpy")


def settings_to_resume(path: Path, epochs: int | None = None) -> TrainConfig:
    """The settings of a run that is to go on, to `epochs` where given.

    Raises:
        RunError: no run directory, or one in which nothing was begun.
        ConfigError: fewer epochs than were asked for, or more where the schedule depends on how many there are.
        UsageError: a run that is finished, and no more epochs.
    """
    config = _config(path)
    if epochs is not None and epochs < config.epochs:
        raise ConfigError(f"--epochs {epochs}: the run was begun with {config.epochs}; expected as many or more")
    if epochs is not None and epochs > config.epochs and config.schedule != "constant":
        raise ConfigError(
            f"--epochs {epochs}: the rates of {config.schedule} depend on how many epochs there are, {config.epochs} "
            "here; train anew, or with --init-from"
        )
    if epochs is not None and epochs > config.epochs and config.network == "mlp-autoencoder":
        raise ConfigError(
            f"--epochs {epochs}: each layer of the {config.network} has half of the epochs, {config.epochs} here; "
            "train anew, or with --init-from"
        )
    if epochs in (None, config.epochs) and _finished(path):
        raise UsageError(f"{path}: is finished; with more --epochs than {config.epochs} it goes on")
    return config.with_settings(epochs=epochs or config.epochs)


@dataclass(frozen=True, eq=False)
class Resumption:
    """Where a run goes on, and what its directory was before.

    Attributes:
        manifest: the directory's.
        kept: the checkpoint; None where it begins again.
        start: the same for the training loop.
        facts: what the environment is to say of it.
    """

    manifest: Manifest
    kept: Kept | None
    start: Start | None
    facts: dict[str, Any]


def find_start(path: Path, environment: Mapping[str, Any]) -> Resumption:
    """Where a run goes on in this environment.

    Raises:
        RunError: data other than the run's, or a directory that is broken beyond its checkpoints.
    """
    if not (path / manifest.FILE).exists():  # killed before its first commit
        return Resumption(manifest.Manifest(), None, None, {})
    run = open_run(path)
    require_same_data(run.environment.get("data"), environment["data"], path)
    kept, problems = checkpoint.newest_sound(path, run.committed)
    differing = differences(run.environment, environment)
    notes = [f"{problem}; left out" for problem in problems]
    notes += [f"{difference}: the result may differ in its last bits" for difference in differing]
    step = kept.step if kept else 0
    resumed = Resumed(step, datetime.now(UTC).isoformat(timespec="seconds"), tuple(differing))
    facts = {"resumed": [asdict(one) for one in (*run.resumed, resumed)]}
    if kept is None:
        return Resumption(run.committed, None, None, facts)
    notes.insert(0, f"goes on after step {step:,}, in epoch {kept.position.epoch}")
    return Resumption(run.committed, kept, start_of(path, kept, tuple(notes)), facts)


def start_of(path: Path, kept: Kept, notes: tuple[str, ...] = ()) -> Start:
    """A checkpoint of a run as the training loop takes it; raises RunError where the losses are not those up to it."""
    then = manifest.Manifest(appended=kept.appended)
    losses = decode_losses(manifest.read_appended(path, "losses.f32", then))
    metrics = decode_metrics(manifest.read_appended(path, "metrics.csv", then), str(path / "metrics.csv"))
    done = kept.position.done
    if len(losses) != kept.step or done > kept.step:
        raise RunError(f"{path}: {len(losses)} losses for {kept.step} steps; the run is broken")
    return Start(kept.position, losses[len(losses) - done :], kept.state, notes, tuple(metrics.rows()))


def require_no_links(path: Path) -> None:
    """Raise RunError where a part of a run that is to be written stands elsewhere."""
    for part in sorted((*path.glob("*"), *path.glob("*/*"))):
        if part.is_symlink():
            raise RunError(f"{part}: is a link; a run goes on within its directory: replace it by what it points to")


def _config(path: Path) -> TrainConfig:
    file = path / "config.toml"
    if (path / manifest.FILE).exists() or not file.exists():
        return open_run(path).config
    try:
        return TrainConfig.from_toml((manifest.read_bytes(file, 2**20) or b"").decode(errors="replace"), str(file))
    except ConfigError as error:
        raise RunError(str(error)) from None


def _finished(path: Path) -> bool:
    try:
        return open_run(path).status.state == "finished"
    except RunError:  # it had hardly begun
        return False


def require_same_data(theirs: object, ours: Mapping[str, Any], path: Path) -> None:
    """Raise RunError where the data that a run was trained on are no longer what is loaded."""
    before = theirs if isinstance(theirs, dict) else {}
    for part in ("train_sha256", "test_sha256"):
        if before.get(part) != ours[part]:
            raise RunError(
                f"{path}: the {part.removesuffix('_sha256')} data are no longer those that it was trained on "
                f"(SHA-256 {str(ours[part])[:12]}, expected {str(before.get(part))[:12]}); the run cannot be repeated"
            )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What computes differently now, a phrase each."""
    found = [f"{name} is {now[name]}, was {before.get(name)}" for name in SAME if before.get(name) != now[name]]
    packages = before.get("packages")
    earlier = packages if isinstance(packages, dict) else {}
    found += [
        f"{name} is {now['packages'].get(name)}, was {earlier.get(name)}"
        for name in SAME_PACKAGES
        if now["packages"].get(name) != earlier.get(name)
    ]
    if now["engine"] == "torch" and before.get("threads") != now["threads"]:
        found.append(f"threads are {now['threads']}, were {before.get('threads')}")
    if before.get("ranks", 1) != now["ranks"]:
        found.append(f"ranks are {now['ranks']}, were {before.get('ranks', 1)}")
    return found
