from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures_data import picture, random_images
from lenscope.data.folders import decoding
from lenscope.data.folders.decoding import decode, decode_all, serve
from lenscope.data.resize import resize
from lenscope.errors import DataError


def write_list(folder: Path, paths: list[str]) -> tuple[Path, int]:
    (folder / "paths").write_text("".join(json.dumps(path) + "\n" for path in paths))
    return folder / "paths", len(paths)


def write_pictures(folder: Path, count: int, side: int = 6) -> tuple[Path, int]:
    for index in range(count):
        (folder / f"{index}.png").write_bytes(picture(random_images(1, side, side, seed=index)[0]))
    return write_list(folder, [str(folder / f"{index}.png") for index in range(count)])


def test_pictures_come_in_order_and_a_crash_counts_as_an_unreadable_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = write_pictures(tmp_path, 30)
    (tmp_path / "7.png").write_bytes(b"no picture")
    crash = """
def fatal(path, read=decoding.read_picture):
    if path.name in ("13.png", "29.png"):
        sys.stdout.buffer.write(b"[[2, ")
        sys.stdout.buffer.flush()
        os._exit(1)
    return read(path)
decoding.read_picture = fatal
serve("""
    program = decoding._PROGRAM.replace("import sys\n", "import os, sys\n", 1)
    program = program.replace("import serve\n", "import serve\nfrom lenscope.data.folders import decoding\n")
    monkeypatch.setattr(decoding, "_PROGRAM", program.replace("\nserve(", crash.replace("{", "{{").replace("}", "}}")))
    found = list(decode_all(*listed, 3))
    assert found[7] == "not a picture; expected PNG, JPEG, BMP, GIF, WEBP, TIFF by content"
    assert found[13] == found[29] == decoding.CRASHED
    for index, one in enumerate(found):
        assert index in {7, 13, 29} or np.array_equal(one[0], random_images(1, 6, 6, seed=index)[0])


def test_a_process_that_was_killed_from_outside_costs_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, read = iter([False, True]), decoding._read

    def killed(pipe: Any) -> decoding.Decoded:
        if next(answers, False):
            raise EOFError
        return read(pipe)

    monkeypatch.setattr(decoding, "_read", killed)
    found = list(decode_all(*write_pictures(tmp_path, 5), 2))
    assert all(np.array_equal(one[0], random_images(1, 6, 6, seed=index)[0]) for index, one in enumerate(found))


def test_names_with_line_breaks_and_bytes_that_are_not_utf8_are_read(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/x\n\xff.png")
    Path(path).write_bytes(picture())
    [found] = decode_all(*write_list(tmp_path, [path]), 4)
    assert np.array_equal(found[0], random_images(1, 6, 6)[0])


def test_pictures_are_shrunk_from_the_moment_this_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    start = decoding._start
    monkeypatch.setattr(decoding, "_start", lambda *args, **kw: started.append(start(*args, **kw)) or started[-1])
    wants = iter([False] * 3 + [True] * 9)  # asked before the first picture and after each
    found = decode_all(*write_pictures(tmp_path, 5, side=40), 2, lambda: next(wants))
    assert [len(one[0]) for one in found] == [40, 40, 40, 32, 32]
    assert [process.poll() is not None for process in started] == [True] * 4
    plain = random_images(1, 40, 40)[0]
    assert np.array_equal(decode(tmp_path / "0.png", shrink=True)[0], resize(plain[None, None], 32)[0, 0])


@pytest.mark.parametrize(
    ("executable", "program", "message"),
    [("/nowhere/python", "", "no process for decoding could be started"), (None, "1/0", "ended at once")],
)
def test_processes_that_do_not_start_are_reported_in_one_line(
    executable: str | None, program: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable or sys.executable)
    monkeypatch.setattr(decoding, "_PROGRAM", program)
    with pytest.raises(DataError, match=message):
        list(decode_all(*write_list(tmp_path, ["x"]), 1))


def test_a_process_answers_for_every_nth_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    paths, _ = write_list(tmp_path, ["x", str(tmp_path / "none.png"), "x", str(tmp_path / "a.png")])
    sink = io.BytesIO()
    serve(str(paths), 1, 2, False, "squeeze", sink)
    ready, reason, shape, pixels = sink.getvalue().split(b"\n", 3)
    assert ready == b"ready"
    assert json.loads(reason).startswith("cannot be read: No such file or directory; expected a picture: PNG")
    assert json.loads(shape) == [[6, 6], [6, 6]]
    assert pixels == random_images(1, 6, 6)[0].tobytes()
    for cut in (b"", b"[[2, 2], [2, 2]]", b"[[2, 2], [2, 2]]\nabc"):
        with pytest.raises(EOFError):
            decoding._read(io.BytesIO(cut))
