"""`lenscope train` and `lenscope plot`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import tyro
from pydantic import Field

from lenscope.cli.command import Command, DataDir, JsonFlag, MeasuredData, parse, program
from lenscope.cli.output import percent, percent_range, print_json, print_line, print_note
from lenscope.config import Augmentation, Autoencoding, Table, TrainConfig, resolve
from lenscope.errors import UsageError, needed_by
from lenscope.training.ranks import describe_exposure, find_place

if TYPE_CHECKING:
    from lenscope.data.dataset import Dataset
    from lenscope.pytorch.ranks import Ranks
    from lenscope.runs.run import Run
    from lenscope.training.ranks import Place

_FIELDS: dict[str, Any] = {**TrainConfig.model_fields}
OWN = ("resume", "out", "config", "data_dir", "pictures", "report", "quiet", "json_output")
TO_RESUME = {"--resume", "--epochs", "--data", "--data-dir", "--quiet", "--json"} | {
    f"--{no}{what}" for no in ("", "no-") for what in ("pictures", "report")
}


def _table(kind: type[Table]) -> Any:
    """How an option of NAME=NUMBER,… becomes a table of settings, and what the help shows of one."""
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME=NUMBER,…",
        instance_from_str=lambda words: kind.parse(words[0]),
        is_instance=lambda value: isinstance(value, kind),
        str_from_instance=lambda value: [str(value)],
    )


class Train(TrainConfig):
    """Train a network and keep everything about it in a run directory.

    Settings count in this order: defaults, --recipe, --config, other options.
    """

    learning_rate: Annotated[float, tyro.conf.arg(aliases=["--lr"])] = _FIELDS["learning_rate"]
    augment: Annotated[Augmentation, _table(Augmentation)] = _FIELDS["augment"]
    autoencode: Annotated[Autoencoding, _table(Autoencoding)] = _FIELDS["autoencode"]
    train_images: Annotated[int | None, tyro.conf.arg(metavar="INT")] = _FIELDS["train_images"]
    patience: Annotated[int | None, tyro.conf.arg(metavar="INT")] = _FIELDS["patience"]
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = _FIELDS["threads"]
    checkpoint_every: Annotated[str | None, tyro.conf.arg(metavar="N|Ns|Nsteps")] = _FIELDS["checkpoint_every"]
    init_from: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = _FIELDS["init_from"]
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = Field(
        None,
        description="go on with this run, with its own settings, --epochs may be more, --data tells where its data are",
    )
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="TOML file of settings, such as a run's config.toml"
    )
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = Field(
        None, description="the run's directory, which must not exist; by default the next free one under runs/"
    )
    data_dir: DataDir = None
    pictures: bool = Field(default=True, description="draw the pictures into the run's plots/")
    report: bool = Field(default=True, description="write report.html")
    quiet: bool = Field(default=False, description="print the last line only")
    json_output: JsonFlag = False

    @classmethod
    def parse(cls, program: str, arguments: list[str]) -> Self:
        """The command with its options over recipe and file; raises UsageError."""
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        first.add_argument("--recipe", nargs="?")
        first.add_argument("--config", nargs="?", type=Path)
        first.add_argument("--resume", nargs="?")
        found, _ = first.parse_known_args(arguments)
        if found.resume is not None:
            return cls._parse_to_resume(program, arguments)
        default = cls(**resolve(found.recipe, found.config).model_dump())
        return parse(cls, program, arguments, default)

    @classmethod
    def _parse_to_resume(cls, program: str, arguments: list[str]) -> Self:
        """The command where a run goes on: its settings are the run's; raises UsageError for another option."""
        from lenscope.runs.resume import settings_to_resume

        given = [word.partition("=")[0].replace("_", "-") for word in arguments if word.startswith("--")]
        others = [option for option in given if option not in {*TO_RESUME, "--help"}]
        if others:
            raise UsageError(f"{others[0]} with --resume: a run goes on with its own settings; leave it out")
        command = parse(cls, program, arguments, cls())
        if command.resume is None:
            raise UsageError("--resume: got nothing, expected a run directory")
        place = find_place()
        if place and place.rank:  # the first rank tells it, whose machine may be the only one that has the directory
            return command
        config = settings_to_resume(command.resume, command.epochs if "--epochs" in given else None)
        kept = {"data": command.data} if "--data" in given else {}
        return command.model_copy(update={**dict(config), **kept})

    def execute(self) -> None:
        """Train, draw the pictures, write the report, and say where they are; with several ranks, the first does."""
        place = find_place()
        if place is None:
            self._lead(None)
        else:
            self._execute_as_rank(place)

    def _execute_as_rank(self, place: Place) -> None:
        from lenscope import api
        from lenscope.runs.follow import follow_run

        exposed = describe_exposure()
        if exposed and not place.rank:
            print_note(f"lenscope train: warning: {exposed}")
        with needed_by("training by several ranks"):
            from lenscope.pytorch.ranks import join
        ranks = join(place)
        if place.rank:
            follow_run(ranks, partial(api.load_own, data_dir=self.data_dir))
        else:
            self._lead(ranks)
        ranks.leave()

    def _lead(self, ranks: Ranks | None) -> None:
        self._say(f"reading {self.data} …")  # before anything is imported that takes time
        run, part = self._train(ranks)
        try:
            if self.pictures:
                self._draw(run, part)
            if self.report:
                self._write_report(run, part)
        finally:  # the run is there even if a picture fails
            self._tell(run)

    def _train(self, ranks: Ranks | None) -> tuple[Run, Dataset]:
        """The run, and the images to measure it on; the data are read once."""
        from lenscope import api

        progress = not self.quiet
        if self.resume:
            from lenscope.runs.resume import settings_to_resume

            own = settings_to_resume(self.resume, self.epochs)
            data = api.load_own(own, self.data_dir, self.data, progress=progress)
            run = api.resume(self.resume, data=data, epochs=self.epochs, progress=progress, ranks=ranks)
        else:
            settings = TrainConfig(**self.model_dump(exclude=set(OWN)))
            skip = settings.skip_unreadable
            data = api.load(settings.data, data_dir=self.data_dir, skip_unreadable=skip, progress=progress)
            run = api.train(data, out=self.out, progress=progress, config=settings, ranks=ranks)
        return run, api.part_to_measure(run, data)

    def _draw(self, run: Run, part: Dataset) -> None:
        from lenscope import api

        self._say("drawing the pictures …")
        pictures = [path.name for path in api.plot(run, data=part)]
        if pictures:
            self._say(f"look at {run.path / 'plots'}: {', '.join(pictures)}")
        if "kernels-conv2.png" in pictures:
            self._say(f"with another kernel of conv2: {program()} plot {run.path} --kernel 7")

    def _write_report(self, run: Run, part: Dataset) -> None:
        from lenscope import api

        self._say("writing the report …")
        report = api.report(run, data=part)
        running = ", with the network running in the page" if run.architecture.has_maps else ""
        self._say(f"open {report} in a browser: all of it in one file{running}")

    def _say(self, text: str) -> None:
        if not self.quiet:
            print_note(text)

    def _tell(self, run: Run) -> None:
        result = describe_result(run)
        if self.json_output:
            print_json(result)
        else:
            print_line(result_line(result))


class Plot(Command):
    """Draw a run's pictures into its plots/, anew where they exist."""

    run: tyro.conf.Positional[Path] = Field(description="run directory")
    kernel: int = Field(0, ge=0, description="which kernel of conv2 is shown, from 0")
    data: MeasuredData = None
    data_dir: DataDir = None
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Draw, and print the paths."""
        from lenscope import api

        paths = [str(path) for path in api.plot(self.run, kernel=self.kernel, data=self.data, data_dir=self.data_dir)]
        if self.json_output:
            print_json(paths)
        else:
            print_line(*paths)


def describe_result(run: Run) -> dict[str, Any]:
    """What came of a finished run, as plain values; what does not apply is None."""
    import numpy as np

    from lenscope.insight.intervals import wilson_interval

    last = run.metrics.rows()[-1]
    part, accuracy = last.measured
    counts = {"test": run.data.test_images, "validation": run.data.validation_images}
    images = counts.get(part or "", 0)
    interval = None if accuracy is None else wilson_interval(round(accuracy * images), images)
    error_part, error = last.reconstruction if run.config.reconstructs else (None, None)
    return {
        "run": str(run.path),
        "epochs": last.epoch,
        "accuracy": accuracy,
        "accuracy_interval": interval,
        "accuracy_part": part,
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
    epochs = f"{result['epochs']} epoch{'' if result['epochs'] == 1 else 's'}"
    time = f"{epochs} in {seconds:.1f} s, {result['train_seconds']:.1f} s of them training"
    early = f" (stopped: {result['why']})" if result["why"] else ""
    if result["reconstruction_error"] is not None:
        images = f"{result['reconstruction_images']:,} {result['reconstruction_part']} images"
        return f"{result['run']}: {name_error(result['reconstruction_error'])} on {images}; {time}{early}"
    if result["accuracy"] is None:
        return f"{result['run']}: training loss {result['train_loss']:z.4f}; {time}{early}"
    images = f"{result['images']:,} {result['accuracy_part']} images"
    return (
        f"{result['run']}: {percent(result['accuracy'])} of {images} right, "
        f"95 % Wilson interval {percent_range(result['accuracy_interval'])}; {time}{early}"
    )
