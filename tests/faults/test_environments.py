"""A run resumed or repeated in another environment ends with the same bytes, reports what may differ, or is refused.

    python tests/faults/test_environments.py begin FOLDER NUMBER…
    python tests/faults/test_environments.py resume FOLDER NUMBER…

A case is a function of its number: a small run of random settings that ends at a random step. The test starts this file
as a script with different environment variables; `resume` prints a line of JSON per case.
"""

from __future__ import annotations

import json
import locale
import os
import random
import signal
import subprocess
import sys
import traceback
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import lenscope
from conftest import in_full
from disks import Dying, Killed, count_operations, in_place
from fixtures_data import write_idx
from fixtures_runs import Act, Stop, contents, die
from lenscope import native, storage
from lenscope.config import TrainConfig
from lenscope.errors import Interrupted, LenscopeError
from lenscope.runs.run import open_run
from lenscope.storage import Disk
from lenscope.training import fit
from lenscope.training.events import Checkpoint, StepsDone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.data.dataset import Splits

pytestmark = pytest.mark.slow

CASES = in_full(12, 200)
WRONG = ("other bytes, SILENT", "a sound run was called broken", "crashed")
STEPS = 6  # of a run: two epochs of three
NETWORKS = (("fused", "lenet"), ("torch", "lenet"), ("torch", "lenet1998"), ("torch", "mlp"), ("torch", "autoencoder"))
CHOICES: dict[str, tuple[Any, ...]] = {
    "dtype": (torch.float32, torch.float64),
    "deterministic": (False, True),
    "onednn": (True, False),
    "precision": ("highest", "medium"),
    "threads": (1, 2),
    "locale": ("C", "C.UTF-8", "POSIX"),
}
USUAL = {name: choices[0] for name, choices in CHOICES.items()}


def variables() -> list[dict[str, str]]:
    """Environment variables of the resuming processes; the cases are shared out among them."""
    *_, baseline = native.load().instruction_sets()
    return [
        {},
        {"ATEN_CPU_CAPABILITY": "default", "LC_ALL": "C"},
        {"ATEN_CPU_CAPABILITY": "avx2", "LENSCOPE_ISA": baseline},
        {"LENSCOPE_ISA": baseline, "PYTHONHASHSEED": "7"},
        {"MKL_CBWR": "COMPATIBLE", "TZ": "Asia/Tokyo"},
        {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "2"},
    ]


def run_script(arguments: list[str], changed: dict[str, str]) -> str:
    tests = str(Path(__file__).parents[1])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": tests} | changed
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_run_ends_silently_with_other_bytes(tmp_path, tally) -> None:
    run_script(["begin", str(tmp_path), *map(str, range(CASES))], {})
    found, groups = [], variables()
    for place, changed in enumerate(groups):
        numbers = map(str, range(place, CASES, len(groups)))
        found += map(json.loads, run_script(["resume", str(tmp_path), *numbers], changed).splitlines())
    assert len(found) == CASES
    for verb in ("resume", "replay"):
        ways = Counter(case[verb].partition(":")[0] for case in found)
        wrong = {case["number"]: case[verb] for case in found if case[verb].startswith(WRONG)}
        assert not wrong, wrong
        assert ways["refused"] < CASES / 2
        counts = ", ".join(f"{way} {count}" for way, count in ways.most_common())
        tally(f"{verb} of {CASES} runs in random environments: {counts}; silently other bytes 0")


@dataclass(frozen=True)
class Case:
    """What is trained, in which environment it starts and how it is ended, and what has moved when it resumes."""

    config: TrainConfig
    started_in: dict[str, Any]
    resumed_in: dict[str, Any]
    end: str
    step: int
    source: str  # of init_from: none, kept, trained, deleted
    data: str  # folder, moved, lost, own
    moves_run: bool
    moves_away: bool  # the working directory


def case_of(number: int) -> Case:
    draw = random.Random(number)
    engine, network = draw.choice(NETWORKS)
    source = draw.choice(["none", "none", "kept", "trained", "deleted"])
    config = TrainConfig(
        engine=engine,
        network=network,
        optimizer=draw.choice(["adam", "sgd", "nesterov"]),
        learning_rate=1e-3,
        schedule=draw.choice(["constant", "cosine", "onecycle"]),
        augment=draw.choice(["none", "shift=1.5,rotation=9"]),
        init="pytorch" if network == "lenet1998" else draw.choice(["pytorch", "he", "orthogonal"]),
        threads=draw.choice([None, 1, 2]),
        batch_size=20,
        validation=draw.choice([0, 5]),
        epochs=2,
        checkpoint_every=draw.choice(["2steps", "100"]),
        seed=draw.randrange(2**32),
        init_from=None if source == "none" else "source",
    )
    started_in = {
        name: draw.choice(choices) if draw.random() < 0.2 else USUAL[name] for name, choices in CHOICES.items()
    }
    resumed_in = {
        name: draw.choice(choices) if draw.random() < 0.3 else started_in[name] for name, choices in CHOICES.items()
    }
    return Case(
        config,
        started_in,
        resumed_in,
        draw.choice(["step", "checkpoint", "signal", "operation", "first operations"]),
        draw.randint(1, STEPS - 1),
        source,
        draw.choice(["folder", "moved", "own", "folder", "moved", "own", "lost"]),
        draw.random() < 0.3,
        draw.random() < 0.5,
    )


@contextmanager
def environment(settings: dict[str, Any], folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    _set(settings)
    try:
        yield
    finally:
        _set(USUAL)
        os.chdir(before)


def _set(settings: dict[str, Any]) -> None:
    backends: Any = torch.backends
    torch.set_default_dtype(settings["dtype"])
    torch.use_deterministic_algorithms(settings["deterministic"])
    backends.mkldnn.enabled = settings["onednn"]
    torch.set_float32_matmul_precision(settings["precision"])
    torch.set_num_threads(settings["threads"])
    locale.setlocale(locale.LC_ALL, settings["locale"])


def begin(number: int, whole: Splits, folder: Path) -> None:
    """Train a case's run to its end, and again until it is ended; then move or delete what the case asks for."""
    case, draw = case_of(number), random.Random(-number)
    away = folder / "away"
    away.mkdir(parents=True)
    splits = make_data(whole, number, folder / "data")
    data: Any = splits if case.data == "own" else folder / "data"
    with environment(case.started_in, folder):
        for place in ["source", "away/source"] if case.config.init_from else []:  # the second has other weights
            settings = {"init_from": None, "epochs": 1, "schedule": "constant", "seed": len(place)}
            lenscope.train(data, out=place, config=case.config.with_settings(**settings), progress=False)
        operations = count_operations(lambda: lenscope.train(data, out="lived", config=case.config, progress=False))
        train = {"out": Path("died"), "config": case.config}
        with suppress(Stop, Killed, Interrupted):
            if case.end.endswith("operation"):
                with in_place(Dying(draw.randrange(2, operations))):
                    lenscope.train(data, progress=False, **train)
            elif case.end == "first operations":
                with in_place(Dying(draw.randrange(10, min(30, operations)))):
                    lenscope.train(data, progress=False, **train)
            else:
                act = (lambda: signal.raise_signal(signal.SIGINT)) if case.end == "signal" else die
                lenscope.train(
                    data, progress=Act(case.step, act, Checkpoint if case.end == "checkpoint" else StepsDone), **train
                )
        if case.source == "trained":
            lenscope.resume("source", data=data, epochs=2, progress=False)
    if case.source == "deleted":
        rmtree(folder / "source")
    if case.moves_run:
        for name in ("lived", "died"):
            (folder / name).rename(folder / f"{name}-moved")
    if case.data in {"moved", "lost"}:
        (folder / "data").rename(folder / "data-moved")


def make_data(whole: Splits, number: int, folder: Path) -> Splits:
    """60 training and 20 test images, as a folder of IDX files and as arrays."""
    train, test = (
        replace(part.take(np.arange(number, number + count)), name="mine", source="")
        for part, count in ((whole.train, 60), (whole.test or whole.train, 20))
    )
    folder.mkdir()
    for name, part in (("train", train), ("t10k", test)):
        write_idx(folder / f"{name}-images-idx3-ubyte", part.images[:, 0])
        write_idx(folder / f"{name}-labels-idx1-ubyte", part.labels)
    return lenscope.Splits(train, test=test)


def resume(number: int, whole: Splits, folder: Path) -> dict[str, Any]:
    """How a case's run ends after it resumes, and what its replay reports."""
    case = case_of(number)
    moved = "-moved" if case.moves_run else ""
    given: dict[str, Any] = {}
    if case.data == "own":
        rmtree(folder / "data")
        given = {"data": make_data(whole, number, folder / "data")}
    elif case.data == "moved":
        given = {"data": folder / "data-moved"}
    lived, died = folder / f"lived{moved}", folder / f"died{moved}"
    with environment(case.resumed_in, folder / "away" if case.moves_away else folder):
        outcomes = {
            "replay": outcome(lambda: replayed(lived, given)),
            "resume": outcome(lambda: resumed(died, lived, given)),
        }
    return {"number": number, **outcomes}


def outcome(work: Any) -> str:
    try:
        return str(work())
    except LenscopeError as error:
        return f"refused: {error}" if str(error).isprintable() else f"crashed: {error!r}"
    except Exception:  # noqa: BLE001 - reported as a failure of the test
        return f"crashed: {traceback.format_exc()}"


def resumed(died: Path, lived: Path, given: dict[str, Any]) -> str:
    watcher = Act(10**9, die)
    run = lenscope.resume(died, progress=watcher, **given)
    notes = [note for note in watcher.started[0].notes if note.endswith("may differ in its last bits")]
    said = notes and run.resumed[-1].differs
    if without_place(died) == without_place(lived):
        return "equal, though reported to differ" if said else "equal"
    return "other bytes, reported" if said else "other bytes, SILENT"


def replayed(lived: Path, given: dict[str, Any]) -> str:
    found = lenscope.verify(open_run(lived), replay=True, progress=False, **given)
    if any(finding.sound is False for finding in found):
        return f"a sound run was called broken: {[one for one in found if one.sound is False]}"
    reasons = [finding for finding in found if finding.part == "environment.json" and "may differ" in finding.says]
    if any(finding.sound is None for finding in found):
        return "other bytes, reported" if reasons else "other bytes, SILENT"
    return "equal, though reported to differ" if reasons else "equal"


def without_place(path: Path) -> dict[str, Any]:
    """A run's bytes without the path of its data."""
    found = contents(path)
    found["config.toml"] = [line for line in found["config.toml"].splitlines() if not line.startswith(b"data = ")]
    return found


class Unsynced(Disk):
    """A fast disk that makes nothing durable: no power is lost here."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


def main(verb: str, folder: str, *numbers: str) -> None:
    storage.disk, fit.CALL_SECONDS = Unsynced(), 0.0  # a call a step, so that each can be the last
    whole = lenscope.load("mnist")
    for number in map(int, numbers):
        found = (begin if verb == "begin" else resume)(number, whole, Path(folder) / str(number))
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
