from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save

from lenscope.errors import RunError, StorageError
from lenscope.runs.files import checkpoint
from lenscope.training.events import Checkpoint, State

if TYPE_CHECKING:
    from lenscope.runs.run import Run

ARRAYS = {"weights.a": np.zeros(3, np.float32)}
METADATA = json.dumps(
    {
        "format": 1,
        "step": 1,
        "position": {"epoch": 1, "done": 0, "seconds": 0.5, "best": None, "best_epoch": 0},
        "updates": 1,
        "appended": {"film.bin": {"size": 4, "sha256": ""}},
    }
)


def test_a_checkpoint_may_be_as_small_as_this() -> None:
    loaded = checkpoint.decode(save(ARRAYS, {"lenscope": METADATA}), "here")
    assert (loaded.step, loaded.position.seconds, list(loaded.state.weights)) == (1, 0.5, ["a"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        save(ARRAYS),
        save(ARRAYS, {"lenscope": "[]"}),
        save(ARRAYS, {"lenscope": "[" * 100_000}),
        save({"weights.a": np.zeros(3, np.float64)}, {"lenscope": METADATA}),
        (2**21).to_bytes(8, "little") + b" " * 2**21,
        *(
            save(ARRAYS, {"lenscope": METADATA.replace(*change)})
            for change in (
                ("film.bin", "../film.bin"),
                ("film.bin", "other.bin"),
                ('"epoch": 1', '"epoch": 0'),
                ('"done": 0', '"done": -1'),
                ('"size": 4', '"size": -4'),
                ('"step": 1', '"step": 1e999'),
            )
        ),
    ],
    ids=range(12),
)
def test_what_is_not_a_checkpoint_is_refused(content: bytes) -> None:
    with pytest.raises(RunError, match=r"^here: not a checkpoint; the run is broken$"):
        checkpoint.decode(content, "here")


@pytest.mark.parametrize("got", ["2", '"\\n\\ud800"'])
def test_a_checkpoint_of_another_format_is_refused_in_one_line(got: str) -> None:
    with pytest.raises(RunError, match=r"^here: format .*, expected 1; use a newer Lenscope$") as caught:
        checkpoint.decode(save(ARRAYS, {"lenscope": f'{{"format": {got}}}'}), "here")
    assert str(caught.value).isprintable()


def test_a_checkpoint_holds_where_the_run_was(tiny_run: Run) -> None:
    [name] = checkpoint.names(tiny_run.committed)
    loaded = checkpoint.load(tiny_run.path, name, tiny_run.committed)
    assert loaded.step == len(tiny_run.losses)
    assert loaded.appended["losses.f32"].size == 4 * len(tiny_run.losses)
    assert loaded.position.epoch == 3


def test_a_checkpoint_that_is_not_finite_is_never_written(tiny_run: Run) -> None:
    newest, _ = checkpoint.newest_sound(tiny_run.path, tiny_run.committed)
    assert newest is not None
    second = newest.state.second.copy()
    second[7] = np.nan
    state = State(newest.state.weights, newest.state.steps, newest.state.first, second)
    with pytest.raises(StorageError, match="not finite"):
        checkpoint.encode(Checkpoint(newest.step, newest.position, state), {})
