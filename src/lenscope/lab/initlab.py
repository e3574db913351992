"""Does it matter how the network starts? Random weights and what autoencoders learned without labels, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from lenscope.config import Autoencoding, TrainConfig
from lenscope.errors import UsageError
from lenscope.lab.experiment import Experiment, each_once, metrics_rows, whole
from lenscope.lab.kernels import film_rows, score_rows, unit_rows
from lenscope.lab.rows import collect
from lenscope.lab.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lenscope.data.dataset import Splits
    from lenscope.insight.findings import Findings
    from lenscope.lab.experiment import Runs, Tables
    from lenscope.lab.rows import Rows
    from lenscope.runs.run import Run


class Start(NamedTuple):
    """A way for a network to start.

    Attributes:
        words: what it is.
        network: that is trained with labels.
        init: its random weights, of what is not pretrained.
        autoencoder: that is trained without labels before, if any.
        autoencode: its settings.
    """

    words: str
    network: str = "lenet"
    init: str = "pytorch"
    autoencoder: str | None = None
    autoencode: Autoencoding = Autoencoding()


def _convolutional(words: str, **settings: float) -> Start:
    return Start(words, autoencoder="autoencoder", autoencode=Autoencoding(**settings))


STARTS = {
    "pytorch": Start("uniform in ±1/√fan-in, PyTorch's default"),
    "glorot": Start("Glorot and Bengio 2010", init="glorot"),
    "he": Start("He, Zhang, Ren and Sun 2015", init="he"),
    "orthogonal": Start("Saxe, McClelland and Ganguli 2014", init="orthogonal"),
    "plain": _convolutional("a convolutional autoencoder"),
    "masking": _convolutional("the same, a quarter of the pixels masked", masking=0.25),
    "gaussian": _convolutional("the same, with Gaussian noise of 0.3", gaussian=0.3),
    "kl": _convolutional("sparse: a target activity of 0.05, weight 0.1", kl=0.1, target=0.05),
    "l1": _convolutional("sparse: an L1 penalty of weight 0.01", l1=0.01),
    "both": _convolutional("a quarter masked, and the target activity", masking=0.25, kl=0.1, target=0.05),
    "mlp": Start("fully connected, PyTorch's default", network="mlp"),
    "stacked": Start("fully connected, a stacked autoencoder layer by layer", "mlp", autoencoder="mlp-autoencoder"),
}
CONTROL = "pytorch"
DECLARED = ("plain", "masking", "gaussian", "kl", "l1", "both")  # each against the control, at each number of labels
RATE = 1e-3  # of Adam, of both phases
SCORED, DRAWN, TILES = "conv1", 8, 12
ALL = 0  # labels: all that there are


class Initlab(Experiment):
    """Start networks in many ways, also from what autoencoders learned without labels, and fine-tune them."""

    name: ClassVar[str] = "initlab"

    labels: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (100, 1000, ALL), description="how many training images have labels; 0 is all"
    )
    pretrain_epochs: int = Field(2, ge=1, le=1_000, description="passes of the autoencoders over the training images")
    batch_size: int = Field(
        100, ge=1, le=1_000_000, description="images an update, of the autoencoders and of all labels"
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _take_a_list(cls, value: Any) -> Any:
        return each_once("labels", value)

    def check(self, splits: Splits) -> None:
        """Raise UsageError for more labels than there are images, before the autoencoders are trained."""
        images = len(splits.train)
        if max(self.labels) >= images:
            raise UsageError(f"--labels {max(self.labels)}: expected fewer than the {images} training images; 0 is all")
        if self.batch_size > images:
            raise UsageError(f"--batch-size {self.batch_size}: expected at most the {images} training images")

    def trials(self, runs: Runs) -> list[Trial]:
        """The autoencoders, and once they are done the networks, each from its start."""
        before = [
            self._pretraining(name, seed) for name in STARTS for seed in self.each_seed if STARTS[name].autoencoder
        ]
        if any(trial.name not in runs for trial in before):
            return before
        return before + [
            self._fine_tuning(name, labels, seed, runs)
            for seed in self.each_seed
            for labels in self.labels
            for name in STARTS
            if not STARTS[name].autoencoder or runs[_before(name, seed)].status.state == "finished"
        ]

    def _config(self, **settings: Any) -> TrainConfig:
        return TrainConfig(data=self.data, learning_rate=RATE, threads=1, **settings)

    def _pretraining(self, name: str, seed: int) -> Trial:
        start = STARTS[name]
        config = self._config(
            network=start.autoencoder,
            autoencode=start.autoencode,
            epochs=self.pretrain_epochs * (2 if start.autoencoder == "mlp-autoencoder" else 1),  # a layer at a time
            batch_size=self.batch_size,
            seed=seed,
        )
        return Trial(_before(name, seed), config, {"phase": "pretraining", "start": name, "labels": 0, "seed": seed})

    def _fine_tuning(self, name: str, labels: int, seed: int, runs: Runs) -> Trial:
        start = STARTS[name]
        batch_size, epochs = fine_tuning(labels, self.batch_size)
        config = self._config(
            network=start.network,
            init=start.init,
            epochs=epochs,
            batch_size=batch_size,
            train_images=labels or None,
            seed=seed,
            init_from=str(runs[_before(name, seed)].path) if start.autoencoder else None,
        )
        tags = {"phase": "fine-tuning", "start": name, "labels": labels, "seed": seed}
        return Trial(f"{name}-{labels or 'all'}-{seed}", config, tags)

    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:
        """The metrics of all, scores of conv1 at both ends, and kernels and reconstructions of the first seed."""
        from lenscope.lab.reconstructions import reconstruction_rows

        runs = whole(runs)
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

    def compared(self, results: Rows) -> Rows:
        """Those of the fine-tuned networks, not of the autoencoders that some start from."""
        return results.where(phase="fine-tuning")

    def conclude(self, tables: Tables) -> Findings:
        """Which starts help, with how many labels."""
        from lenscope.lab.initlab_findings import initlab_findings

        return initlab_findings(self, tables)


def fine_tuning(labels: int, batch_size: int) -> tuple[int, int]:
    """Images an update, and epochs: with few labels small batches and many epochs, 300 to 1,000 updates."""
    if labels == ALL:
        return batch_size, 3
    return (min(10, labels), 30) if labels < 1000 else (20, 20)


def _before(name: str, seed: int) -> str:
    return f"pretrain-{name}-{seed}"


def _result(trial: Trial, run: Run) -> dict[str, object]:
    """The last row of a run's metrics, with the number of images that it was trained on, and its seconds in all."""
    last = metrics_rows(trial, run)[-1]
    return last | {"labels": run.data.train_images, "seconds": float(np.nansum(run.metrics.train_seconds))}


def _ends(trial: Trial, run: Run) -> Iterator[dict[str, object]]:
    for row in score_rows(trial, run, {0, trial.config.epochs}):
        if row["layer"] == SCORED:
            yield row | {"labels": run.data.train_images}
