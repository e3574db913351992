"""Verbs that draw: pictures for a notebook, files of pictures, films and reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lenscope.api.analysis import evaluate, examine, reconstruct
from lenscope.api.data import split_to_measure
from lenscope.errors import UsageError
from lenscope.runs.run import opened
from lenscope.storage import make_directory, write_file

if TYPE_CHECKING:
    from lenscope.api.data import DataLike, RunLike
    from lenscope.insight.answers import Prediction
    from lenscope.plots.curves import CurvesDisplay
    from lenscope.plots.display import Display
    from lenscope.plots.kernels import KernelsDisplay, KernelStyle
    from lenscope.plots.mistakes import ConfusionDisplay, MistakesDisplay
    from lenscope.plots.reconstructions import ReconstructionsDisplay


def curves(run: RunLike) -> CurvesDisplay:
    """Loss and accuracy per epoch, as a picture that a notebook shows."""
    from lenscope.insight.curves import trace_curves
    from lenscope.plots.curves import CurvesDisplay

    return CurvesDisplay(trace_curves(opened(run)))


def kernels(run: RunLike, layer: str = "conv1", *, kernel: int = 0, style: KernelStyle = "lenscope") -> KernelsDisplay:
    """A layer's kernels before and after training and their difference, as a picture that a notebook shows.

    Args:
        run: the run, its directory or its name.
        layer: `conv1` (every kernel) or `conv2` (the input channels of one kernel).
        kernel: index of the kernel of `conv2`, from 0.
        style: `lenscope` (trained minus initial on one zero-centred scale) or `lecture` (grey, initial minus trained).

    Raises:
        UsageError: a layer or kernel that the network lacks.
    """
    from lenscope.insight.kernels import compare_kernels
    from lenscope.plots.kernels import KernelsDisplay

    return KernelsDisplay(compare_kernels(opened(run), layer, kernel), style)


def film(run: RunLike, layer: str = "conv1", *, kernel: int = 0, out: str | Path | None = None) -> Path:
    """Write the film of a layer's kernels as an animated GIF or WebP for slides; returns its path.

    Args:
        run: the run, its directory or its name.
        layer: `conv1` (every kernel) or `conv2` (the input channels of one kernel).
        kernel: index of the kernel of `conv2`, from 0.
        out: the file, `.gif` or `.webp`; by default `plots/film-LAYER.gif` in the run's directory.

    Raises:
        UsageError: a layer or kernel that the network lacks, or another file type.
        StorageError: it could not be written.
    """
    from lenscope.insight.kernels import film_kernels
    from lenscope.plots.film import FilmDisplay

    run = opened(run)
    path = Path(out) if out else run.path / "plots" / f"film-{layer}.gif"
    if path.suffix.lower() not in {".gif", ".webp"}:
        raise UsageError(f"--out {path}: got {path.suffix or 'no extension'}, expected .gif or .webp")
    display = FilmDisplay(film_kernels(run, layer, kernel))
    make_directory(path.parent, exist_ok=True)
    display.save(path)
    return path


def confusion(run: RunLike, data: DataLike | None = None) -> ConfusionDisplay:
    """The confusion matrix of a run, as a picture that a notebook shows; `data` and errors as for `evaluate`."""
    from lenscope.plots.mistakes import ConfusionDisplay

    return ConfusionDisplay(evaluate(run, data))


def mistakes(run: RunLike, data: DataLike | None = None) -> MistakesDisplay:
    """The most confident mistakes of a run, as a picture that a notebook shows; `data` and errors as for `evaluate`."""
    from lenscope.plots.mistakes import MistakesDisplay

    split = split_to_measure(opened(run), data, None)
    return MistakesDisplay(evaluate(run, split), split)


def reconstructions(
    run: RunLike, data: DataLike | None = None, *, data_dir: str | Path | None = None
) -> ReconstructionsDisplay:
    """Images and their reconstructions, as a picture that a notebook shows; arguments as for `reconstruct`."""
    from lenscope.plots.reconstructions import ReconstructionsDisplay

    return ReconstructionsDisplay(reconstruct(run, data, data_dir=data_dir))


def show_preparation(prediction: Prediction, directory: str | Path, name: str | None = None) -> Path:
    """Draw each step of a picture's preparation into `directory/NAME-steps.png`; returns the path.

    Args:
        prediction: from `predict`.
        directory: created if it is missing.
        name: by default the name of the picture's file.

    Raises:
        StorageError: it could not be written.
    """
    from lenscope.plots.digit import PreparationDisplay

    path = Path(directory) / f"{name or Path(prediction.source).stem}-steps.png"
    make_directory(path.parent, exist_ok=True)
    PreparationDisplay(prediction).save(path)
    return path


def plot(
    run: RunLike, *, kernel: int = 0, data: DataLike | None = None, data_dir: str | Path | None = None
) -> dict[Path, Display]:
    """Draw a run's pictures into its directory `plots/`, replacing existing ones.

    Args:
        run: the run, its directory or its name.
        kernel: index of the kernel of conv2 to show, from 0.
        data: as for `evaluate`; for the confusion matrix and the mistakes, which are omitted while the run is trained.
        data_dir: as for `load`.

    Returns:
        The pictures by path.

    Raises:
        UsageError: a kernel that the network lacks.
        StorageError: a picture could not be written.
    """
    from lenscope.plots.mistakes import ConfusionDisplay, MistakesDisplay

    run = opened(run)
    displays: dict[str, Display] = {"curves": curves(run)}
    for layer in run.film.kernels:
        chosen = kernel if layer == "conv2" else 0
        displays[f"kernels-{layer}"] = kernels(run, layer, kernel=chosen)
        displays[f"kernels-{layer}-lecture"] = kernels(run, layer, kernel=chosen, style="lecture")
    if run.status.state != "running" and run.config.reconstructs:
        displays["reconstructions"] = reconstructions(run, data, data_dir=data_dir)
    elif run.status.state != "running":
        split = split_to_measure(run, data, data_dir)
        evaluation = evaluate(run, split)
        displays |= {"confusion": ConfusionDisplay(evaluation), "mistakes": MistakesDisplay(evaluation, split)}
    make_directory(run.path / "plots", exist_ok=True)
    pictures = {run.path / "plots" / f"{name}.png": display for name, display in displays.items()}
    for path, display in pictures.items():
        display.save(path)
    return pictures


def report(
    run: RunLike,
    *others: RunLike,
    out: str | Path | None = None,
    data: DataLike | None = None,
    data_dir: str | Path | None = None,
) -> Path:
    """Write the report of a run: one HTML file in which the trained network runs; returns its path.

    Args:
        run: the run, its directory or its name.
        others: up to seven more runs, for a page that compares all of them.
        out: the file, which is replaced if it exists; by default `report.html` in the run's directory, or for a
            comparison `comparison.html` next to it.
        data: as for `evaluate`.
        data_dir: as for `load`.

    Raises:
        RunError, UsageError, DataError: as for `evaluate`.
        StorageError: it could not be written.
    """
    from lenscope.insight.insight import FRAMES, examine_run
    from lenscope.reports.html import MOST_COMPARED, render_comparison, render_report

    runs = [opened(one) for one in (run, *others)]
    if len(runs) > MOST_COMPARED:
        raise UsageError(f"got {len(runs)} runs, expected at most {MOST_COMPARED}: a page with more could not be read")
    if others:
        page = render_comparison([examine_run(one, None, max(2, FRAMES // len(runs))) for one in runs])
        own = runs[0].path
        path = (own if own.name else own.absolute()).parent / "comparison.html"
    else:
        page, path = render_report(examine(runs[0], data=data, data_dir=data_dir)), runs[0].path / "report.html"
    path = Path(out) if out else path
    make_directory(path.parent, exist_ok=True)
    write_file(path, page.encode(errors="replace"))  # a path may contain bytes that are not UTF-8
    return path
