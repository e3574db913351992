"""`lenscope evaluate` and `lenscope predict`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import Field

from lenscope.cli.command import Command, DataDir, JsonFlag, MeasuredData
from lenscope.cli.output import percent, percent_range, print_json, print_line, print_note, print_table
from lenscope.config import Preparation

if TYPE_CHECKING:
    from lenscope.insight.answers import Prediction
    from lenscope.runs.run import Run


class Evaluate(Command):
    """Measure a run's trained network on a labelled set: accuracy, interval, each class; an autoencoder's error."""

    run: tyro.conf.Positional[Path] = Field(description="run directory")
    data: MeasuredData = None
    data_dir: DataDir = None
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Measure and print."""
        from lenscope import api
        from lenscope.runs.run import open_run

        run = open_run(self.run)
        if run.config.reconstructs:
            self._reconstruct(run)
            return
        evaluation = api.evaluate(run, self.data, data_dir=self.data_dir)
        interval = evaluation.accuracy_interval
        if self.json_output:
            classes = [asdict(score) for score in evaluation.by_class]
            facts = {
                "run": str(run.path),
                "data": evaluation.dataset,
                "part": evaluation.part,
                "images": len(evaluation.labels),
            }
            measured = {"accuracy": evaluation.accuracy, "accuracy_interval": interval, "loss": evaluation.loss}
            print_json({**facts, **measured, "classes": classes})
            return
        header = ("class", "images", "found", "95 % interval", "of those called it, right")
        rows = [
            (
                score.name,
                f"{score.images:,}",
                percent(score.recall),
                percent_range(score.recall_interval),
                "never called" if score.precision is None else percent(score.precision),
            )
            for score in evaluation.by_class
        ]
        print_table([header, *rows])
        print_line(
            f"{evaluation.dataset}: {percent(evaluation.accuracy)} of {len(evaluation.labels):,} {evaluation.part} "
            "images right, "
            f"95 % Wilson interval {percent_range(interval)}; loss {evaluation.loss:z.4f} nats an image"
        )

    def _reconstruct(self, run: Run) -> None:
        from lenscope import api
        from lenscope.insight.story import name_error

        found = api.reconstruct(run, self.data, data_dir=self.data_dir)
        if self.json_output:
            print_json({"run": str(run.path), **found.as_dict()})
        else:
            error = f"{name_error(found.error)} (mean squared error a pixel)"
            print_line(f"{found.dataset}: {error} on {len(found.errors):,} {found.part} images")


class Predict(Command):
    """Ask a run's network what pictures show; each is prepared as the run's training images are drawn.

    An answer is unsure where its lead, its log-probability minus the mean of all classes', is lower than that of 99 in
    100 images that the run held out (or, where it held out none, trained on).
    """

    run: tyro.conf.Positional[Path] = Field(description="run directory")
    files: tyro.conf.Positional[tuple[Path, ...]] = Field(description="pictures: PNG, JPEG and others, of any size")
    prepare: Preparation = Field(
        "auto",
        description="auto: as the training images are drawn; digit: find the digit and centre it; resize: only resize",
    )
    show: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = Field(
        None, description="write each step of the preparation as a picture into this directory"
    )
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Predict and print."""
        from lenscope import api
        from lenscope.errors import DataError, UsageError
        from lenscope.insight.answers import describe_preparation
        from lenscope.runs.run import open_run

        if not self.files:
            raise UsageError("got no picture, expected at least one; lenscope predict RUN FILE…")
        run = open_run(self.run)
        answers = api.predict_each(run, self.files, prepare=self.prepare)
        print_note(describe_preparation(run.data, self.prepare))
        rows: list[dict[str, object]] = []
        for file, name, found in zip(self.files, self._names(), answers, strict=True):
            try:
                if isinstance(found, DataError):
                    raise found
                shown = api.show_preparation(found, self.show, name) if self.show else None
            except DataError as error:
                print_note(f"lenscope predict: {error}")
                rows.append({"file": str(file), "error": str(error)})
                continue
            rows.append(_as_row(found))
            if not self.json_output:
                print_line(_as_line(found), *([f"steps: {shown}"] if shown else []))
        if self.json_output:
            print_json(rows)
        if any("error" in row for row in rows):
            raise SystemExit(1)

    def _names(self) -> list[str]:
        """A name of its own for a file of each picture: the picture's, numbered where two pictures share one."""
        stems = [file.stem for file in self.files]
        return [stem if stems.count(stem) == 1 else f"{place}-{stem}" for place, stem in enumerate(stems, start=1)]


def _as_row(one: Prediction) -> dict[str, object]:
    return {
        "file": one.source,
        "answer": one.answer,
        "probability": one.probability,
        "unsure": one.unsure,
        "probabilities": dict(zip(one.classes, one.probabilities.tolist(), strict=True)),
    }


def _as_line(one: Prediction) -> str:
    others = sorted(zip(one.probabilities.tolist(), one.classes, strict=True), reverse=True)[1:3]
    rest = ", ".join(f"{name} {percent(share)}" for share, name in others)
    unsure = "unsure: " if one.unsure else ""
    return f"{one.source}: {unsure}{one.answer}  {percent(one.probability)}  (then {rest})"
