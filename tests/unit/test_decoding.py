from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures_data import picture, random_images
from lenscope.data import decoding
from lenscope.data.dataset import resize
from lenscope.data.decoding import decode, decode_all, serve
from lenscope.errors import DataError


def write_pictures(folder: Path, count: int, side: int = 6) -> list[tuple[str, int]]:
    for index in range(count):
        (folder / f"{index}.png").write_bytes(picture(random_images(1, side, side, seed=index)[0]))
    paths = [folder / f"{index}.png" for index in range(count)]
    return [(str(path), path.stat().st_size) for path in paths]


@pytest.mark.parametrize("processes", [1, 3])
def test_pictures_come_in_their_order_from_any_number_of_processes(processes: int, tmp_path: Path) -> None:
    files = write_pictures(tmp_path, 300)
    (tmp_path / "77.png").write_bytes(b"no picture")
    found = list(decode_all(files, processes))
    assert found[77] == "not a picture; expected PNG, JPEG, BMP, GIF, WEBP, TIFF by content"
    for index, one in enumerate(found):
        assert index == 77 or np.array_equal(one, random_images(1, 6, 6, seed=index)[0])


def test_names_that_are_no_text_and_hold_line_breaks_are_read(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/x\n\xff.png")
    Path(path).write_bytes(picture())
    [found] = decode_all([(path, 1)], 1)
    assert np.array_equal(found, random_images(1, 6, 6)[0])


def test_small_pictures_are_wanted_from_a_moment_on(tmp_path: Path) -> None:
    files = write_pictures(tmp_path, 2, side=40)
    for found in decode_all(files, 1, lambda: True):
        assert isinstance(found, np.ndarray)
        assert found.shape == (32, 32)
    plain = random_images(1, 40, 40)[0]
    assert np.array_equal(decode(Path(files[0][0]), shrink=True), resize(plain[None, None], 32)[0, 0])


def test_an_answer_is_cut_where_it_grows_large_and_the_rest_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    answer = decoding._answer
    monkeypatch.setattr(decoding, "_answer", lambda source: answers.append(answer(source)) or answers[-1])
    plain = np.zeros((1500, 1500), np.uint8)
    for index in range(5):
        (tmp_path / f"{index}.png").write_bytes(picture(plain))
    found = list(decode_all([(str(tmp_path / f"{index}.png"), 1) for index in range(5)], 1))
    assert [len(one) for one in answers] == [2, 2, 1]
    assert len(found) == 5


def test_a_batch_ends_with_many_bytes() -> None:
    assert [len(batch) for batch in decoding._batches([("x", 2**19)] * 5)] == [2, 2, 1]
    assert [len(batch) for batch in decoding._batches([("x", 1)] * 130)] == [64, 64, 2]
    assert [len(batch) for batch in decoding._batches([("x", 1)] * 64)] == [64]


KILLER = """
import os, sys
sys.path[:] = {path!r}
from lenscope.data import decoding
read = decoding.read_picture
def fatal(path):
    if path.name == "13.png":
        sys.stdout.buffer.write({last!r})
        sys.stdout.buffer.flush()
        os.abort()
    return read(path)
decoding.read_picture = fatal
decoding.serve(sys.stdin.buffer, sys.stdout.buffer)
"""


@pytest.mark.parametrize(("processes", "last"), [(1, b""), (2, b""), (1, b"[[2, ")])  # the last breaks off in a line
def test_a_picture_that_ends_its_process_is_one_that_cannot_be_read(
    processes: int, last: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_PROGRAM", KILLER.replace("{last!r}", repr(last)))
    found = list(decode_all(write_pictures(tmp_path, 30), processes))
    assert found[13] == decoding.ENDED
    assert sum(isinstance(one, str) for one in found) == 1


def test_an_answer_that_breaks_off_is_an_end() -> None:
    with pytest.raises(EOFError):
        decoding._answer(io.BytesIO(b""))
    with pytest.raises(EOFError):
        decoding._answer(io.BytesIO(b"[[2, 2]]\nabc"))


@pytest.mark.parametrize(
    ("executable", "program", "message"),
    [("/nowhere/python", "", "no process for decoding could be started"), (None, "1/0", "ended at once")],
)
def test_processes_that_do_not_start_are_one_line(
    executable: str | None, program: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable or sys.executable)
    monkeypatch.setattr(decoding, "_PROGRAM", program)
    with pytest.raises(DataError, match=message):
        list(decode_all([("x", 1)], 1))


def test_whoever_stops_looking_leaves_no_process_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    start = decoding._start
    monkeypatch.setattr(decoding, "_start", lambda: started.append(start()) or started[-1])
    found = decode_all(write_pictures(tmp_path, 300), 2)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert [process.poll() is not None for process in started] == [True, True]
    assert threading.active_count() == 1 or not any("ThreadPool" in each.name for each in threading.enumerate())


def test_a_process_that_was_ended_is_not_replaced() -> None:
    decoder = decoding.Decoder()
    decoder.end()
    with pytest.raises((OSError, EOFError, ValueError)):
        decoder.ask(["x"], shrink=False)


def test_what_a_process_does(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    paths = [str(tmp_path / "a.png"), str(tmp_path / "none.png")]
    requests = json.dumps({"paths": paths, "shrink": False}).encode() + b"\n"
    sink = io.BytesIO()
    serve(io.BytesIO(requests), sink)
    ready, told, pixels = sink.getvalue().split(b"\n", 2)
    assert ready == b"ready"
    assert json.loads(told) == [
        [6, 6],
        "cannot be read: No such file or directory; expected a picture: PNG, JPEG, BMP, GIF, WEBP, TIFF",
    ]
    assert pixels == random_images(1, 6, 6)[0].tobytes()


def test_what_a_process_answers_ends_where_it_grows_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "ANSWER_BYTES", 40)
    (tmp_path / "a.png").write_bytes(picture())
    sink = io.BytesIO()
    serve(io.BytesIO(json.dumps({"paths": [str(tmp_path / "a.png")] * 9, "shrink": False}).encode() + b"\n"), sink)
    assert json.loads(sink.getvalue().split(b"\n", 2)[1]) == [[6, 6], [6, 6]]
