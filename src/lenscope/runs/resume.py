"""What a run that resumes starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lenscope.config import TrainConfig
from lenscope.errors import ConfigError, RunError, UsageError
from lenscope.runs import checkpoint, manifest
from lenscope.runs.metrics import decode_metrics
from lenscope.runs.run import Resumed, decode_losses, open_run, resumed_of, uncommitted_environment
from lenscope.training.fit import Start

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lenscope.data.dataset import Splits
    from lenscope.nets.layers import Weights
    from lenscope.runs.checkpoint import Kept
    from lenscope.runs.manifest import Manifest
    from lenscope.runs.prepare import Prepared

SAME = ("engine", "device", "gpu", "isa")  # and the versions of what computes: else the last bits may differ
SAME_WITH_TORCH = ("threads", "processor")  # by which its libraries choose their ways
SAME_PACKAGES = ("lenscope", "numpy")


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
class Before:
    """What the directory of a run that is to resume holds.

    Attributes:
        path: the directory.
        manifest: empty where it was killed before its first commit.
        environment: empty where nothing of it was recorded.
        kept: the newest sound checkpoint; None where the run begins again.
        problems: what is wrong with newer checkpoints.
    """

    path: Path
    manifest: Manifest
    environment: Mapping[str, Any]
    kept: Kept | None = None
    problems: tuple[str, ...] = ()

    def initial(self, prepared: Prepared) -> tuple[Weights, dict[str, Any]]:
        """The weights that the run began with, or its network's own where a checkpoint has later ones.

        They are those of its directory once they were committed, whatever made them may give now.

        Returns:
            The weights, and what `environment.json` is to say of where they come from.

        Raises:
            RunError: weights that are broken, or another run to start from than it was.
            UsageError: nothing was committed, and the run that it starts from cannot be a start.
        """
        from lenscope.runs.prepare import start_from

        config, network = prepared.config, prepared.network
        known = {name: self.environment[name] for name in ("init_from",) if name in self.environment}
        if self.manifest.static:
            return (prepared.weights if self.kept else open_run(self.path).checked_weights("initial")), known
        weights, found = start_from(config.init_from, network, prepared.weights)
        if known not in ({}, found):
            raise RunError(
                f"{self.path}: {config.init_from} no longer holds the weights that this run was to start from, and it "
                "had not taken a step; train it again from its config.toml"
            )
        return weights, found


@dataclass(frozen=True, eq=False)
class Resumption:
    """Where a run resumes.

    Attributes:
        start: for the training loop; None where it begins again.
        facts: what the environment is to say of it.
        notes: what the user is to be told.
    """

    start: Start | None
    facts: dict[str, Any]
    notes: tuple[str, ...]


def look_back(path: Path) -> Before:
    """What the directory of a run that is to resume holds; raises RunError for what is no run."""
    if not (path / manifest.FILE).exists():
        return Before(path, manifest.Manifest(), uncommitted_environment(path))
    run = open_run(path)
    kept, problems = checkpoint.newest_sound(path, run.committed)
    return Before(path, run.committed, run.environment, kept, tuple(problems))


def find_start(before: Before, environment: Mapping[str, Any]) -> Resumption:
    """Where a run resumes in this environment; raises RunError where it is broken beyond its checkpoints."""
    path, kept, recorded = before.path, before.kept, before.environment
    differing = differences(recorded, environment) if recorded else ["nothing was recorded of how it began"]
    step = kept.step if kept else 0
    resumed = Resumed(step, datetime.now(UTC).isoformat(timespec="seconds"), tuple(differing))
    notes = (
        f"goes on after step {step:,}, in epoch {kept.position.epoch}"
        if kept
        else "no checkpoint is kept: begins again",
        *(f"{problem}; left out" for problem in before.problems),
        *(f"{difference}: the result may differ in its last bits" for difference in differing),
    )
    facts = {"resumed": [asdict(one) for one in (*resumed_of(recorded, path), resumed)]}
    return Resumption(start_of(path, kept) if kept else None, facts, notes)


def start_of(path: Path, kept: Kept) -> Start:
    """A checkpoint of a run as the training loop takes it; raises RunError where the losses are not those up to it."""
    then = manifest.Manifest(appended=kept.appended)
    losses = decode_losses(manifest.read_appended(path, "losses.f32", then))
    metrics = decode_metrics(manifest.read_appended(path, "metrics.csv", then), str(path / "metrics.csv"))
    done = kept.position.done
    if len(losses) != kept.step or done > kept.step:
        raise RunError(f"{path}: {len(losses)} losses for {kept.step} steps; the run is broken")
    return Start(kept.position, losses[len(losses) - done :], kept.state, tuple(metrics.rows()))


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


def require_same_data(environment: Mapping[str, Any], splits: Splits, path: Path) -> None:
    """Raise RunError where the data that a run was trained on are not what is loaded, before anything is done to it."""
    before = _table(environment, "data")
    for part, dataset in (("train", splits.train), ("test", splits.test)):
        ours, theirs = dataset and dataset.sha256, before.get(f"{part}_sha256")
        if theirs != ours:
            raise RunError(
                f"{path}: the {part} data are no longer those that it was trained on (SHA-256 {str(ours)[:12]}, "
                f"expected {str(theirs)[:12]}); the run cannot be repeated; give its own data with --data"
            )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What computes differently now, a phrase each."""
    packages, with_torch = _table(before, "packages"), now["engine"] == "torch"
    pairs = [(name, before.get(name), now[name]) for name in (*SAME, *(SAME_WITH_TORCH if with_torch else ()))]
    same = (*SAME_PACKAGES, *(("torch",) if with_torch else ()))
    pairs += [(name, packages.get(name), now["packages"].get(name)) for name in same]
    pairs.append(("ranks", before.get("ranks", 1), now["ranks"]))
    numerics = _table(before, "numerics")  # what an earlier version did not record is told by its number
    pairs += [(name, numerics[name], value) for name, value in now["numerics"].items() if name in numerics]
    return [
        f"{name} {_be(name, 'are')} {new}, {_be(name, 'were')} {str(old)[:80]}"
        for name, old, new in pairs
        if old != new
    ]


def _table(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = facts.get(name)
    return table if isinstance(table, dict) else {}


def _be(name: str, plural: str) -> str:
    """The form of the verb for one thing or for several."""
    return plural if name.endswith("s") else {"are": "is", "were": "was"}[plural]
