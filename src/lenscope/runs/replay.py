"""Train a run again, and compare the results with its files."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safetensors.numpy import save

from lenscope.engines import engine_for
from lenscope.errors import LenscopeError, RunError
from lenscope.numbers_as_text import percent
from lenscope.runs import recorder
from lenscope.runs.files import checkpoint
from lenscope.runs.files.film import encode_record
from lenscope.runs.files.metrics import encode_row
from lenscope.runs.init_from import start_from
from lenscope.runs.prepare import prepare
from lenscope.runs.provenance import differences, environment_of, require_same_data
from lenscope.runs.resume import start_of
from lenscope.runs.verify import Finding
from lenscope.training.events import Checkpoint, EpochDone, Snapshot, StepsDone
from lenscope.training.fit import fit
from lenscope.training.schedules import evaluated_epochs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lenscope.data.dataset import Splits
    from lenscope.nets.layers import Weights
    from lenscope.runs.files.checkpoint import LoadedCheckpoint
    from lenscope.runs.prepare import Prepared
    from lenscope.runs.record import Watcher
    from lenscope.runs.run import Run
    from lenscope.training.events import EpochMetrics, Event, State

    Record = tuple[str, int]  # a file, and the step or epoch of a record in it

ROUNDING = 1e-3  # relative; two classes may be almost equally probable
NO_EVALUATION: dict[str, Any] = dict.fromkeys(
    ("train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
)
INITIAL = "weights/initial.safetensors"


def replay_run(
    run: Run, splits: Splits, watcher: Watcher | None = None, *, from_checkpoint: bool = False
) -> list[Finding]:
    """Train a run again as far as it got, without writing, and compare the results with its files.

    Training stops at the first difference. Losses, film, metrics without times, checkpoints and weights are equal bit
    for bit with the same build, instruction set and engine, and with PyTorch's engine also the same number of threads
    and processor. Whatever of these has changed is named, and a difference then says nothing about the run; instead,
    the final weights are measured again. Training starts from the run's own initial weights; these are made again, too,
    and compared.

    Args:
        run: the run, finished or not.
        splits: its data at their own size.
        watcher: shows the events.
        from_checkpoint: start from the run's oldest checkpoint instead of from the beginning.

    Raises:
        RunError: data that differ from the run's, a broken file, or no checkpoint to start from.
        UsageError: an engine or a device that this machine does not have.
    """
    last_step = len(run.losses)
    config = run.config.with_settings(checkpoint_every=f"{last_step}steps" if last_step else None)
    require_same_data(run.environment, splits, run.path)
    first = _oldest_checkpoint(run, last_step) if from_checkpoint else None
    prepared = prepare(config, splits)
    weights = run.checked_weights("initial")
    initial = [] if first else [_compare_initial(run, prepared, weights)]
    training = engine_for(prepared.network, weights, prepared.sized.train, config)
    with training as engine, closing(watcher) if watcher else nullcontext():
        environment = environment_of(engine, prepared)
        events = fit(config, prepared.sized, engine, start=start_of(run.path, first) if first else None)
        compared = _compare(_until(last_step, events, watcher), _records_of_run(run))
    resumed = (f"{text}, when it was resumed" for time in run.resumed for text in time.differs)
    reasons = [*differences(run.environment, environment), *resumed]
    remarks = [Finding("environment.json", sound=True, says=f"{text}: the last bits may differ") for text in reasons]
    measured = _measured_again(run, prepared) if reasons and run.status.state == "finished" else []
    return [_qualified(finding, reasons) for finding in initial + _findings(compared)] + measured + remarks


def _oldest_checkpoint(run: Run, last_step: int) -> LoadedCheckpoint:
    names = checkpoint.names(run.committed)
    oldest = checkpoint.load(run.path, names[-1], run.committed) if names else None
    if oldest is None or oldest.step >= last_step:
        raise RunError(f"{run.path}: has no checkpoint before its last step; leave out --from-checkpoint")
    return oldest


def _until(last_step: int, events: Iterable[Event], watcher: Watcher | None) -> Iterator[Event]:
    """The events up to the checkpoint after the last step, or up to the evaluation of the untrained network."""
    for event in events:
        if watcher:
            watcher(event)
        yield event
        is_last = isinstance(event, Checkpoint) and event.step == last_step
        if is_last or (isinstance(event, EpochDone) and not last_step):
            return


def _compare(events: Iterable[Event], expected: dict[Record, bytes]) -> dict[Record, bool]:
    """Whether each record of the events equals the run's, up to the first event with a difference."""
    compared: dict[Record, bool] = {}
    for event in events:
        equal = {key: value == expected[key] for key, value in _records_of(event) if key in expected}
        compared |= equal
        if not all(equal.values()):
            break
    return compared


def _records_of(event: Event) -> Iterator[tuple[Record, bytes]]:
    """The records that an event adds to a run's files, as bytes to compare."""
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


def _records_of_run(run: Run) -> dict[Record, bytes]:
    """The records in a run's files, as bytes to compare."""
    film, losses = run.film, run.losses.astype("<f4")
    records = {("losses.f32", number): loss.tobytes() for number, loss in enumerate(losses, start=1)}
    for index, step in enumerate(film.steps.tolist()):
        records["film.bin", step] = encode_record(step, {name: film.kernels[name][index] for name in film.kernels})
    evaluated = evaluated_epochs(run.config.evaluate, run.config.epochs)  # and the last one before it was resumed
    rows = (row if row.epoch in evaluated else replace(row, **NO_EVALUATION) for row in run.metrics.rows())
    records |= {("metrics.csv", row.epoch): _untimed(row) for row in rows}
    for name in checkpoint.names(run.committed):
        loaded = checkpoint.load(run.path, name, run.committed)
        records[name, loaded.step] = _arrays(loaded.state)
    if recorder.FINAL in run.committed.static:
        records[recorder.FINAL, len(losses)] = save(run.weights("final"))
    return records


def _arrays(state: State) -> bytes:
    return save({**state.weights, "first": state.first, "second": state.second})


def _untimed(row: EpochMetrics) -> bytes:
    return encode_row(replace(row, train_seconds=None, evaluation_seconds=None, images_per_second=None))


def _findings(compared: dict[Record, bool]) -> list[Finding]:
    """One finding per file that was compared."""
    found, to_the_end = list[Finding](), all(compared.values())
    for file in dict.fromkeys(name for name, _ in compared):
        equal = {number: same for (name, number), same in compared.items() if name == file}
        first = next((number for number, same in equal.items() if not same), None)
        unit = "epoch" if file == "metrics.csv" else "step"
        says = f"replayed, {len(equal):,} {f'of {len(equal):,} equal' if to_the_end else 'equal before the difference'}"
        says = says if first is None else f"differs at {unit} {first:,}"
        found.append(Finding(file, sound=first is None, says=says))
    return found


def _measured_again(run: Run, prepared: Prepared) -> list[Finding]:
    """Whether the final weights give the losses and accuracies of the last epoch, except for rounding."""
    splits, last = prepared.sized, run.metrics.rows()[-1]
    recorded = {
        "validation": (splits.validation, last.validation_loss, last.validation_accuracy),
        "test": (splits.test, last.test_loss, last.test_accuracy),
    }
    found = list[Finding]()
    with engine_for(prepared.network, run.checked_weights("final"), splits.train, prepared.config) as engine:
        for name, (split, *before) in recorded.items():
            if split is None:
                continue
            now = engine.evaluate(split)
            pairs = zip(before, now, (0.0, 1 / len(split)), strict=True)  # of the accuracies, one image may differ
            equal = all(_about_equal(*pair) for pair in pairs)
            old, new = (
                f"loss {loss:.4f}{'' if share is None else f', accuracy {percent(share)}'}"
                for loss, share in (before, now)
            )
            says = f"epoch {last.epoch:,}, {name} {new}: the same, measured again"
            if not equal:
                says = f"epoch {last.epoch:,}, {name} {old}; the final weights have {new}"
            found.append(Finding("metrics.csv", sound=equal, says=says))
    return found


def _about_equal(old: float | None, new: float | None, least: float) -> bool:
    if old is None or new is None:
        return old == new
    return abs(old - new) <= max(least, ROUNDING * abs(new))


def _compare_initial(run: Run, prepared: Prepared, expected: Weights) -> Finding:
    """Make a run's initial weights again, and compare."""
    source, origin, made = run.config.init_from, dict[str, Any](), prepared.weights
    problem = f"--init-from {source}: its weights have changed since the run was started from them"
    try:
        made, origin = start_from(source, prepared.network, made)
    except LenscopeError as error:
        problem = str(error)
    equal = save(made) == save(expected)
    if source and not equal and run.environment.get("init_from") != origin.get("init_from"):
        return Finding(INITIAL, sound=True, says=f"not compared: {problem}")
    return Finding(INITIAL, sound=equal, says="replayed, 1 of 1 equal" if equal else "differs at step 0")


def _qualified(finding: Finding, reasons: list[str]) -> Finding:
    """A difference with another possible reason than a broken run, as one that cannot be judged."""
    if finding.sound or not reasons:
        return finding
    says = f"{finding.says}; cannot be compared bit for bit here, since {'; '.join(reasons)}"
    return Finding(finding.part, sound=None, says=says)
