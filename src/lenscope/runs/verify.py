"""Is a run directory what it says it is?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lenscope.errors import RunError
from lenscope.runs import checkpoint, recorder, unsure
from lenscope.runs.manifest import APPENDED, read_appended, read_static
from lenscope.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from lenscope.runs.film import Film
    from lenscope.runs.run import Run

    Check = Callable[[], str]

BEGUN = ("config.toml", "environment.json", "metrics.csv", "weights/initial.safetensors")
FINISHED = ("losses.f32", "film.json", "film.bin", "weights/final.safetensors")


@dataclass(frozen=True)
class Finding:
    """What was found of one part of a run.

    Attributes:
        part: a file's path within the run, or what was repeated.
        sound: whether it is as it should be; None where that cannot be told here.
        says: what it holds, or what is wrong with it.
    """

    part: str
    sound: bool | None
    says: str


def verify_run(run: Run) -> list[Finding]:
    """Compare every file of a run with its manifest, and what the files say with one another.

    Raises:
        RunError: no run directory, or one whose manifest is broken.
    """
    status = _look(run, "status.json", lambda: run.status.state)
    begun = {*BEGUN, *run.committed.static, *run.committed.appended}
    names = sorted(begun | {*FINISHED} if status.says == "finished" else begun)
    found = [status, *(_look(run, name, partial(_as_committed, run, name)) for name in names)]
    if not all(finding.sound for finding in found):  # what others say of a broken file tells nothing
        return found
    return [status, *(_look(run, name, _check_of(run, name)) for name in names)]


def _as_committed(run: Run, name: str) -> str:
    if name in APPENDED and name not in run.committed.appended:
        raise RunError(f"{run.path / name}: is missing in the manifest; the run did not get so far")
    read = read_appended if name in APPENDED else read_static
    return f"{len(read(run.path, name, run.committed)):,} bytes"


def _look(run: Run, name: str, check: Check) -> Finding:
    try:
        return Finding(name, sound=True, says=check())
    except RunError as error:
        return Finding(name, sound=False, says=str(error).removeprefix(printable(f"{run.path / name}: ")))


def _check_of(run: Run, name: str) -> Check:
    """What a file has to fulfil beyond its hash; returns what it holds."""
    checks: dict[str, Check] = {
        "config.toml": lambda: f"recipe {run.config.recipe}, epochs {run.config.epochs:,}, seed {run.config.seed}",
        "environment.json": lambda: f"{run.data.name}, {run.data.train_images:,} training images",
        "metrics.csv": lambda: _metrics(run),
        "losses.f32": lambda: _losses(run),
        "film.json": lambda: ", ".join(run.film.kernels) or "no convolutions",
        "film.bin": lambda: _film(run),
        unsure.FILE: lambda: _rule(run),
        "weights/initial.safetensors": lambda: _weights(run, "initial"),
        "weights/final.safetensors": lambda: _weights(run, "final"),
    }
    if name.startswith(checkpoint.FOLDER + "/"):
        return lambda: _checkpoint(run, name)
    return checks.get(name, partial(_as_committed, run, name))


def _rule(run: Run) -> str:
    rule = run.unsure_rule
    return f"calibrated on {rule.images:,} {rule.part} images" if rule else "no rule"


def _metrics(run: Run) -> str:
    """Epoch after epoch from 0, as many as were asked for, and each training loss the mean of its steps' losses."""
    rows, status = run.metrics.rows(), run.status
    _require([row.epoch for row in rows] == list(range(len(rows))), run, "metrics.csv", "an epoch is missing")
    ended_early = status.state != "finished" or status.why
    _require(len(rows) == run.config.epochs + 1 or bool(ended_early), run, "metrics.csv", "lacks the last epochs")
    for row, mean in zip(rows[1:], _mean_losses(run), strict=False):
        sound = row.train_loss is not None and np.isclose(row.train_loss, mean, rtol=1e-9, atol=0)
        _require(bool(sound), run, "metrics.csv", f"the training loss of epoch {row.epoch} is not that of its steps")
    return f"{len(rows):,} of {run.config.epochs + 1:,} rows; each training loss is that of its steps"


def _losses(run: Run) -> str:
    losses, epochs, steps = run.losses, max(0, len(run.metrics) - 1), _steps_per_epoch(run)
    entry = run.committed.appended.get("losses.f32")
    whole = entry is None or entry.size == 4 * len(losses)
    _require(whole and bool(np.isfinite(losses).all()), run, "losses.f32", "a loss is cut or not finite")
    sound = epochs * steps <= len(losses) <= run.config.epochs * steps
    _require(sound, run, "losses.f32", f"{len(losses):,} steps for {epochs:,} epochs of {steps:,}")
    return f"{len(losses):,} steps, all finite"


def _film(run: Run) -> str:
    """Forward in time, finite, and from the initial kernels to those after the last step it tells of."""
    film, entry = run.film, run.committed.appended["film.bin"]
    record = entry.size // max(1, len(film))
    _require(len(film) > 0 and entry.size == record * len(film), run, "film.bin", "ends within a snapshot")
    _require(film.steps[0] == 0 and bool((np.diff(film.steps) > 0).all()), run, "film.bin", "steps out of order")
    _require(film.steps[-1] <= len(run.losses), run, "film.bin", "a snapshot after the last step")
    _require(all(np.isfinite(kernels).all() for kernels in film.kernels.values()), run, "film.bin", "not finite")
    _require(_shows(film, 0, run, "initial"), run, "film.bin", "does not begin with the initial kernels")
    if film.steps[-1] == len(run.losses) and recorder.FINAL in run.committed.static:
        _require(_shows(film, -1, run, "final"), run, "film.bin", "does not end with the final kernels")
    return f"{len(film):,} snapshots, steps 0 to {film.steps[-1]:,}"


def _shows(film: Film, place: int, run: Run, which: Literal["initial", "final"]) -> bool:
    """Whether a snapshot holds the kernels before or after training."""
    own = run.architecture.convolutions(run.checked_weights(which))
    return film.kernels.keys() == own.keys() and all(
        np.array_equal(kernels[place], own[layer]) for layer, kernels in film.kernels.items()
    )


def _weights(run: Run, which: Literal["initial", "final"]) -> str:
    weights = run.checked_weights(which)  # which refuses what is not finite
    return f"{sum(array.size for array in weights.values()):,} weights, all finite"


def _checkpoint(run: Run, name: str) -> str:
    kept = checkpoint.decode(read_static(run.path, name, run.committed), str(run.path / name))
    arrays = [*kept.state.weights.values(), kept.state.first, kept.state.second]
    _require(all(np.isfinite(values).all() for values in arrays), run, name, "a number is not finite")
    for other, entry in kept.appended.items():
        now = run.committed.appended.get(other)
        _require(now is not None and now.size >= entry.size, run, name, f"counts more of {other} than there is")
    epoch, done = kept.position.epoch, kept.position.done
    where = f"in epoch {epoch:,}" if done else f"at the end of epoch {epoch - 1:,}"
    return f"after step {kept.step:,}, {where}; all finite"


def _batch_size(run: Run) -> int:
    return run.data.train_images if run.config.optimizer == "gd" else run.config.batch_size


def _steps_per_epoch(run: Run) -> int:
    return -(-run.data.train_images // _batch_size(run))


def _mean_losses(run: Run) -> Iterator[float]:
    """The loss an image of each whole epoch; a last batch may be smaller."""
    losses, steps, images = run.losses.astype(np.float64), _steps_per_epoch(run), run.data.train_images
    for start in range(0, len(losses) - steps + 1, steps):
        sizes = np.full(steps, _batch_size(run))
        sizes[-1] = images - sizes[:-1].sum()
        yield float(np.dot(losses[start : start + steps], sizes)) / images


def _require(sound: bool, run: Run, name: str, problem: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not sound:
        raise RunError(f"{run.path / name}: {problem}; the run is broken")
