"""Compare initial weights: random ones, and those that autoencoders learned without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field

from lenscope.config import Autoencoding, TrainConfig
from lenscope.errors import UsageError
from lenscope.lab.execution.trials import Trial
from lenscope.lab.experiment import Experiment, unique_values
from lenscope.lab.tables.kernels import film_rows, score_rows, unit_rows
from lenscope.lab.tables.results import finished_runs, metrics_rows
from lenscope.lab.tables.rows import collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lenscope.data.dataset import Splits
    from lenscope.lab.experiment import Plan, Runs, Tables
    from lenscope.runs.run import Run


class Start(NamedTuple):
    """How the initial weights of a network are made.

    Attributes:
        description: in a few words.
        network: the network that is trained with labels.
        init: the random weights of its layers that are not pretrained.
        autoencoder: the autoencoder that is trained without labels before, if any.
        autoencode: its settings.
    """

    description: str
    network: str = "lenet"
    init: str = "pytorch"
    autoencoder: str | None = None
    autoencode: Autoencoding = Autoencoding()


def _convolutional(description: str, **settings: float) -> Start:
    return Start(description, autoencoder="autoencoder", autoencode=Autoencoding(**settings))


STARTS = {
    "pytorch": Start("PyTorch's default: uniform in ±1/√fan-in"),
    "glorot": Start("Glorot and Bengio 2010", init="glorot"),
    "he": Start("He, Zhang, Ren and Sun 2015", init="he"),
    "orthogonal": Start("Saxe, McClelland and Ganguli 2014", init="orthogonal"),
    "plain": _convolutional("a convolutional autoencoder"),
    "masking": _convolutional("a convolutional autoencoder, a quarter of the input pixels masked", masking=0.25),
    "gaussian": _convolutional("a convolutional autoencoder, Gaussian noise of 0.3 on the input", gaussian=0.3),
    "kl": _convolutional("a sparse autoencoder: target activity 0.05, weight 0.1", kl=0.1, target=0.05),
    "l1": _convolutional("a sparse autoencoder: L1 penalty of weight 0.01", l1=0.01),
    "both": _convolutional(
        "a sparse autoencoder (target activity 0.05), a quarter of the input pixels masked",
        masking=0.25,
        kl=0.1,
        target=0.05,
    ),
    "mlp": Start("fully connected network, PyTorch's default", network="mlp"),
    "stacked": Start(
        "fully connected network, a stacked autoencoder trained layer by layer", "mlp", autoencoder="mlp-autoencoder"
    ),
}
PRETRAINED = [name for name, start in STARTS.items() if start.autoencoder]
CONTROL = "pytorch"
DECLARED = ("plain", "masking", "gaussian", "kl", "l1", "both")  # compared with the control at each number of labels
RATE = 1e-3  # of Adam, in both phases
SCORED, DRAWN, TILES = "conv1", 8, 12
ALL = 0  # as a number of labels


class Initlab(Experiment):
    """Compare initial weights: random schemes, and the weights of autoencoders trained without labels."""

    name: ClassVar[str] = "initlab"
    compared: ClassVar[dict[str, str]] = {"phase": "fine-tuning"}

    labels: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(unique_values)] = Field(
        (100, 1000, ALL), description="numbers of training images with labels; 0 is all"
    )
    pretrain_epochs: int = Field(2, ge=1, le=1_000, description="epochs of the autoencoders")
    batch_size: int = Field(
        100, ge=1, le=1_000_000, description="images per batch of the autoencoders, and of fine-tuning with all labels"
    )

    def check(self, splits: Splits) -> None:
        """Raise UsageError for more labels, or larger batches, than there are training images."""
        images = len(splits.train)
        if max(self.labels) >= images:
            fitting = [labels for labels in self.labels if labels < images]
            raise UsageError(
                f"--labels {max(self.labels)}: expected fewer than the {images} training images; 0 is all; "
                f"try --labels {' '.join(map(str, fitting or [ALL]))}"
            )
        if self.batch_size > images:  # also the default: the other batches of fine-tuning are smaller
            raise UsageError(
                f"--batch-size {self.batch_size}: expected at most the {images} training images; "
                f"try --batch-size {images}"
            )

    def trials(self, runs: Runs) -> Plan:
        """The autoencoders, then the networks, each from its initial weights."""
        before = [self._pretraining(name, seed) for name in PRETRAINED for seed in self.each_seed]
        yield before
        trained = {trial.name: runs[trial.name] for trial in before}
        yield self._all_fine_tuning(
            {name: str(run.path) for name, run in trained.items() if run.status.state == "finished"}
        )

    def expected_trials(self) -> list[Trial]:
        """The autoencoders and the networks, as if from random initial weights."""
        before = [self._pretraining(name, seed) for name in PRETRAINED for seed in self.each_seed]
        return before + self._all_fine_tuning(dict.fromkeys((trial.name for trial in before), None))

    def _all_fine_tuning(self, origins: Mapping[str, str | None]) -> list[Trial]:
        """The networks; those whose autoencoder is none of the origins are omitted."""
        return [
            self._fine_tuning(name, labels, seed, origins.get(_pretraining_name(name, seed)))
            for seed in self.each_seed
            for labels in self.labels
            for name in STARTS
            if name not in PRETRAINED or _pretraining_name(name, seed) in origins
        ]

    def _config(self, **settings: Any) -> TrainConfig:
        return TrainConfig(data=self.data, learning_rate=RATE, evaluate="last", threads=1, **settings)

    def _pretraining(self, name: str, seed: int) -> Trial:
        start = STARTS[name]
        config = self._config(
            network=start.autoencoder,
            autoencode=start.autoencode,
            epochs=self.pretrain_epochs * (2 if start.autoencoder == "mlp-autoencoder" else 1),  # one layer at a time
            batch_size=self.batch_size,
            seed=seed,
        )
        return Trial(
            _pretraining_name(name, seed), config, {"phase": "pretraining", "start": name, "labels": 0, "seed": seed}
        )

    def _fine_tuning(self, name: str, labels: int, seed: int, origin: str | None) -> Trial:
        start = STARTS[name]
        batch_size, epochs = fine_tuning(labels, self.batch_size)
        config = self._config(
            network=start.network,
            init=start.init,
            epochs=epochs,
            batch_size=batch_size,
            train_images=labels or None,
            seed=seed,
            init_from=origin,
        )
        tags = {"phase": "fine-tuning", "start": name, "labels": labels, "seed": seed}
        return Trial(f"{name}-{labels or 'all'}-{seed}", config, tags)

    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:
        """Last metrics, conv1's scores before and after, and the first seed's kernels and reconstructions."""
        from lenscope.lab.tables.reconstructions import reconstruction_rows

        runs = finished_runs(runs)
        tuned = [(trial, run) for trial, run in runs if trial.tags["phase"] == "fine-tuning"]
        first = [(trial, run) for trial, run in runs if trial.config.seed == self.each_seed[0]]
        most = ALL if ALL in self.labels else max(self.labels)
        wanted = {"labels": most, "seed": self.each_seed[0]}
        drawn = [(trial, run) for trial, run in tuned if wanted.items() <= dict(trial.tags).items()]
        autoencoders = [(trial, run) for trial, run in first if trial.config.network == "autoencoder"]
        return {
            "results": collect(_result(trial, run) for trial, run in runs),
            "kernels": collect(row for trial, run in tuned for row in _ends(trial, run)),
            "films": collect(row for trial, run in drawn if run.film.kernels for row in film_rows(trial, run)),
            "units": collect(
                row for trial, run in drawn if not run.film.kernels for row in unit_rows(trial, run, "fc1", TILES)
            ),
            "reconstructions": collect(reconstruction_rows(autoencoders, splits, DRAWN)),
        }


def fine_tuning(labels: int, batch_size: int) -> tuple[int, int]:
    """Batch size and epochs: with few labels small batches and many epochs, 300 to 1,000 steps."""
    if labels == ALL:
        return batch_size, 3
    return (min(10, labels), 30) if labels < 1000 else (20, 20)


def _pretraining_name(name: str, seed: int) -> str:
    return f"pretrain-{name}-{seed}"


def _result(trial: Trial, run: Run) -> dict[str, object]:
    """The last row of a run's metrics, with its number of training images and its total seconds of training."""
    last = metrics_rows(trial, run)[-1]
    return last | {"labels": run.data.train_images, "seconds": float(np.nansum(run.metrics.train_seconds))}


def _ends(trial: Trial, run: Run) -> Iterator[dict[str, object]]:
    for row in score_rows(trial, run, {0, trial.config.epochs}):
        if row["layer"] == SCORED:
            yield row | {"labels": run.data.train_images}
