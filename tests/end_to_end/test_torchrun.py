"""`torchrun … lenscope train`: several processes train as one does; what ends one ends all, and nothing is lost."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

import lenscope
from fixtures_ranks import RANK, WARNING, Torchrun, addresses_listened_on, write_folder
from fixtures_runs import contents
from lenscope.config import TrainConfig
from lenscope.runs.files import checkpoint
from lenscope.runs.run import open_run
from lenscope.runs.verify import verify_run

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")

ROOT = Path(__file__).parents[2]

# 232 images in batches of 7 are 33 whole ones and one of a single image, of which all ranks but one have none.
SETTINGS = ("--engine=torch", "--batch-size=7", "--quiet", "--threads=1")
STEPS_PER_EPOCH = 34


@pytest.fixture(scope="module")
def folder(mnist, tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "digits", mnist, 232, 41)


@pytest.fixture(scope="module")
def lived(folder, tmp_path_factory) -> Path:
    """A run of two ranks that was let alone."""
    path = tmp_path_factory.mktemp("runs") / "lived"
    begin(folder, path, 2).succeed()
    return path


def options(folder: Path, out: Path, epochs: int = 12) -> list[str]:
    return [f"--data={folder}", f"--out={out}", f"--epochs={epochs}", *SETTINGS]


def begin(folder: Path, out: Path, ranks: int, *more: str, **environment: str) -> Torchrun:
    return Torchrun(ranks, *options(folder, out), "--checkpoint-every=20steps", *more, **environment)


def await_checkpoint(command: Torchrun, path: Path) -> None:
    command.await_(lambda: len([*path.glob("checkpoint/0*.safetensors")]) == checkpoint.KEPT)


def is_sound(path: Path) -> bool:
    return all(finding.sound for finding in verify_run(open_run(path)))


@pytest.mark.slow
def test_two_processes_train_as_one_does(folder, tmp_path) -> None:
    out = Torchrun(2, *options(folder, tmp_path / "two", 6)).succeed()
    assert out.count(f"{tmp_path / 'two'}: ") == 1
    config = TrainConfig(data=str(folder), epochs=6, engine="torch", batch_size=7, threads=1)
    one, two = lenscope.train(config=config, out=tmp_path / "one", progress=False), open_run(tmp_path / "two")
    assert len(one.losses) == 6 * STEPS_PER_EPOCH
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-4)
    np.testing.assert_allclose(two.metrics.test_loss, one.metrics.test_loss, rtol=1e-4)
    assert (one.environment["ranks"], two.environment["ranks"]) == (1, 2)
    assert is_sound(two.path)


@pytest.mark.slow
def test_where_a_later_rank_is_killed_the_first_saves_all_and_the_run_goes_on(folder, lived, tmp_path) -> None:
    path = tmp_path / "run"
    command = begin(folder, path, 2)
    await_checkpoint(command, path)
    os.kill(command.pids()[1], signal.SIGKILL)
    code, _, said = command.end()
    assert code
    ended = f"lenscope train: another of the 2 ranks has ended; resume with: lenscope train --resume {path}"
    assert said == [ended], command.said
    assert no_trace(command)
    run = open_run(path)
    assert run.status.state == "interrupted"
    newest, *_ = checkpoint.names(run.committed)
    assert int(Path(newest).stem) == len(run.losses)
    Torchrun(2, f"--resume={path}", "--quiet").succeed()
    assert is_sound(path)
    assert contents(path) == contents(lived)
    assert open_run(path).resumed[0].differs == ()


@pytest.mark.slow
def test_where_the_first_is_killed_all_end_and_the_run_goes_on_from_its_checkpoint(folder, lived, tmp_path) -> None:
    path = tmp_path / "run"
    command = begin(folder, path, 2)
    await_checkpoint(command, path)
    pids = command.pids()
    os.kill(pids[0], signal.SIGKILL)
    assert command.end()[0]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
    assert no_trace(command)
    assert open_run(path).status.state == "abandoned"
    copytree(path, tmp_path / "copy")
    Torchrun(2, f"--resume={path}", "--quiet").succeed()
    assert contents(path) == contents(lived)
    alone = lenscope.resume(tmp_path / "copy", progress=False)
    assert alone.resumed[0].differs == ("ranks are 1, were 2",)
    np.testing.assert_allclose(alone.losses[:200], open_run(lived).losses[:200], rtol=1e-4)
    assert is_sound(path)
    assert is_sound(alone.path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_torchrun_asked_to_stop_ends_with_all_saved(folder, lived, tmp_path, number) -> None:
    path = tmp_path / "run"
    command = begin(folder, path, 2)
    await_checkpoint(command, path)
    command.process.send_signal(number)
    _, _, said = command.end()
    assert said == [f"lenscope train: interrupted; resume with: lenscope train --resume {path}"], command.said
    assert no_trace(command)
    run = open_run(path)
    assert run.status.state == "interrupted"
    assert int(Path(checkpoint.names(run.committed)[0]).stem) == len(run.losses)
    np.testing.assert_array_equal(run.losses, open_run(lived).losses[: len(run.losses)])


@pytest.mark.slow
def test_a_wrong_option_is_one_line_and_exit_code_2(folder, tmp_path) -> None:
    command = Torchrun(2, f"--data={folder}", f"--out={tmp_path / 'run'}", "--quiet", "--engine=fused")
    code, out, said = command.end()
    assert code
    assert not out
    line = "lenscope train: --engine fused: trains only in one process, got 2 ranks; leave it out"
    assert said == [line], command.said
    assert "exitcode  : 2" in command.said
    assert no_trace(command)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("document", ["docs/scale.md", "README.md"])
def test_the_documented_command_listens_on_the_loopback_alone(folder, tmp_path, document) -> None:
    shown = first_command(ROOT / document).replace("-m lenscope train", f"{RANK} train")
    shown = shown.replace("torchrun", f"exec {sys.executable} -m torch.distributed.run", 1)
    command = Torchrun(
        2, *options(folder, tmp_path / "run"), "--checkpoint-every=20steps", command=("sh", "-c", f'{shown} "$@"', "sh")
    )
    await_checkpoint(command, tmp_path / "run")
    pids = command.pids()
    listened = [addresses_listened_on(pid) for pid in (command.process.pid, *pids.values())]
    command.process.terminate()
    command.end()
    assert len(pids) == 2
    assert listened[0] == []
    assert all(listened[1:])
    assert all(address.is_loopback for addresses in listened for address in addresses)
    assert "warning" not in command.said


def first_command(document: Path) -> str:
    """The first command of torchrun's that a document shows, in one line, without the options of training."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    line = next(line for line in text.splitlines() if line.startswith("    ") and "torchrun" in line)
    return line[: line.index("lenscope train") + len("lenscope train")].strip()


@pytest.mark.slow
def test_torchruns_own_table_is_warned_of(folder, tmp_path) -> None:
    command = begin(folder, tmp_path / "run", 2, "--epochs=1")
    command.succeed()
    [line] = [line for line in command.said.splitlines() if line.startswith("lenscope train: warning: ")]
    assert line.startswith(WARNING)
    assert "can run code as you" in line


def no_trace(command: Torchrun) -> bool:
    """Whether no rank's traceback was printed; torchrun prints one of its own where a rank failed."""
    return "[rank" not in command.said and "lenscope/cli" not in command.said
