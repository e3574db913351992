"""Check the files of a run directory against the manifest and against each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lenscope.errors import RunError
from lenscope.runs import recorder, unsure
from lenscope.runs.files import checkpoint
from lenscope.runs.files.manifest import APPENDED, read_appended, read_static
from lenscope.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from lenscope.runs.files.film import Film
    from lenscope.runs.run import Run

STARTED = ("config.toml", "environment.json", "metrics.csv", "weights/initial.safetensors")
FINISHED = ("losses.f32", "film.json", "film.bin", "weights/final.safetensors")


@dataclass(frozen=True)
class Finding:
    """The result of checking one file of a run.

    Attributes:
        part: the file's path within the run.
        sound: whether it is intact; None if that cannot be decided here.
        says: its content, or the problem.
    """

    part: str
    sound: bool | None
    says: str


def verify_run(run: Run) -> list[Finding]:
    """Compare every file of a run with its manifest, and the content of the files with each other.

    Raises:
        RunError: not a run directory, or a broken manifest.
    """
    status = _look(run, "status.json", lambda run: run.status.state)
    started = {*STARTED, *run.committed.static, *run.committed.appended}
    names = sorted(started | {*FINISHED} if status.says == "finished" else started)
    found = [status, *(_look(run, name, partial(_size_if_intact, name=name)) for name in names)]
    if not all(finding.sound for finding in found):  # no file can be compared with a broken one
        return found
    return [status, *(_look(run, name, _check_of(name)) for name in names)]


def _look(run: Run, name: str, check: Callable[[Run], str]) -> Finding:
    try:
        return Finding(name, sound=True, says=check(run))
    except RunError as error:
        return Finding(name, sound=False, says=str(error).removeprefix(printable(f"{run.path / name}: ")))


def _check_of(name: str) -> Callable[[Run], str]:
    """The check of a file's content, which returns a description of it."""
    if name.startswith(checkpoint.FOLDER + "/"):
        return partial(_checkpoint, name=name)
    return CHECKS.get(name, partial(_size_if_intact, name=name))


def _size_if_intact(run: Run, name: str) -> str:
    if name in APPENDED and name not in run.committed.appended:
        raise RunError(f"{run.path / name}: is missing in the manifest; the run did not get so far")
    read = read_appended if name in APPENDED else read_static
    return f"{len(read(run.path, name, run.committed)):,} bytes"


def _config(run: Run) -> str:
    return f"recipe {run.config.recipe}, epochs {run.config.epochs:,}, seed {run.config.seed}"


def _rule(run: Run) -> str:
    rule = run.unsure_rule
    return f"calibrated on {rule.images:,} {rule.part} images" if rule else "no rule"


def _metrics(run: Run) -> str:
    """All epochs from 0 to the last are there, and each training loss is the mean over its steps."""
    rows, status = run.metrics.rows(), run.status
    _require([row.epoch for row in rows] == list(range(len(rows))), "an epoch is missing")
    ended_early = status.state != "finished" or status.why
    _require(len(rows) == run.config.epochs + 1 or bool(ended_early), "the last epochs are missing")
    for row, mean in zip(rows[1:], _mean_losses(run), strict=False):
        sound = row.train_loss is not None and np.isclose(row.train_loss, mean, rtol=1e-9, atol=0)
        _require(bool(sound), f"the training loss of epoch {row.epoch} is not the mean over its steps")
    return f"{len(rows):,} of {run.config.epochs + 1:,} rows; each training loss is the mean over its steps"


def _losses(run: Run) -> str:
    losses, epochs, steps = run.losses, max(0, len(run.metrics) - 1), _steps_per_epoch(run)
    entry = run.committed.appended.get("losses.f32")
    whole = entry is None or entry.size == 4 * len(losses)
    _require(whole and bool(np.isfinite(losses).all()), "a loss is incomplete or not finite")
    sound = epochs * steps <= len(losses) <= run.config.epochs * steps
    _require(sound, f"{len(losses):,} steps for {epochs:,} epochs of {steps:,}")
    return f"{len(losses):,} steps, all finite"


def _film(run: Run) -> str:
    """Steps increase, numbers are finite, and the first and last snapshots show the initial and final kernels."""
    film, entry = run.film, run.committed.appended["film.bin"]
    record = entry.size // max(1, len(film))
    _require(len(film) > 0 and entry.size == record * len(film), "the last snapshot is incomplete")
    _require(film.steps[0] == 0 and bool((np.diff(film.steps) > 0).all()), "steps are out of order")
    _require(film.steps[-1] <= len(run.losses), "a snapshot after the last step")
    _require(all(np.isfinite(kernels).all() for kernels in film.kernels.values()), "a number is not finite")
    _require(_shows(film, 0, run, "initial"), "does not start with the initial kernels")
    if film.steps[-1] == len(run.losses) and recorder.FINAL in run.committed.static:
        _require(_shows(film, -1, run, "final"), "does not end with the final kernels")
    return f"{len(film):,} snapshots, steps 0 to {film.steps[-1]:,}"


def _shows(film: Film, index: int, run: Run, which: Literal["initial", "final"]) -> bool:
    """Whether a snapshot holds the kernels before or after training."""
    own = run.architecture.convolutions(run.checked_weights(which))
    return film.kernels.keys() == own.keys() and all(
        np.array_equal(kernels[index], own[layer]) for layer, kernels in film.kernels.items()
    )


def _weights(run: Run, which: Literal["initial", "final"]) -> str:
    weights = run.checked_weights(which)  # raises RunError for numbers that are not finite
    return f"{sum(array.size for array in weights.values()):,} weights, all finite"


def _checkpoint(run: Run, name: str) -> str:
    loaded = checkpoint.load(run.path, name, run.committed)
    arrays = [*loaded.state.weights.values(), loaded.state.first, loaded.state.second]
    _require(all(np.isfinite(values).all() for values in arrays), "a number is not finite")
    for other, entry in loaded.appended.items():
        now = run.committed.appended.get(other)
        _require(now is not None and now.size >= entry.size, f"counts more bytes of {other} than there are")
    epoch, done = loaded.position.epoch, loaded.position.done
    where = f"in epoch {epoch:,}" if done else f"at the end of epoch {epoch - 1:,}"
    return f"after step {loaded.step:,}, {where}; all finite"


def _steps_per_epoch(run: Run) -> int:
    return -(-run.data.train_images // run.config.images_per_step(run.data.train_images))


def _mean_losses(run: Run) -> Iterator[float]:
    """The mean loss per image of each complete epoch; the last batch of an epoch may be smaller."""
    losses, steps, images = run.losses.astype(np.float64), _steps_per_epoch(run), run.data.train_images
    for start in range(0, len(losses) - steps + 1, steps):
        sizes = np.full(steps, run.config.images_per_step(images))
        sizes[-1] = images - sizes[:-1].sum()
        yield float(np.dot(losses[start : start + steps], sizes)) / images


def _require(sound: bool, problem: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not sound:
        raise RunError(f"{problem}; the run is broken")


CHECKS: dict[str, Callable[[Run], str]] = {
    "config.toml": _config,
    "environment.json": lambda run: f"{run.data.name}, {run.data.train_images:,} training images",
    "metrics.csv": _metrics,
    "losses.f32": _losses,
    "film.json": lambda run: ", ".join(run.film.kernels) or "no convolutions",
    "film.bin": _film,
    unsure.FILE: _rule,
    "weights/initial.safetensors": partial(_weights, which="initial"),
    "weights/final.safetensors": partial(_weights, which="final"),
}
