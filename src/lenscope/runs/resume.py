"""What a run that is resumed starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lenscope.config import TrainConfig
from lenscope.errors import ConfigError, RunError, UsageError
from lenscope.runs.files import checkpoint, manifest
from lenscope.runs.files.decoding import broken
from lenscope.runs.files.metrics import decode_metrics
from lenscope.runs.provenance import differences
from lenscope.runs.run import Resumed, decode_losses, open_run, resumed_of, uncommitted_environment
from lenscope.training.fit import Start

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lenscope.nets.layers import Weights
    from lenscope.runs.files.checkpoint import LoadedCheckpoint
    from lenscope.runs.files.manifest import Manifest
    from lenscope.runs.prepare import Prepared


def settings_to_resume(path: Path, epochs: int | None = None) -> TrainConfig:
    """The settings with which a run is resumed, for `epochs` in total where given.

    Raises:
        RunError: not a run directory, or a run that had not started.
        ConfigError: fewer epochs than before, or more epochs where the schedule depends on their number.
        UsageError: a finished run, without more epochs.
    """
    config = _config(path)
    if epochs is not None and epochs < config.epochs:
        raise ConfigError(f"--epochs {epochs}: the run has {config.epochs}; expected at least as many")
    if epochs is not None and epochs > config.epochs and config.schedule != "constant":
        raise ConfigError(
            f"--epochs {epochs}: the {config.schedule} schedule depends on the number of epochs, {config.epochs} "
            "here; train a new run, or start it from this one with --init-from"
        )
    if epochs is not None and epochs > config.epochs and config.network == "mlp-autoencoder":
        raise ConfigError(
            f"--epochs {epochs}: each layer of the {config.network} is trained for half of the epochs, "
            f"{config.epochs} here; train a new run, or start it from this one with --init-from"
        )
    if epochs in (None, config.epochs) and _finished(path):
        raise UsageError(f"{path}: already finished; for more epochs add --epochs {2 * config.epochs}")
    return config.with_settings(epochs=epochs or config.epochs)


@dataclass(frozen=True, eq=False)
class SavedRun:
    """The content of the directory of a run that is to be resumed.

    Attributes:
        path: the directory.
        manifest: empty if the run was killed before its first commit.
        environment: empty if it was not recorded.
        checkpoint: the newest intact one; None if training starts again from the beginning.
        problems: of newer checkpoints, which are broken.
    """

    path: Path
    manifest: Manifest
    environment: Mapping[str, Any]
    checkpoint: LoadedCheckpoint | None = None
    problems: tuple[str, ...] = ()

    def initial(self, prepared: Prepared) -> tuple[Weights, dict[str, Any]]:
        """The weights to make the engine with: the run's initial ones, unless a checkpoint replaces them anyway.

        Once committed, the initial weights are read from the run's directory, whatever its settings would yield now.

        Returns:
            The weights, and their entry for `environment.json`.

        Raises:
            RunError: broken weights, or a changed `init_from`.
            UsageError: nothing was committed, and the weights of `init_from` do not fit.
        """
        from lenscope.runs.init_from import start_from

        config, network = prepared.config, prepared.network
        known = {name: self.environment[name] for name in ("init_from",) if name in self.environment}
        if self.manifest.static:
            return (prepared.weights if self.checkpoint else open_run(self.path).checked_weights("initial")), known
        weights, found = start_from(config.init_from, network, prepared.weights)
        if known not in ({}, found):
            raise RunError(
                f"{self.path}: the weights of {config.init_from} have changed since this run was started from them, "
                "before its first step; train it again from its config.toml"
            )
        return weights, found


def read_saved(path: Path) -> SavedRun:
    """The content of the directory of a run that is to be resumed; raises RunError if it is not a run directory."""
    if not (path / manifest.FILE).exists():
        return SavedRun(path, manifest.Manifest(), uncommitted_environment(path))
    run = open_run(path)
    newest, problems = checkpoint.newest_sound(path, run.committed)
    return SavedRun(path, run.committed, run.environment, newest, tuple(problems))


def plan_resumption(
    saved: SavedRun, environment: Mapping[str, Any]
) -> tuple[Start | None, dict[str, Any], tuple[str, ...]]:
    """How a run is resumed in this environment.

    Returns:
        The start for the training loop, None to start again from the beginning; entries for `environment.json`; notes
        for the user.

    Raises:
        RunError: broken losses or metrics.
    """
    path, newest, recorded = saved.path, saved.checkpoint, saved.environment
    differing = differences(recorded, environment) if recorded else ["the environment was not recorded"]
    step = newest.step if newest else 0
    resumed = Resumed(step, datetime.now(UTC).isoformat(timespec="seconds"), tuple(differing))
    notes = (
        f"resuming from step {step:,} (epoch {newest.position.epoch})" if newest else "no checkpoint: starting again",
        *(f"{problem}; not used" for problem in saved.problems),
        *(f"{difference}: the result may differ in its last bits" for difference in differing),
    )
    record = {"resumed": [asdict(one) for one in (*resumed_of(recorded, path), resumed)]}
    return start_of(path, newest) if newest else None, record, notes


def start_of(path: Path, loaded: LoadedCheckpoint) -> Start:
    """A checkpoint of a run as the training loop takes it; raises RunError for broken losses or metrics."""
    then = manifest.Manifest(appended=loaded.appended)
    losses = decode_losses(manifest.read_appended(path, "losses.f32", then))
    metrics = decode_metrics(manifest.read_appended(path, "metrics.csv", then), str(path / "metrics.csv"))
    done = loaded.position.done
    if len(losses) != loaded.step or done > loaded.step:
        raise broken(path, f"{len(losses)} losses for {loaded.step} steps")
    return Start(loaded.position, losses[len(losses) - done :], loaded.state, tuple(metrics.rows()))


def require_no_links(path: Path) -> None:
    """Raise RunError for a symbolic link in a run, through which writing would leave its directory."""
    for part in sorted((*path.glob("*"), *path.glob("*/*"))):
        if part.is_symlink():
            raise RunError(f"{part}: is a link, and a run is written within its directory; replace it by its target")


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
    except RunError:  # killed before its first commit
        return False
