"""The public verbs: functions on plain data, each a few lines over the rooms below."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscope.config import Preparation, TrainConfig, resolve
from lenscope.data.dataset import Dataset, Splits
from lenscope.errors import DataError, UsageError, needed_by
from lenscope.runs.run import Run, find_run, open_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import torch

    from lenscope.insight.answers import Prediction
    from lenscope.insight.insight import Insight
    from lenscope.insight.mistakes import Evaluation
    from lenscope.insight.reconstructions import Reconstructions
    from lenscope.nets.layers import Network
    from lenscope.nets.summary import Summary
    from lenscope.plots.curves import CurvesDisplay
    from lenscope.plots.display import Display
    from lenscope.plots.kernels import KernelsDisplay, KernelStyle
    from lenscope.plots.mistakes import ConfusionDisplay, MistakesDisplay
    from lenscope.plots.reconstructions import ReconstructionsDisplay
    from lenscope.pytorch.ranks import Ranks
    from lenscope.runs.record import Watcher
    from lenscope.runs.verify import Finding


def load(
    data: str | Path = "mnist",
    *,
    data_dir: str | Path | None = None,
    skip_unreadable: bool = False,
    pack: bool = False,
    progress: bool = False,
) -> Splits:
    """A data set by its name, or by the path of a folder; what is not here yet is downloaded and checked.

    A large set is not read into memory: its images are mapped from its files, or from a pack that is made in the cache
    the first time.

    Args:
        data: a name such as `mnist`, or a folder of IDX files or of `train/<class>/*.png`.
        data_dir: where else to look for the files of a named set.
        skip_unreadable: leave out pictures of a folder that cannot be read; the result's `skipped` names them.
        pack: make a pack in any case.
        progress: show on stderr how far packing is, and what was left out.

    Returns:
        The parts, uint8 images of shape (N, C, H, W) each.

    Raises:
        UsageError: nobody knows the name.
        DataError: files that are broken or could not be fetched.
        StorageError: a large set needs room in the cache, and there is none.
    """
    from lenscope import native
    from lenscope.data.load import load as load_data

    native.report_cut_files()  # from here on large sets are mapped files
    if not progress:
        return load_data(data, data_dir=data_dir, skip_unreadable=skip_unreadable, pack=pack)
    from lenscope.watch.packing import PackingBar

    with PackingBar() as bar:
        splits = load_data(data, data_dir=data_dir, skip_unreadable=skip_unreadable, pack=pack, tell=bar)
    bar.note(splits)
    return splits


def train(  # noqa: PLR0913 - all but the data by name
    data: str | Path | Splits | None = None,
    *,
    out: str | Path | None = None,
    progress: bool | Watcher = True,
    data_dir: str | Path | None = None,
    config: TrainConfig | None = None,
    ranks: Ranks | None = None,
    **settings: Any,
) -> Run:
    """Train a network and keep everything about it in a run directory.

    Args:
        data: parts from `load`, or what `load` takes; by default what the config says, MNIST without one.
        out: the run's directory, which must not exist yet; by default the next free one under `runs/`.
        progress: show a bar and a line an epoch on stderr, or in a notebook the two growing curves; or any callable
            that takes events and can be closed.
        data_dir: as for `load`.
        config: every setting at once; by default the lecture's recipe.
        ranks: processes that train it together, where this is the first of them (docs/scale.md).
        settings: fields of `TrainConfig`, over the config: `epochs=10, lr=1e-3`.

    Returns:
        The finished run.

    Raises:
        UsageError: a wrong setting, or an `out` that exists.
        DataError: data that cannot be used.
        NonFiniteError: the loss became NaN or infinite; the run directory keeps the last good weights.
        StorageError: a file could not be written.
        RankLostError: another rank is gone; the run directory opens with all that was done.
        Interrupted: Ctrl-C or SIGTERM; likewise.
    """
    from lenscope.runs.record import record_run

    config = (config or resolve()).with_settings(**settings)
    if not isinstance(data, Splits):
        skip = config.skip_unreadable
        data = load(data or config.data, data_dir=data_dir, skip_unreadable=skip, progress=progress is True)
    if data.skipped:  # so that whoever opens the run finds the same images
        config = config.with_settings(skip_unreadable=True)
    config = config.with_settings(data=_spelled(data))
    return record_run(config, data, Path(out) if out else None, _watcher(progress), ranks)


def resume(  # noqa: PLR0913 - all but the run by name
    run: Run | str | Path,
    *,
    data: Splits | str | Path | None = None,
    epochs: int | None = None,
    progress: bool | Watcher = True,
    data_dir: str | Path | None = None,
    ranks: Ranks | None = None,
) -> Run:
    """Go on with a run that was interrupted, killed or failed, or with a finished one to more epochs.

    It ends with the bytes of a run that was never interrupted (times apart), from the newest checkpoint that is sound,
    also in the middle of an epoch. Where something that decides bytes is another than before, such as the engine, the
    instruction set or a version, it says so, and `environment.json` keeps it.

    Args:
        run: the run or its directory; its settings count.
        data: the data it was trained on, where they are now: parts, or what `load` takes; by default where they were.
        epochs: how many in all, where more are wanted; only with a constant learning rate.
        progress: as for `train`.
        data_dir: as for `load`.
        ranks: as for `train`; as many as before, or others.

    Returns:
        The finished run.

    Raises:
        UsageError: a run that is finished, or epochs that cannot be.
        RunError: no run, one that another process writes, other data than it was trained on, or one that is broken
            beyond its checkpoints.
        DataError: data that cannot be used, or that are no longer where they were.
        NonFiniteError, StorageError, RankLostError, Interrupted: as for `train`.
    """
    from lenscope.runs.record import resume_run
    from lenscope.runs.resume import settings_to_resume

    path = _path_of(run)
    config = settings_to_resume(path, epochs)
    splits = load_own(config, data_dir, data, progress=progress is True)
    if data not in (None, config.data):  # so that whoever opens the run finds them
        config = config.with_settings(data=_spelled(splits))
    return resume_run(path, splits, config, _watcher(progress), ranks)


def verify(  # noqa: PLR0913 - all but the run by name
    run: Run | str | Path,
    *,
    data: Splits | str | Path | None = None,
    replay: bool = False,
    from_checkpoint: bool = False,
    progress: bool | Watcher = True,
    data_dir: str | Path | None = None,
) -> list[Finding]:
    """Whether a run directory is what it says it is: a finding for each of its files.

    Every file is compared with the manifest's size and SHA-256, and the files with one another: no epoch is missing,
    each training loss is that of its steps, the film runs from the initial to the final kernels, all is finite. A
    finding's `sound` is None where a replay differs and something that decides bytes is another than before.

    Args:
        run: the run or its directory.
        data: as for `resume`, of the replay.
        replay: where all is sound, train it again as well, writing nothing, and compare what comes to the last bit.
        from_checkpoint: replay from the oldest checkpoint that is kept, instead of from the beginning.
        progress: as for `train`, of the replay.
        data_dir: as for `load`.

    Raises:
        RunError: no run directory, or one whose manifest is broken; with `replay`, other data than the run's.
        DataError, UsageError: with `replay`, data, engine or device that cannot be had.
    """
    from lenscope.runs.verify import verify_run

    run = run if isinstance(run, Run) else find_run(run)
    found = verify_run(run)
    if not (replay or from_checkpoint) or not all(finding.sound for finding in found):
        return found
    from lenscope.runs.replay import replay_run

    splits = load_own(run.config, data_dir, data, progress=progress is True)
    return found + replay_run(run, splits, _watcher(progress), from_checkpoint=from_checkpoint)


def evaluate(
    run: Run | str | Path,
    data: Dataset | Splits | str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
) -> Evaluation:
    """Measure a run's trained network on a labelled set.

    Args:
        run: the run or its directory.
        data: a data set, or what `load` takes (its test part, or training images where it has none); by default the
            test part of the run's own data, else its validation part, else its training images.
        data_dir: as for `load`.

    Raises:
        RunError: a run without trained weights.
        UsageError: data with other classes or channels than the network's.
        DataError: data that cannot be used, or that are no longer those that the run was trained on.
    """
    from lenscope.insight.answers import evaluate_run

    run = _opened(run)
    return evaluate_run(run, part_to_measure(run, data, data_dir))


def predict(run: Run | str | Path, files: Iterable[str | Path], *, prepare: Preparation = "auto") -> list[Prediction]:
    """What a run's network says of pictures, prepared as its training images are drawn.

    A network trained on digits that are centred on an even ground, as MNIST's are, takes any picture of a digit: dark
    on light or light on dark, any size and colour. For other data the picture is resized as the data set is.

    Args:
        run: the run or its directory.
        files: pictures.
        prepare: `auto` goes by how the training images are drawn, which was measured before training; `digit` and
            `resize` prepare pictures so in any case.

    Raises:
        DataError: the first picture that cannot be read, or that shows nothing; `predict_each` goes past it.
        RunError: a run without trained weights.
        UsageError: another preparation, or an autoencoder.
    """
    from lenscope.insight.answers import predict_pictures

    return predict_pictures(_opened(run), map(Path, files), prepare)


def predict_each(
    run: Run | str | Path, files: Iterable[str | Path], *, prepare: Preparation = "auto"
) -> Iterator[Prediction | DataError]:
    """As `predict`, one picture at a time, and in the place of one that cannot be used its DataError."""
    from lenscope.insight.answers import predict_each

    return predict_each(_opened(run), map(Path, files), prepare)


def show_preparation(prediction: Prediction, directory: str | Path, name: str | None = None) -> Path:
    """Draw each step of a picture's preparation into `directory/NAME-steps.png` and return that path.

    Args:
        prediction: from `predict`.
        directory: made if it is not there.
        name: by default that of the picture's file.

    Raises:
        StorageError: it could not be written.
    """
    from lenscope.plots.digit import PreparationDisplay
    from lenscope.runs.storage import make_directory

    path = Path(directory) / f"{name or Path(prediction.source).stem}-steps.png"
    make_directory(path.parent, exist_ok=True)
    PreparationDisplay(prediction).save(path)
    return path


def curves(run: Run | str | Path) -> CurvesDisplay:
    """Loss and accuracy against epoch, as a picture that a notebook shows."""
    from lenscope.insight.curves import trace_curves
    from lenscope.plots.curves import CurvesDisplay

    return CurvesDisplay(trace_curves(_opened(run)))


def kernels(
    run: Run | str | Path, layer: str = "conv1", *, kernel: int = 0, style: KernelStyle = "lenscope"
) -> KernelsDisplay:
    """The kernels of a layer, initial, trained and their difference, as a picture that a notebook shows.

    Args:
        run: the run or its directory.
        layer: `conv1` (every kernel) or `conv2` (one kernel's input channels).
        kernel: which kernel, from 0, where one is shown.
        style: `lenscope` (trained minus initial on one zero-centred scale) or `lecture` (grey, initial minus trained).

    Raises:
        UsageError: a layer or kernel that the network lacks.
    """
    from lenscope.insight.kernels import compare_kernels
    from lenscope.plots.kernels import KernelsDisplay

    return KernelsDisplay(compare_kernels(_opened(run), layer, kernel), style)


def film(run: Run | str | Path, layer: str = "conv1", *, kernel: int = 0, out: str | Path | None = None) -> Path:
    """Write the film of a layer's kernels as an animated GIF or WebP, for slides; returns its path.

    Args:
        run: the run or its directory.
        layer: `conv1` (every kernel) or `conv2` (one kernel's input channels).
        kernel: which kernel, from 0, where one is shown.
        out: the file, `.gif` or `.webp`; by default `plots/film-LAYER.gif` in the run's directory.

    Raises:
        UsageError: a layer or kernel that the network lacks, or another kind of file.
        StorageError: it could not be written.
    """
    from lenscope.insight.kernels import film_kernels
    from lenscope.plots.film import FilmDisplay
    from lenscope.runs.storage import make_directory

    run = _opened(run)
    path = Path(out) if out else run.path / "plots" / f"film-{layer}.gif"
    if path.suffix.lower() not in {".gif", ".webp"}:
        raise UsageError(f"--out {path}: got {path.suffix or 'no ending'}, expected .gif or .webp")
    display = FilmDisplay(film_kernels(run, layer, kernel))
    make_directory(path.parent, exist_ok=True)
    display.save(path)
    return path


def confusion(run: Run | str | Path, data: Dataset | Splits | str | Path | None = None) -> ConfusionDisplay:
    """The confusion matrix of a run, as a picture that a notebook shows; `data` and errors as for `evaluate`."""
    from lenscope.plots.mistakes import ConfusionDisplay

    return ConfusionDisplay(evaluate(run, data))


def mistakes(run: Run | str | Path, data: Dataset | Splits | str | Path | None = None) -> MistakesDisplay:
    """The most confident mistakes of a run, as a picture that a notebook shows; `data` and errors as for `evaluate`."""
    from lenscope.plots.mistakes import MistakesDisplay

    part = part_to_measure(_opened(run), data, None)
    return MistakesDisplay(evaluate(run, part), part)


def reconstruct(
    run: Run | str | Path,
    data: Dataset | Splits | str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
) -> Reconstructions:
    """What a run's autoencoder gives back of a set, and its error; `data` and errors as for `evaluate`."""
    from lenscope.insight.reconstructions import reconstruct_run

    run = _opened(run)
    return reconstruct_run(run, part_to_measure(run, data, data_dir))


def reconstructions(
    run: Run | str | Path,
    data: Dataset | Splits | str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
) -> ReconstructionsDisplay:
    """Images beside what an autoencoder made of them, as a picture that a notebook shows; as for `reconstruct`."""
    from lenscope.plots.reconstructions import ReconstructionsDisplay

    return ReconstructionsDisplay(reconstruct(run, data, data_dir=data_dir))


def plot(
    run: Run | str | Path,
    *,
    kernel: int = 0,
    data: Dataset | Splits | str | Path | None = None,
    data_dir: str | Path | None = None,
) -> dict[Path, Display]:
    """Draw a run's pictures into its `plots/`, anew where they exist.

    Args:
        run: the run or its directory.
        kernel: which kernel of conv2 is shown, from 0.
        data: as for `evaluate`; for the confusion matrix and the mistakes, left out while the run is being written.
        data_dir: as for `load`.

    Returns:
        The pictures by their paths.

    Raises:
        UsageError: a kernel that the network lacks.
        StorageError: a picture could not be written.
    """
    from lenscope.plots.mistakes import ConfusionDisplay, MistakesDisplay
    from lenscope.runs.storage import make_directory

    run = _opened(run)
    displays: dict[str, Display] = {"curves": curves(run)}
    for layer in run.film.kernels:
        chosen = kernel if layer == "conv2" else 0
        displays[f"kernels-{layer}"] = kernels(run, layer, kernel=chosen)
        displays[f"kernels-{layer}-lecture"] = kernels(run, layer, kernel=chosen, style="lecture")
    if run.status.state != "running" and run.config.reconstructs:
        displays["reconstructions"] = reconstructions(run, data, data_dir=data_dir)
    elif run.status.state != "running":
        part = part_to_measure(run, data, data_dir)
        evaluation = evaluate(run, part)
        displays |= {"confusion": ConfusionDisplay(evaluation), "mistakes": MistakesDisplay(evaluation, part)}
    make_directory(run.path / "plots", exist_ok=True)
    pictures = {run.path / "plots" / f"{name}.png": display for name, display in displays.items()}
    for path, display in pictures.items():
        display.save(path)
    return pictures


def examine(
    run: Run | str | Path,
    *,
    data: Dataset | Splits | str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Insight:
    """All that can be told of a run: how its kernels came to be, what they resemble, what each is good for.

    Args:
        run: the run or its directory; of one that has no trained weights yet there is the film alone.
        data: as for `evaluate`.
        data_dir: as for `load`.

    Raises:
        RunError, UsageError, DataError: as for `evaluate`.
    """
    from lenscope.insight.insight import examine_run

    run = _opened(run)
    return examine_run(run, None if run.status.state == "running" else part_to_measure(run, data, data_dir))


def report(
    run: Run | str | Path,
    *others: Run | str | Path,
    out: str | Path | None = None,
    data: Dataset | Splits | str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Path:
    """Write the report of a run: one HTML file with all of it, in which the trained network runs; returns its path.

    Args:
        run: the run or its directory.
        others: up to seven more runs, for a page that lays all of them beside one another.
        out: the file, written anew where it exists; by default `report.html` in the run's directory, or beside it
            `comparison.html`.
        data: as for `evaluate`.
        data_dir: as for `load`.

    Raises:
        RunError, UsageError, DataError: as for `evaluate`.
        StorageError: it could not be written.
    """
    from lenscope.insight.insight import FRAMES, examine_run
    from lenscope.reports.html import MOST_COMPARED, render_comparison, render_report
    from lenscope.runs.storage import make_directory, write_file

    runs = [_opened(one) for one in (run, *others)]
    if len(runs) > MOST_COMPARED:
        raise UsageError(
            f"got {len(runs)} runs, expected at most {MOST_COMPARED}: no more can be told apart in one page"
        )
    if others:
        page = render_comparison([examine_run(one, None, max(2, FRAMES // len(runs))) for one in runs])
        own = runs[0].path
        path = (own if own.name else own.absolute()).parent / "comparison.html"
    else:
        page, path = render_report(examine(runs[0], data=data, data_dir=data_dir)), runs[0].path / "report.html"
    path = Path(out) if out else path
    make_directory(path.parent, exist_ok=True)
    write_file(path, page.encode(errors="replace"))  # a path may hold bytes that are no UTF-8
    return path


def summary(
    network: str | Network | torch.nn.Module = "lenet",
    *,
    input_shape: Sequence[int] = (1, 32, 32),
    classes: int = 10,
    batch_size: int | None = None,
) -> Summary:
    """Each layer's output size, kernel, parameters, multiply-adds and bytes.

    Args:
        network: the name of one of ours, one of ours, or any PyTorch module that takes one tensor.
        input_shape: channels, height and width of an image.
        classes: how many classes one of ours tells apart.
        batch_size: images a batch, shown as the first index of each output.

    Raises:
        UsageError: an unknown network.
        SizeMismatchError: images that do not fit it, and which layer says so.
    """
    from lenscope.nets.layers import Network
    from lenscope.nets.summary import summarise

    if isinstance(network, str):
        return summarise(Network(network, input_shape[0], classes), input_shape, batch_size)
    if isinstance(network, Network):
        return summarise(network, input_shape, batch_size)
    with needed_by("the summary of a module"):
        from lenscope.pytorch.nets.summary import summarise as summarise_module

    return summarise_module(network, input_shape, batch_size)


def compare(runs: Sequence[Run | str | Path]) -> dict[str, list[str]]:
    """The settings in which runs differ, and their results: a row a name, with a cell a run, ready to print."""
    from lenscope.insight.comparison import compare_runs

    return compare_runs([_opened(run) for run in runs])


def _watcher(progress: Watcher | bool) -> Watcher | None:  # noqa: FBT001 - as `train` has it
    from lenscope.watch.notebook import NotebookWatcher, in_notebook

    if not isinstance(progress, bool):
        return progress
    if not progress:
        return None
    if in_notebook():
        return NotebookWatcher()
    from lenscope.watch.screen import Screen
    from lenscope.watch.terminal import TerminalWatcher

    return TerminalWatcher(Screen())


def load_own(
    config: TrainConfig,
    data_dir: str | Path | None,
    data: Splits | str | Path | None = None,
    *,
    progress: bool = False,
) -> Splits:
    """The data that settings ask for, or `data` in their place, without what the settings leave out; as `load`.

    Raises:
        DataError: the settings' data are no longer where they were, or never were a named set or a folder.
    """
    if isinstance(data, Splits):
        return data
    if data in (None, config.data):
        _require_place(config.data)
    return load(data or config.data, data_dir=data_dir, skip_unreadable=config.skip_unreadable, progress=progress)


def _require_place(data: str) -> None:
    """Raise DataError where a run's own data cannot be found by what the run knows of them."""
    from lenscope.data.catalogue import CATALOGUE

    with suppress(OSError):  # a name that is too long
        if data.lower() in CATALOGUE or Path(data).exists():
            return
    gone, own = "the folder is gone", "no named data set and no folder here: the run was trained on data of your own"
    what = gone if Path(data).is_absolute() else own
    raise DataError(f"{data[:200]}: {what}; give the run's data with --data FOLDER, or from Python with data=")


def _spelled(splits: Splits) -> str:
    """How `load` finds these data again: by a known name, else by the path that they came from."""
    from lenscope.data.catalogue import CATALOGUE

    return splits.name if splits.name in CATALOGUE else splits.train.source or splits.name


def _path_of(run: Run | str | Path) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


def _opened(run: Run | str | Path) -> Run:
    return run if isinstance(run, Run) else open_run(run)


def part_to_measure(
    run: Run, data: Dataset | Splits | str | Path | None = None, data_dir: str | Path | None = None
) -> Dataset:
    """The labelled images to measure a run on; its own must be those that it was trained and measured on.

    Raises:
        DataError: data that cannot be used, or that are no longer those that the run was trained on.
    """
    if isinstance(data, Dataset):
        return data
    found = load_own(run.config, data_dir, data)
    if (found.train.sha256, found.test and found.test.sha256) == (run.data.train_sha256, run.data.test_sha256):
        held_out = run.config.validation, run.config.seed, run.config.train_images
        return found.to_measure(*held_out, stratify=run.config.stratify)
    if data is None:
        raise DataError(
            f"{run.config.data}: the images are not those of {run.name}; give the right ones, or name them with --data"
        )
    return found.to_measure()
