"""Runs compared: the settings in which they differ, and their results, as values and as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lenscope.config import Augmentation, Autoencoding, TrainConfig
from lenscope.insight.intervals import wilson_interval
from lenscope.numbers_as_text import clip01, percent, percent_range, signed
from lenscope.text import counted
from lenscope.training.events import EpochMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lenscope.runs.run import Run

MAIN = ("data", "network", "recipe", "epochs", "optimizer", "learning_rate", "batch_size")  # named even if default
ONCE = ("state", "epochs_done")  # results that are said once where they are equal
GROUPS = {group.setting: group for group in (Augmentation, Autoencoding)}
NAMES = {
    "train_sha256": "training data",
    "test_sha256": "test data",
    "validation_accuracy_interval": "95 % interval",
    "test_accuracy_interval": "95 % interval",
    "init_from": "initial weights from",
}
NONE = {"train_images": "all", "threads": "all", "validation": "automatic", "checkpoint_every": "automatic"}
FORMS: dict[str, Callable[[Any], str]] = {  # by the last word of a name
    "accuracy": percent,
    "interval": percent_range,
    "loss": "{:z.4f}".format,
    "error": "{:z.4f}".format,
    "seconds": "{:.1f}".format,
    "seed": str,
    "sha256": "{:.12}".format,
}


def compare_runs(runs: Sequence[Run]) -> dict[str, Any]:
    """What is equal in runs, what differs, and their results, as plain values; see `api.compare`."""
    equal, differing = split_settings([_settings(run) for run in runs])
    table = [results_of(run) for run in runs]
    results = {name: [row[name] for row in table] for name in table[0]}
    return {
        "equal": equal,
        "differing": differing,
        "results": {name: cells for name, cells in results.items() if any(cell is not None for cell in cells)},
        "difference": _difference(runs, table),
    }


def results_of(run: Run) -> dict[str, Any]:
    """The results of a run after its last epoch so far; a value that does not apply is None.

    Losses and errors are as in `EpochMetrics`, accuracies and their 95 % Wilson intervals fractions in [0, 1], seconds
    those of training and evaluation.
    """
    rows = run.metrics.rows() or [EpochMetrics(epoch=0)]
    last, data, returns = rows[-1], run.data, run.config.reconstructs
    return {
        "state": run.status.state,
        "epochs_done": last.epoch,
        "train_loss": last.train_loss,
        "validation_accuracy": last.validation_accuracy,
        "validation_accuracy_interval": _interval(last.validation_accuracy, data.validation_images),
        "validation_images": data.validation_images,
        "test_loss": None if returns else last.test_loss,
        "reconstruction_error": last.reconstruction[1] if returns else None,
        "test_accuracy": last.test_accuracy,
        "test_accuracy_interval": _interval(last.test_accuracy, data.test_images),
        "test_images": data.test_images,
        "seconds": sum((row.train_seconds or 0) + (row.evaluation_seconds or 0) for row in rows),
    }


def split_settings(tables: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The settings that are equal in all tables, and those that differ, with one value per table.

    >>> split_settings([{"epochs": 1, "seed": 0}, {"epochs": 1, "seed": 3}])
    ({'epochs': 1}, {'seed': [0, 3]})
    """
    names = dict.fromkeys(name for table in tables for name in table)  # a package may be recorded in one run only
    rows = {name: [table.get(name) for table in tables] for name in names}
    equal = {name: cells[0] for name, cells in rows.items() if all(cell == cells[0] for cell in cells)}
    return equal, {name: cells for name, cells in rows.items() if name not in equal}


def name_as_text(name: str) -> str:
    """The name of a setting or result in words.

    >>> name_as_text("learning_rate"), name_as_text("test_accuracy_interval")
    ('learning rate', '95 % interval')
    """
    return NAMES.get(name, name.replace("_", " "))


def value_as_text(name: str, value: Any) -> str:
    """The value of a setting or result.

    >>> value_as_text("train_images", None), value_as_text("learning_rate", 1e-4), value_as_text("epochs", 1000)
    ('all', '0.0001', '1,000')
    """
    if value is None:
        return NONE.get(name, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in GROUPS:
        return str(GROUPS[name].parse(value))
    if form := FORMS.get(name.rpartition("_")[2]):
        return form(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def names_of(runs: Sequence[Run]) -> list[str]:
    """The names of runs, or their paths where two have the same name."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def rows_of(comparison: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The settings that differ and the results, as texts: per row a name, and one cell per run."""
    equal = _equal_results(comparison)
    settings = [
        (name_as_text(name), *(value_as_text(name, cell) for cell in cells))
        for name, cells in comparison["differing"].items()
    ]
    results = [
        (name_as_text(name), *("" if cell is None else value_as_text(name, cell) for cell in cells))
        for name, cells in comparison["results"].items()
        if name not in equal and not name.endswith("_images")
    ]
    return settings + results


def notes_of(comparison: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """What is equal in all runs, how the results were measured, and for two runs the difference of their accuracies."""
    results, gap = comparison["results"], comparison["difference"]
    notes = [equal_as_text(_equal_results(comparison) | comparison["equal"], len(names)), _measures(results)]
    if gap:
        change = signed(100 * gap["test_accuracy"])
        images = counted(gap["test_images"], "test image")
        notes.append(f"test accuracy of {names[0]} minus that of {names[1]}: {change} points, on the same {images}")
    return notes


def equal_as_text(equal: Mapping[str, Any], count: int) -> str:
    """What is equal in several runs: the main settings and those that are not the default, and how many more."""
    defaults = TrainConfig().model_dump()
    named = [name for name, value in equal.items() if name in (*ONCE, *MAIN) or value != defaults.get(name, value)]
    parts = [f"{name_as_text(name)} {value_as_text(name, equal[name])}" for name in named]
    parts += [f"and {len(equal) - len(named)} more"] if len(equal) > len(named) else []
    return f"equal in {'both' if count == 2 else f'all {count}'} runs: {', '.join(parts)}"


def _settings(run: Run) -> dict[str, Any]:
    environment = {name: run.environment.get(name) for name in ("engine", "device", "threads", "processor")}
    packages = {f"{name}_version": version for name, version in run.environment["packages"].items()}
    data = {"train_sha256": run.data.train_sha256, "test_sha256": run.data.test_sha256}
    return run.config.model_dump() | environment | packages | data


def _interval(accuracy: float | None, images: int) -> tuple[float, float] | None:
    return None if accuracy is None else wilson_interval(round(clip01(accuracy) * images), images)


def _difference(runs: Sequence[Run], results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The first accuracy minus the second, of two runs that were measured on the same test images."""
    accuracies = [row["test_accuracy"] for row in results]
    if len(runs) != 2 or None in accuracies or runs[0].data.test_sha256 != runs[1].data.test_sha256:
        return None
    return {"test_accuracy": accuracies[0] - accuracies[1], "test_images": results[0]["test_images"]}


def _equal_results(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """The results that are said once, since they are equal in all runs."""
    results = comparison["results"]
    return {name: results[name][0] for name in ONCE if len(set(results[name])) == 1}


def _measures(results: Mapping[str, list[Any]]) -> str:
    """The images that accuracies were measured on, and the units."""
    measured = []
    for split in ("validation", "test"):
        pairs = zip(results.get(f"{split}_accuracy", ()), results[f"{split}_images"], strict=False)
        if counts := sorted({images for accuracy, images in pairs if accuracy is not None}):
            measured.append(f"{split} accuracy: on {' or '.join(f'{count:,}' for count in counts)} images")
    losses = ["losses: nats per image"] if measured else []
    if "reconstruction_error" in results:
        losses.append("reconstruction error and an autoencoder's train loss: mean squared error per pixel")
    return "; ".join([*measured, *losses, "seconds: training and evaluation"])
