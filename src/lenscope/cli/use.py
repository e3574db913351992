"""`lenscope evaluate` and `lenscope predict`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import Field

import lenscope
from lenscope.cli.command import OfMeasuredRun, OfRun
from lenscope.cli.output import print_json, print_line, print_note, table
from lenscope.config import Preparation
from lenscope.numbers_as_text import percent, percent_range

if TYPE_CHECKING:
    from lenscope.insight.answers import Prediction


class Evaluate(OfMeasuredRun):
    """Measure a run's trained network on labelled images: accuracy with its interval, per class too.

    For an autoencoder, print the reconstruction error.
    """

    def execute(self) -> None:
        """Measure and print."""
        run = lenscope.open_run(self.run)
        if run.config.reconstructs:
            self._reconstruct(run)
            return
        found = lenscope.evaluate(run, self.data, data_dir=self.data_dir)
        header = ("class", "images", "recall", "95 % interval", "precision")
        rows = [
            (
                score.name,
                f"{score.images:,}",
                percent(score.recall),
                percent_range(score.recall_interval),
                "never predicted" if score.precision is None else percent(score.precision),
            )
            for score in found.by_class
        ]
        result = (
            f"{found.dataset}: accuracy {percent(found.accuracy)} on {len(found.labels):,} {found.split} images, "
            f"95 % Wilson interval {percent_range(found.accuracy_interval)}; loss {found.loss:z.4f} nats per image"
        )
        facts = {
            "run": str(run.path),
            "data": found.dataset,
            "part": found.split,
            "images": len(found.labels),
            "accuracy": found.accuracy,
            "accuracy_interval": found.accuracy_interval,
            "loss": found.loss,
            "classes": [asdict(score) for score in found.by_class],
        }
        self.show(facts, *table(header, *rows), result)

    def _reconstruct(self, run: lenscope.Run) -> None:
        from lenscope.insight.story import name_error

        found = lenscope.reconstruct(run, self.data, data_dir=self.data_dir)
        error = f"{name_error(found.error)} (mean squared error per pixel)"
        line = f"{found.dataset}: {error} on {len(found.errors):,} {found.split} images"
        self.show({"run": str(run.path), **found.as_dict()}, line)


class Predict(OfRun):
    """Classify pictures with a run's network. Each picture is prepared like the run's training images.

    A prediction is marked unsure if its margin (its log-probability minus the mean over all classes) is lower than that
    of 99 % of the images that the run held out, or trained on where it held out none.
    """

    files: tyro.conf.Positional[tuple[Path, ...]] = Field(description="pictures: PNG, JPEG and others, of any size")
    prepare: Preparation = Field(
        "auto",
        description="auto: like the training images; digit: find the digit and centre it; resize: only resize",
    )
    show_steps: Annotated[Path | None, tyro.conf.arg(name="show", metavar="DIR")] = Field(
        None, description="save each step of the preparation as a picture in this directory"
    )

    def execute(self) -> None:
        """Predict and print."""
        from lenscope.errors import DataError, UsageError
        from lenscope.insight.answers import describe_preparation

        if not self.files:
            raise UsageError("got no picture, expected at least one; lenscope predict RUN FILE…")
        run = lenscope.open_run(self.run)
        answers = lenscope.predict_each(run, self.files, prepare=self.prepare)
        print_note(describe_preparation(run.data, self.prepare))
        rows: list[dict[str, object]] = []
        for file, name, found in zip(self.files, self._names(), answers, strict=True):
            try:
                if isinstance(found, DataError):
                    raise found
                steps = lenscope.show_preparation(found, self.show_steps, name) if self.show_steps else None
            except DataError as error:
                print_note(f"lenscope predict: {error}")
                rows.append({"file": str(file), "error": str(error)})
                continue
            rows.append(_as_row(found))
            if not self.json_output:
                print_line(_as_line(found), *([f"steps: {steps}"] if steps else []))
        if self.json_output:
            print_json(rows)
        if any("error" in row for row in rows):
            raise SystemExit(1)

    def _names(self) -> list[str]:
        """A file name for each picture's steps: the picture's own, numbered where two pictures have the same name."""
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
