"""`lenscope train`."""

from __future__ import annotations

from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import tyro
from pydantic import Field

import lenscope
from lenscope.cli.command import Command, DataDir, comma_list, early
from lenscope.cli.output import print_note, program
from lenscope.config import Augmentation, Autoencoding, TrainConfig, resolve
from lenscope.errors import UsageError, needed_by
from lenscope.numbers_as_text import percent, percent_range
from lenscope.text import counted
from lenscope.training.ranks import describe_exposure, find_rank_info

if TYPE_CHECKING:
    from lenscope.data.dataset import Dataset
    from lenscope.pytorch.ranks import ProcessGroup
    from lenscope.runs.run import Run
    from lenscope.training.ranks import RankInfo

_FIELDS: dict[str, Any] = {**TrainConfig.model_fields}
MOST_SMALL, SMALL_BATCH = 2_000, 8  # images of a small data set
FEW_STEPS, ENOUGH_STEPS = 300, 500
OWN = ("resume", "out", "config", "data_dir", "pictures", "report", "quiet", "json_output")
TO_RESUME = {"--resume", "--epochs", "--data", "--data-dir", "--quiet", "--json"} | {
    f"--{no}{what}" for no in ("", "no-") for what in ("pictures", "report")
}


class Train(TrainConfig, Command):
    """Train a network and save everything about it in a run directory.

    Precedence, lowest to highest: defaults, --recipe, --config, other options.
    """

    data: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = _FIELDS["data"]
    learning_rate: Annotated[float, tyro.conf.arg(aliases=["--lr"])] = _FIELDS["learning_rate"]
    augment: Annotated[Augmentation, comma_list("NAME=NUMBER,…", Augmentation.parse)] = _FIELDS["augment"]
    autoencode: Annotated[Autoencoding, comma_list("NAME=NUMBER,…", Autoencoding.parse)] = _FIELDS["autoencode"]
    validation: Annotated[int | float | None, tyro.conf.arg(metavar="COUNT|FRACTION")] = _FIELDS["validation"]
    stratify: bool = Field(default=True, description="hold out images regardless of their class")
    train_images: Annotated[int | None, tyro.conf.arg(metavar="INT")] = _FIELDS["train_images"]
    patience: Annotated[int | None, tyro.conf.arg(metavar="INT")] = _FIELDS["patience"]
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = _FIELDS["threads"]
    checkpoint_every: Annotated[str | None, tyro.conf.arg(metavar="N|Ns|Nsteps")] = _FIELDS["checkpoint_every"]
    init_from: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = _FIELDS["init_from"]
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = Field(
        None,
        description="resume this run (its directory, its name in runs/, or last) with its own settings; --epochs may "
        "be higher, --data names moved training data",
    )
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="TOML file of settings, such as a run's config.toml"
    )
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = Field(
        None, description="the new run directory; by default the next free one under runs/"
    )
    data_dir: DataDir = None
    pictures: bool = Field(default=True, description="do not draw pictures into the run's plots/")
    report: bool = Field(default=True, description="do not write report.html")
    quiet: bool = Field(default=False, description="print only the last line")

    @classmethod
    def before_options(cls, arguments: list[str]) -> Self | None:
        """The command with the settings of recipe and file."""
        found = early(arguments, "recipe", "config", "resume")
        if found.get("resume") is not None:
            return None
        file = found.get("config")
        settings = resolve(found.get("recipe"), None if file is None else Path(file))
        return cls(**settings.model_dump())

    @classmethod
    def parse(cls, program: str, arguments: list[str]) -> Self:
        """The command with its options over recipe and file, or with the settings of the run to resume.

        Raises:
            UsageError: an option that cannot be read, or that would change the settings of a run.
        """
        command = super().parse(program, arguments)
        return command if command.resume is None else command.with_settings_of(command.resume, arguments)

    def with_settings_of(self, name: Path, arguments: list[str]) -> Self:
        """The command with the settings of a run to resume, apart from those that may change."""
        from lenscope.runs.resume import settings_to_resume
        from lenscope.runs.run import locate_run

        given = [word.partition("=")[0].replace("_", "-") for word in arguments if word.startswith("--")]
        others = [option for option in given if option not in TO_RESUME]
        if others:
            raise UsageError(f"{others[0]} with --resume: a run resumes with its own settings; leave this out")
        place = find_rank_info()
        if place and place.rank:  # only the machine of the first rank needs to have the directory
            return self
        run = locate_run(name)
        config = settings_to_resume(run, self.epochs if "--epochs" in given else None)
        kept = {"data": self.data} if "--data" in given else {}
        return self.model_copy(update={**dict(config), **kept, "resume": run})

    def execute(self) -> None:
        """Train, draw the pictures and write the report; of several ranks, only the first draws, writes and prints."""
        place = find_rank_info()
        if place is None:
            self._lead(None)
        else:
            self._execute_as_rank(place)

    def _execute_as_rank(self, place: RankInfo) -> None:
        from lenscope.api.data import load_own
        from lenscope.runs.follow import follow_run

        exposed = describe_exposure()
        if exposed and not place.rank:
            print_note(f"lenscope train: warning: {exposed}")
        with needed_by("training by several ranks"):
            from lenscope.pytorch.ranks import join
        ranks = join(place)
        if place.rank:
            follow_run(ranks, partial(load_own, data_dir=self.data_dir))
        else:
            self._lead(ranks)
        ranks.leave()

    def _lead(self, ranks: ProcessGroup | None) -> None:
        self._say(f"reading {self.data} …")  # before slow imports
        run, split = self._train(ranks)
        try:
            if self.pictures:
                self._draw(run, split)
            if self.report:
                self._write_report(run, split)
        finally:  # the run is complete even if a picture fails
            result = describe_result(run)
            self._advise(run)
            self.show(result, result_line(result))

    def _train(self, ranks: ProcessGroup | None) -> tuple[Run, Dataset]:
        """The run, and the images to measure it on; the data are read only once."""
        from lenscope import api
        from lenscope.api.data import load_own, split_to_measure

        progress = not self.quiet
        if self.resume:
            from lenscope.runs.resume import settings_to_resume

            own = settings_to_resume(self.resume, self.epochs)
            data = load_own(own, self.data_dir, self.data, progress=progress)
            run = api.resume(self.resume, data=data, epochs=self.epochs, progress=progress, ranks=ranks)
        else:
            settings = TrainConfig(**self.model_dump(exclude=set(OWN)))
            skip, fit = settings.skip_unreadable, settings.fit
            data = api.load(settings.data, data_dir=self.data_dir, skip_unreadable=skip, fit=fit, progress=progress)
            run = api.train(data, out=self.out, progress=progress, config=settings, ranks=ranks)
        return run, split_to_measure(run, data)

    def _draw(self, run: Run, split: Dataset) -> None:
        self._say("drawing the pictures …")
        pictures = [path.name for path in lenscope.plot(run, data=split)]
        if pictures:
            self._say(f"pictures in {run.path / 'plots'}: {', '.join(pictures)}")
        if "kernels-conv2.png" in pictures:
            self._say(f"to show another kernel of conv2: {program()} plot {run.path} --kernel 7")

    def _write_report(self, run: Run, split: Dataset) -> None:
        self._say("writing the report …")
        report = lenscope.report(run, data=split)
        running = ", with the network running in it" if run.architecture.has_maps else ""
        self._say(f"the whole run in one page{running}: {report}; open it with: {program()} open {run.path}")

    def _advise(self, run: Run) -> None:
        """Say what to try where a small data set gave so few steps that a network learns little."""
        images, steps = run.data.train_images, len(run.losses)
        if images <= MOST_SMALL and steps < FEW_STEPS:
            epochs = 10 * ceil(ENOUGH_STEPS / ceil(images / SMALL_BATCH) / 10)
            settings = f"--batch-size {SMALL_BATCH} --epochs {epochs} --lr 1e-3"
            self._say(f"{counted(steps, 'step')} of training {'is' if steps == 1 else 'are'} few; try {settings}")

    def _say(self, text: str) -> None:
        if not self.quiet:
            print_note(text)


def describe_result(run: Run) -> dict[str, Any]:
    """The results of a finished run as plain values; None for those that do not apply."""
    import numpy as np

    from lenscope.insight.intervals import wilson_interval

    last = run.metrics.rows()[-1]
    split, accuracy = last.measured
    counts = {"test": run.data.test_images, "validation": run.data.validation_images}
    images = counts.get(split or "", 0)
    interval = None if accuracy is None else wilson_interval(round(accuracy * images), images)
    error_part, error = last.reconstruction if run.config.reconstructs else (None, None)
    return {
        "run": str(run.path),
        "epochs": last.epoch,
        "accuracy": accuracy,
        "accuracy_interval": interval,
        "accuracy_part": split,
        "images": images,
        "reconstruction_error": error,
        "reconstruction_part": error_part,
        "reconstruction_images": counts.get(error_part or "", 0),
        "train_loss": last.train_loss,
        "train_seconds": float(np.nansum(run.metrics.train_seconds)),
        "evaluation_seconds": float(np.nansum(run.metrics.evaluation_seconds)),
        "why": run.status.why,
    }


def result_line(result: dict[str, Any]) -> str:
    """The last line of a training run."""
    from lenscope.insight.story import name_error

    seconds = result["train_seconds"] + result["evaluation_seconds"]
    time = f"{counted(result['epochs'], 'epoch')} in {seconds:.1f} s, of which {result['train_seconds']:.1f} s training"
    early = f" (stopped: {result['why']})" if result["why"] else ""
    if result["reconstruction_error"] is not None:
        images = f"{result['reconstruction_images']:,} {result['reconstruction_part']} images"
        return f"{result['run']}: {name_error(result['reconstruction_error'])} on {images}; {time}{early}"
    if result["accuracy"] is None:
        return f"{result['run']}: training loss {result['train_loss']:z.4f}; {time}{early}"
    images = f"{result['images']:,} {result['accuracy_part']} images"
    return (
        f"{result['run']}: accuracy {percent(result['accuracy'])} on {images}, "
        f"95 % Wilson interval {percent_range(result['accuracy_interval'])}; {time}{early}"
    )
