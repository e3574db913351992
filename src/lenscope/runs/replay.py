"""Train a run again, and compare with what its directory holds."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from safetensors.numpy import save

from lenscope.engines import engine_for
from lenscope.errors import LenscopeError, RunError
from lenscope.runs import checkpoint, recorder
from lenscope.runs.film import encode_record
from lenscope.runs.manifest import read_static
from lenscope.runs.metrics import encode_row
from lenscope.runs.prepare import environment_of, prepare, start_from
from lenscope.runs.resume import differences, require_same_data, start_of
from lenscope.runs.verify import Finding
from lenscope.training.events import Checkpoint, EpochDone, Snapshot, StepsDone
from lenscope.training.fit import fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lenscope.data.dataset import Splits
    from lenscope.nets.layers import Weights
    from lenscope.runs.checkpoint import Kept
    from lenscope.runs.prepare import Prepared
    from lenscope.runs.record import Watcher
    from lenscope.runs.run import Run
    from lenscope.training.events import EpochMetrics, Event, State

    Place = tuple[str, int]  # a file, and the step or epoch within it

INITIAL = "weights/initial.safetensors"


def replay_run(
    run: Run, splits: Splits, watcher: Watcher | None = None, *, from_checkpoint: bool = False
) -> list[Finding]:
    """Train a run again as far as it got, writing nothing, and compare what comes with its files, up to a difference.

    Losses, film, metrics without their times, checkpoints and weights are equal to the last bit on the same build,
    instruction set and engine, and with PyTorch's engine on as many threads of the same processor. Where something of
    this is not the same it is named, and a difference does not tell whether the run is sound. The run is repeated from
    its own initial weights; they are made again and compared as well.

    Args:
        run: finished or not.
        splits: its data at their own size.
        watcher: who shows the events.
        from_checkpoint: from the oldest checkpoint that is kept, instead of from the beginning.

    Raises:
        RunError: other data than the run's, a broken file, or no checkpoint to begin from.
        UsageError: an engine or device that this machine lacks.
    """
    until = len(run.losses)
    config = run.config.with_settings(checkpoint_every=f"{until}steps" if until else None)
    require_same_data(run.environment, splits, run.path)
    kept = _oldest_checkpoint(run, until) if from_checkpoint else None
    prepared = prepare(config, splits)
    weights = run.checked_weights("initial")
    initial = [] if kept else [_repeat_initial(run, prepared, weights)]
    training = engine_for(prepared.network, weights, prepared.sized.train, config)
    with training as engine, closing(watcher) if watcher else nullcontext():
        environment = environment_of(engine, prepared)
        events = fit(config, prepared.sized, engine, start=start_of(run.path, kept) if kept else None)
        compared = _compare(_up_to(until, events, watcher), _kept(run))
    reasons = _reasons(run, differences(run.environment, environment))
    remarks = [Finding("environment.json", sound=True, says=f"{text}: the last bits may differ") for text in reasons]
    return [_excused(finding, reasons) for finding in initial + _findings(compared)] + remarks


def _oldest_checkpoint(run: Run, until: int) -> Kept:
    oldest = min(_checkpoints(run), key=attrgetter("step"), default=None)
    if oldest is None or oldest.step >= until:
        raise RunError(f"{run.path}: keeps no checkpoint before its last step; leave out --from-checkpoint")
    return oldest


def _checkpoints(run: Run) -> Iterator[Kept]:
    for name in checkpoint.names(run.committed):
        yield checkpoint.decode(read_static(run.path, name, run.committed), str(run.path / name))


def _up_to(until: int, events: Iterable[Event], watcher: Watcher | None) -> Iterator[Event]:
    """The events up to the checkpoint after so many steps, or to the untrained network's measures."""
    for event in events:
        if watcher:
            watcher(event)
        yield event
        if (isinstance(event, Checkpoint) and event.step == until) or (isinstance(event, EpochDone) and not until):
            return


def _compare(events: Iterable[Event], kept: dict[Place, bytes]) -> dict[Place, bool]:
    """Whether what was told of each place equals what was kept of it; up to the first event that differs."""
    compared: dict[Place, bool] = {}
    for event in events:
        equal = {place: content == kept[place] for place, content in _told(event) if place in kept}
        compared |= equal
        if not all(equal.values()):
            break
    return compared


def _told(event: Event) -> Iterator[tuple[Place, bytes]]:
    """What an event tells, in the form in which a run keeps it."""
    match event:
        case StepsDone(step=step, losses=losses):
            for number, loss in enumerate(losses.astype("<f4"), start=step - len(losses) + 1):
                yield ("losses.f32", number), loss.tobytes()
        case Snapshot(step=step, kernels=kernels):
            yield ("film.bin", step), encode_record(step, kernels)
        case EpochDone(metrics=metrics):
            yield ("metrics.csv", metrics.epoch), _untimed(metrics)
        case Checkpoint(step=step, state=state):
            yield (checkpoint.file_name(step), step), _arrays(state)
            yield (recorder.FINAL, step), save(state.weights)


def _kept(run: Run) -> dict[Place, bytes]:
    """What a run's files hold, in the form in which events tell it."""
    film, losses = run.film, run.losses.astype("<f4")
    kept = {("losses.f32", number): loss.tobytes() for number, loss in enumerate(losses, start=1)}
    for place, step in enumerate(film.steps.tolist()):
        kept["film.bin", step] = encode_record(step, {name: film.kernels[name][place] for name in film.kernels})
    kept |= {("metrics.csv", row.epoch): _untimed(row) for row in run.metrics.rows()}
    kept |= {(checkpoint.file_name(one.step), one.step): _arrays(one.state) for one in _checkpoints(run)}
    if recorder.FINAL in run.committed.static:
        kept[recorder.FINAL, len(losses)] = save(run.weights("final"))
    return kept


def _arrays(state: State) -> bytes:
    return save({**state.weights, "first": state.first, "second": state.second})


def _untimed(row: EpochMetrics) -> bytes:
    return encode_row(replace(row, train_seconds=None, evaluation_seconds=None, images_per_second=None))


def _findings(compared: dict[Place, bool]) -> list[Finding]:
    """One for each file that was compared."""
    found = []
    for part in dict.fromkeys(name for name, _ in compared):
        equal = {number: same for (name, number), same in compared.items() if name == part}
        first = next((number for number, same in equal.items() if not same), None)
        unit = "epoch" if part == "metrics.csv" else "step"
        says = f"repeated, {len(equal):,} of {len(equal):,} equal" if first is None else f"differs at {unit} {first:,}"
        found.append(Finding(part, sound=first is None, says=says))
    return found


def _repeat_initial(run: Run, prepared: Prepared, kept: Weights) -> Finding:
    """Make a run's initial weights again, and compare."""
    source, origin, made = run.config.init_from, dict[str, Any](), prepared.weights
    problem = f"--init-from {source}: holds other weights now than when the run began"
    try:
        made, origin = start_from(source, prepared.network, made)
    except LenscopeError as error:
        problem = str(error)
    equal = save(made) == save(kept)
    if source and not equal and run.environment.get("init_from") != origin.get("init_from"):
        return Finding(INITIAL, sound=True, says=f"taken as they are: {problem}")
    return Finding(INITIAL, sound=equal, says="repeated, 1 of 1 equal" if equal else "differs at step 0")


def _reasons(run: Run, differing: list[str]) -> list[str]:
    """Why a run and its repetition may differ in their last bits."""
    return [*differing, *(f"{text}, when it went on" for resumed in run.resumed for text in resumed.differs)]


def _excused(finding: Finding, reasons: list[str]) -> Finding:
    """Of a difference that has other reasons than a run that is broken, say that it cannot be told."""
    if finding.sound or not reasons:
        return finding
    says = f"{finding.says}; cannot be compared to the bit here, since {'; '.join(reasons)}"
    return Finding(finding.part, sound=None, says=says)
