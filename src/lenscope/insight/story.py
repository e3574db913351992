"""What happened in a run, in plain words and in facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from lenscope.config import RECIPES, resolve
from lenscope.insight.mistakes import Evaluation
from lenscope.text import counted

if TYPE_CHECKING:
    from lenscope.config import TrainConfig
    from lenscope.insight.reconstructions import Reconstructions
    from lenscope.runs.run import Run

NETWORKS = {
    "lenet": "LeNet",
    "lenet1998": "LeNet-5 of 1998",
    "mlp": "fully connected network",
    "autoencoder": "convolutional autoencoder",
    "mlp-autoencoder": "stack of fully connected autoencoders",
}
STILL_FALLING = 0.02  # of the loss in the last epoch, from which on we say that it was not done


def tell(run: Run, result: Evaluation | Reconstructions | None) -> str:
    """What happened, in a few sentences; `result` is what was measured, of an autoencoder its reconstructions."""
    if run.config.reconstructs:
        learned = _returns(run, result)
    else:
        learned = _learned(run, result if isinstance(result, Evaluation) else None)
    return " ".join(filter(None, (learned, how_it_ended(run), _still_learning(run))))


def facts_of(run: Run, result: Evaluation | Reconstructions | None) -> list[tuple[str, str]]:
    """What one wants to know first, each with its name."""
    data, metrics = run.data, run.metrics
    speeds = metrics.images_per_second[np.isfinite(metrics.images_per_second)]
    return [
        _outcome(run, result),
        ("data", f"{data.name}, {counted(data.train_images, 'training image')}"),
        ("network", NETWORKS.get(run.config.network, run.config.network)),
        ("recipe", describe_recipe(run.config)),
        ("epochs", f"{_epochs_done(run):,} of {run.config.epochs:,}"),
        ("training", f"{float(np.nansum(metrics.train_seconds)):.1f} s"),
        ("speed", f"{np.median(speeds):,.0f} images a second" if len(speeds) else "not trained"),
        ("engine", _engine(run)),
        ("seed", str(run.config.seed)),
    ]


def describe_recipe(config: TrainConfig) -> str:
    """The recipe and what matters most of it."""
    batches = "all images a step" if config.optimizer == "gd" else f"batches of {config.batch_size:,}"
    return f"{recipe_name(config)}: {config.optimizer}, rate {config.learning_rate:g}, {batches}"


def recipe_name(config: TrainConfig) -> str:
    """The recipe's name, and whether some of its settings were changed."""
    recipe = resolve(config.recipe)
    changed = any(getattr(config, name) != getattr(recipe, name) for name in RECIPES[config.recipe])
    return f"{config.recipe} with changes" if changed else config.recipe


def how_it_ended(run: Run) -> str:
    """In a sentence, where a run did not simply finish."""
    status, done = run.status, f"{_epochs_done(run):,} of {run.config.epochs:,} epochs"
    return {
        "finished": f"It stopped early: {status.why}." if status.why else "",
        "running": f"It is still being trained: {done} are done.",
        "interrupted": f"It was interrupted after {done}.",
        "failed": f"It failed: {status.why}.",
        "abandoned": f"Its process is gone; {done} were done.",
    }[status.state]


def _learned(run: Run, evaluation: Evaluation | None) -> str:
    data, epochs = run.data, _epochs_done(run)
    network = NETWORKS.get(run.config.network, run.config.network)
    origin = f", beginning with the weights of {run.config.init_from}" if run.config.init_from else ""
    classes = f"the {counted(len(data.classes), 'class', 'classes')} of {data.name}"
    if not epochs:
        right = f" It gets {_share(evaluation)} right." if evaluation else ""
        return f"A {network} that has not finished an epoch on {classes}{origin}.{right}"
    learned = "was trained" if evaluation and not _beats_guessing(evaluation) else "learned"
    seconds = float(np.nansum(run.metrics.train_seconds))
    course = f"from {counted(data.train_images, 'image')} in {counted(epochs, 'epoch')} ({seconds:.1f} s of training)"
    right = f": {_share(evaluation)} right" if evaluation else ""
    guessing = ", no better than guessing" if learned == "was trained" else ""
    return f"A {network} {learned} to tell {classes} apart {course}{origin}{right}{guessing}."


def _returns(run: Run, result: Evaluation | Reconstructions | None) -> str:
    """The same of an autoencoder."""
    data, epochs, network = run.data, _epochs_done(run), NETWORKS[run.config.network]
    origin = f", beginning with the weights of {run.config.init_from}" if run.config.init_from else ""
    error = f": {name_error(result.error)} on {len(result.errors):,} {result.shown}" if _is_returned(result) else ""
    if not epochs:
        return f"A {network} that has not finished an epoch on {data.name}{origin}{error}."
    seconds = float(np.nansum(run.metrics.train_seconds))
    how = str(run.config.autoencode)
    task = "give its input back" if how == "none" else f"give its input back ({how})"
    course = f"from {counted(data.train_images, 'image')} of {data.name} in {counted(epochs, 'epoch')}"
    return f"A {network} learned to {task}, without labels, {course} ({seconds:.1f} s of training){origin}{error}."


def _is_returned(result: Evaluation | Reconstructions | None) -> TypeGuard[Reconstructions]:
    return result is not None and not isinstance(result, Evaluation)


def name_error(error: float) -> str:
    """A reconstruction error as it is written everywhere: the mean squared error of a pixel from 0 to 1."""
    return f"reconstruction error {error:z.4f}"


def _outcome(run: Run, result: Evaluation | Reconstructions | None) -> tuple[str, str]:
    """What came of it, with its name: the accuracy, or an autoencoder's error."""
    if not run.config.reconstructs:
        return "accuracy", _accuracy(run, result if isinstance(result, Evaluation) else None)
    if _is_returned(result):
        return "reconstruction error", f"{result.error:z.4f} a pixel on {len(result.errors):,} {result.shown}"
    part, error = run.metrics.rows()[-1].reconstruction if len(run.metrics) else (None, None)
    return "reconstruction error", "not measured" if error is None else f"{error:z.4f} a pixel on the {part} images"


def _beats_guessing(evaluation: Evaluation) -> bool:
    """Whether it is surely better than to give the most frequent class each time."""
    most = float(np.bincount(evaluation.labels).max()) / len(evaluation.labels)
    return evaluation.accuracy_interval.low > most


def _still_learning(run: Run) -> str:
    """Of a run that was let to its end, whether the loss went on falling there."""
    losses = run.metrics.train_loss[np.isfinite(run.metrics.train_loss)]
    if run.status.state != "finished" or run.status.why or len(losses) < 2 or not losses[-2] > 0:
        return ""
    fell = 1 - losses[-1] / losses[-2]
    if run.config.network == "mlp-autoencoder":  # whose two layers have losses of different things
        return ""
    words = f"The training loss was still falling, by {100 * fell:.0f} % in the last epoch."
    return words if fell >= STILL_FALLING else ""


def _share(evaluation: Evaluation) -> str:
    return f"{100 * evaluation.accuracy:.2f} % of {len(evaluation.labels):,} {evaluation.shown}"


def _accuracy(run: Run, evaluation: Evaluation | None) -> str:
    if evaluation:
        low, high = evaluation.accuracy_interval
        shown = f"{100 * evaluation.accuracy:.2f} % (95 %: {100 * low:.2f} to {100 * high:.2f})"
        return f"{shown} of the {evaluation.part} images" if evaluation.part else shown
    rows = run.metrics.rows()
    part, accuracy = rows[-1].measured if rows else (None, None)
    if accuracy is None:
        return "not measured"
    return f"{100 * accuracy:.2f} % of the {part} images, epoch {rows[-1].epoch:,}"


def _engine(run: Run) -> str:
    environment = run.environment
    threads = environment.get("threads")
    parts = [environment.get("engine"), environment.get("isa"), threads and counted(threads, "thread")]
    return ", ".join(str(part) for part in parts if part)


def _epochs_done(run: Run) -> int:
    return int(run.metrics.epoch[-1]) if len(run.metrics) else 0
