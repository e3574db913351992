"""`lenscope evaluate` and `lenscope predict`."""

from __future__ import annotations

import csv
import io
import re
import shlex
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import Field

import lenscope
from lenscope.cli.command import RUN, OfMeasuredRun, OfRun
from lenscope.cli.output import print_json, print_line, print_note, table
from lenscope.config import Preparation
from lenscope.errors import DataError, RunError, UsageError
from lenscope.numbers_as_text import percent, percent_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lenscope.insight.answers import Prediction

CSV_COLUMNS = ("file", "prediction", "probability", "unsure", "error")  # then p(CLASS) for each class
FORMULA = re.compile(r"[=+\-@＝＋－＠](?!\d+(\.\d+)?$)")  # wide signs too; no numbers


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
        images = f"{len(found.labels):,} {found.split or 'given'} images"
        result = (
            f"{found.dataset}: accuracy {percent(found.accuracy)} on {images}, "
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
        line = f"{found.dataset}: {error} on {len(found.errors):,} {found.split or 'given'} images"
        self.show({"run": str(run.path), **found.as_dict()}, line)


class Predict(OfRun):
    """Classify pictures with a run's network. Each picture is prepared like the run's training images.

    Of a folder, all pictures in it and its subfolders are classified, sorted by name, without hidden files.

    A prediction is marked unsure if its margin (its log-probability minus the mean over all classes) is lower than that
    of 99 % of the images that the run held out, or trained on where it held out none.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")] = Field(description=RUN)
    files: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE [FILE ...]")] = Field(
        description="pictures (PNG, JPEG and others, of any size), folders of these, or .npy files of images"
    )
    prepare: Preparation = Field(
        "auto",
        description="auto: like the training images; digit: find the digit and centre it; resize: only resize",
    )
    show_steps: Annotated[Path | None, tyro.conf.arg(name="show", metavar="DIR")] = Field(
        None, description="save each step of the preparation as a picture in this directory"
    )
    csv_output: Annotated[bool, tyro.conf.arg(name="csv")] = Field(
        default=False, description="print CSV: one row per picture, with the probability of each class"
    )

    def execute(self) -> None:
        """Predict and print."""
        from lenscope.insight.answers import describe_preparation, predict_named

        if not self.files:
            raise UsageError("got no picture, expected at least one; lenscope predict RUN FILE…")
        if self.csv_output and self.json_output:
            raise UsageError("--csv and --json: got both, expected one")
        run = self._open_run()
        answers = predict_named(run, self.files, self.prepare)
        print_note(describe_preparation(run.data, self.prepare))
        self._note_labels(run)
        if self.csv_output:
            print_line(_as_csv((*CSV_COLUMNS, *(f"p({name})" for name in run.data.classes))))
        rows, failed = list[dict[str, object]](), False
        for name, found, steps in self._with_steps(answers):
            failed |= isinstance(found, DataError)
            if self.csv_output:
                print_line(_as_csv(_cells(name, found, run.data.classes)))
            elif self.json_output:
                rows.append(_as_row(name, found))
            else:
                print_line(*_as_lines(found, steps))
        if self.json_output:
            print_json(rows)
        if failed:
            raise SystemExit(1)

    def _open_run(self) -> lenscope.Run:
        """The run; raises UsageError if a picture precedes it."""
        from lenscope.runs.run import find_run

        try:
            return lenscope.open_run(self.run)
        except RunError:
            for path in self.files:
                with suppress(RunError):
                    find_run(path)
                    raise UsageError(
                        f"{self.run}: not a run, but {path} is one; the run comes first: lenscope predict RUN FILE…"
                    ) from None
            raise

    def _note_labels(self, run: lenscope.Run) -> None:
        """Say for each folder with a folder per class which command measures the accuracy."""
        from lenscope.data.folders.below import has_class_folders

        for folder in self.files:
            if has_class_folders(folder, run.data.classes):
                then = shlex.join(["lenscope", "evaluate", str(self.run), "--data", str(folder)])
                print_note(f"{folder}: has a folder for each class; measure the accuracy with: {then}")

    def _with_steps(
        self, answers: Iterator[tuple[str, Prediction | DataError]]
    ) -> Iterator[tuple[str, Prediction | DataError, Path | None]]:
        """Each answer with the picture of its steps, if asked for; notes each error.

        The picture is named after the file, with a number in front if a former one has this name.
        """
        stems = set[str]()
        for place, (name, found) in enumerate(answers, start=1):
            try:
                if isinstance(found, DataError):
                    raise found
                yield name, found, self._draw_steps(found, stems, place)
            except DataError as error:
                print_note(f"lenscope predict: {error}")
                yield name, error, None

    def _draw_steps(self, found: Prediction, stems: set[str], place: int) -> Path | None:
        if not self.show_steps:
            return None
        stem = Path(found.source).stem
        name = f"{place}-{stem}" if stem in stems else stem
        stems.add(stem)
        return lenscope.show_preparation(found, self.show_steps, name)


def _as_row(name: str, found: Prediction | DataError) -> dict[str, object]:
    if isinstance(found, DataError):
        return {"file": name, "error": str(found)}
    return {
        "file": name,
        "answer": found.answer,
        "probability": found.probability,
        "unsure": found.unsure,
        "probabilities": dict(zip(found.classes, found.probabilities.tolist(), strict=True)),
    }


def _cells(name: str, found: Prediction | DataError, classes: tuple[str, ...]) -> list[object]:
    """A row of the CSV; probabilities in the shortest form that is read back as the identical float32."""
    if isinstance(found, DataError):
        return [name, None, None, None, str(found), *[None] * len(classes)]
    best, *each = (float(str(value)) for value in (found.probabilities.max(), *found.probabilities))
    return [name, found.answer, best, found.unsure, None, *each]


def _as_csv(cells: Iterable[object]) -> str:
    """A line of CSV.

    A text that a spreadsheet would take for a formula gets an apostrophe in front. Texts are quoted, so that a
    spreadsheet that separates cells by semicolons does not split them.
    """
    line = io.StringIO()
    safe = (f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell for cell in cells)
    csv.writer(line, quoting=csv.QUOTE_NONNUMERIC, lineterminator="").writerow(safe)
    return line.getvalue()


def _as_lines(found: Prediction | DataError, steps: Path | None) -> list[str]:
    if isinstance(found, DataError):
        return []
    others = sorted(zip(found.probabilities.tolist(), found.classes, strict=True), reverse=True)[1:3]
    rest = ", ".join(f"{name} {percent(share)}" for share, name in others)
    unsure = "unsure: " if found.unsure else ""
    line = f"{found.source}: {unsure}{found.answer}  {percent(found.probability)}  (then {rest})"
    return [line, f"steps: {steps}"] if steps else [line]
