"""The result of a run in a few sentences, and its main settings and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lenscope.config import RECIPES, resolve
from lenscope.insight.mistakes import Evaluation
from lenscope.insight.reconstructions import Reconstructions
from lenscope.nets.layers import NETWORKS
from lenscope.text import counted

if TYPE_CHECKING:
    from lenscope.config import TrainConfig
    from lenscope.runs.run import Run

RISEN = 0.1  # relative increase of a held-out loss since its lowest value, from which on it is mentioned
STILL_FALLING = 0.02  # relative decrease of the loss in the last epoch, from which on training was not converged


def tell(run: Run, result: Evaluation | Reconstructions | None) -> str:
    """What happened, in a few sentences; `result` is the measurement of the trained network, where there is one."""
    return " ".join(filter(None, (_learned(run, result), how_it_ended(run), _overfitted(run) or _still_learning(run))))


def facts_of(run: Run, result: Evaluation | Reconstructions | None) -> list[tuple[str, str]]:
    """The main result, settings and figures, each with its name."""
    data, metrics = run.data, run.metrics
    speeds = metrics.images_per_second[np.isfinite(metrics.images_per_second)]
    return [
        _reconstruction_error(run, result) if run.config.reconstructs else ("accuracy", _accuracy(run, result)),
        ("data", f"{data.name}, {counted(data.train_images, 'training image')}"),
        ("network", NETWORKS[run.config.network].description),
        ("recipe", describe_recipe(run.config)),
        ("epochs", f"{_epochs_done(run):,} of {run.config.epochs:,}"),
        ("training", f"{float(np.nansum(metrics.train_seconds)):.1f} s"),
        ("speed", f"{np.median(speeds):,.0f} images per second" if len(speeds) else "not trained"),
        ("engine", _engine(run)),
        ("seed", str(run.config.seed)),
    ]


def describe_recipe(config: TrainConfig) -> str:
    """The recipe and its main settings."""
    batches = "the full training set per step" if config.full_batch else f"batches of {config.batch_size:,}"
    return f"{recipe_name(config)}: {config.optimizer}, learning rate {config.learning_rate:g}, {batches}"


def recipe_name(config: TrainConfig) -> str:
    """The recipe's name, and whether some of its settings were changed."""
    recipe = resolve(config.recipe)
    changed = any(getattr(config, name) != getattr(recipe, name) for name in RECIPES[config.recipe])
    return f"{config.recipe} with changes" if changed else config.recipe


def how_it_ended(run: Run) -> str:
    """In a sentence, where a run did not finish normally."""
    status, done = run.status, f"{_epochs_done(run):,} of {run.config.epochs:,} epochs"
    return {
        "finished": f"It stopped early: {status.why}." if status.why else "",
        "running": f"It is still training: {done} are done.",
        "interrupted": f"It was interrupted after {done}.",
        "failed": f"It failed: {status.why}.",
        "abandoned": f"Its process ended after {done}.",
    }[status.state]


def _learned(run: Run, result: Evaluation | Reconstructions | None) -> str:
    data, epochs, network = run.data, _epochs_done(run), NETWORKS[run.config.network].description
    origin = f", starting from the weights of {run.config.init_from}" if run.config.init_from else ""
    measured = f": {_measured(result)}" if result else ""
    if not epochs:
        return f"A {network} that has not finished an epoch on {data.name}{origin}{measured}."
    guessing = isinstance(result, Evaluation) and not _beats_guessing(result)
    task = "was trained to" if guessing else "learned to"
    if run.config.reconstructs:
        noise = "" if str(run.config.autoencode) == "none" else f" ({run.config.autoencode})"
        task += f" reconstruct its input{noise}, without labels,"
    else:
        task += f" classify the {counted(len(data.classes), 'class', 'classes')} of {data.name}"
    source = f" of {data.name}" if run.config.reconstructs else ""
    seconds = float(np.nansum(run.metrics.train_seconds))
    course = f"from {counted(data.train_images, 'image')}{source} in {counted(epochs, 'epoch')}"
    end = ", no better than guessing" if guessing else ""
    return f"A {network} {task} {course} ({seconds:.1f} s of training){origin}{measured}{end}."


def _measured(result: Evaluation | Reconstructions) -> str:
    if isinstance(result, Reconstructions):
        return f"{name_error(result.error)} on {len(result.errors):,} {result.shown}"
    return f"accuracy {100 * result.accuracy:.2f} % on {len(result.labels):,} {result.shown}"


def name_error(error: float) -> str:
    """A reconstruction error as it is written everywhere: the mean squared error per pixel, of pixels from 0 to 1."""
    return f"reconstruction error {error:z.4f}"


def _reconstruction_error(run: Run, result: Evaluation | Reconstructions | None) -> tuple[str, str]:
    name = "reconstruction error"
    if isinstance(result, Reconstructions):
        return name, f"{result.error:z.4f} per pixel on {len(result.errors):,} {result.shown}"
    split, error = run.metrics.rows()[-1].reconstruction if len(run.metrics) else (None, None)
    return name, "not measured" if error is None else f"{error:z.4f} per pixel on the {split} images"


def _beats_guessing(evaluation: Evaluation) -> bool:
    """Whether its accuracy is significantly higher than that of always predicting the most frequent class."""
    most = float(np.bincount(evaluation.labels).max()) / len(evaluation.labels)
    return evaluation.accuracy_interval.low > most


def _overfitted(run: Run) -> str:
    """Whether the test loss, or the validation loss where there is none, has risen since it was lowest."""
    for split in ("test", "validation"):
        losses = getattr(run.metrics, f"{split}_loss")
        measured = np.flatnonzero(np.isfinite(losses))
        if not len(measured):
            continue
        best, last = int(np.nanargmin(losses)), losses[measured[-1]]
        if not 0 < (1 + RISEN) * losses[best] <= last:
            return ""
        since = (
            f"after epoch {run.metrics.epoch[best]:,}; it has risen by {100 * (last / losses[best] - 1):.0f} % since"
        )
        return f"The {split} loss was lowest {since}, which is overfitting."
    return ""


def _still_learning(run: Run) -> str:
    """For a run that finished all its epochs, whether the loss was still falling at the end."""
    losses = run.metrics.train_loss[np.isfinite(run.metrics.train_loss)]
    if run.status.state != "finished" or run.status.why or len(losses) < 2 or not losses[-2] > 0:
        return ""
    fell = 1 - losses[-1] / losses[-2]
    if run.config.network == "mlp-autoencoder":  # whose two layers have different losses
        return ""
    words = f"The training loss was still falling, by {100 * fell:.0f} % in the last epoch."
    return words if fell >= STILL_FALLING else ""


def _accuracy(run: Run, result: Evaluation | Reconstructions | None) -> str:
    if isinstance(result, Evaluation):
        low, high = result.accuracy_interval
        shown = f"{100 * result.accuracy:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f})"
        return f"{shown} on the {result.split} images" if result.split else shown
    rows = run.metrics.rows()
    split, accuracy = rows[-1].measured if rows else (None, None)
    if accuracy is None:
        return "not measured"
    return f"{100 * accuracy:.2f} % on the {split} images, epoch {rows[-1].epoch:,}"


def _engine(run: Run) -> str:
    environment = run.environment
    threads = environment.get("threads")
    parts = [environment.get("engine"), environment.get("isa"), threads and counted(threads, "thread")]
    return ", ".join(str(part) for part in parts if part)


def _epochs_done(run: Run) -> int:
    return int(run.metrics.epoch[-1]) if len(run.metrics) else 0
