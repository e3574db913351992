"""Text of others on its way to a reader: printable, on one line, in any encoding, and nothing prints past it."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lenscope
from lenscope.cli import main
from lenscope.cli.output import print_line, table
from lenscope.errors import Interrupted, LenscopeError
from lenscope.text import encodable, is_printable, printable, screen, to_json

ROOT = Path(lenscope.__file__).parent
ANY = st.text(st.characters(), max_size=20)  # surrogates, too


@given(ANY)
def test_a_text_becomes_one_printable_line_and_stays_it(text: str) -> None:
    shown = printable(text)
    assert all(map(is_printable, shown))
    assert printable(shown) == shown
    assert len(shown.splitlines()) <= 1


@given(
    st.lists(st.dictionaries(ANY, ANY | st.floats() | st.none(), max_size=3), max_size=3),
    st.sampled_from(["utf-8", "cp1252", "ascii"]),
)
def test_a_json_document_is_printable_and_says_the_same(value: list[dict[str, object]], encoding: str) -> None:
    text = to_json(value, encoding)
    assert all(character == "\n" or is_printable(character) for character in text)
    assert text.encode(encoding)
    finite = [{k: None if isinstance(v, float) and v - v != 0 else v for k, v in row.items()} for row in value]
    assert json.loads(text, parse_constant=pytest.fail) == json.loads(json.dumps(finite))


@given(ANY)
def test_what_files_are_to_hold_can_be_encoded(text: str) -> None:
    assert len(encodable(text).encode()) >= len(text)
    if not any(0xD800 <= ord(character) < 0xE000 for character in text):
        assert encodable(text) == text


def test_every_error_is_one_printable_line() -> None:
    assert str(LenscopeError("a\x1b[2J\nb\u202e\udcff")) == "a\\x1b[2J\\nb\\u202e\\xff"
    assert str(Interrupted(Path(), 2, "x\n")) == "interrupted; x\\n"


def test_a_table_is_aligned_by_columns_of_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(*table(("class", "n"), ("日本", "1"), ("a\nb", "22")))
    assert capsys.readouterr().out == "class   n\n日本    1\na\\nb   22\n"


VERBS = {  # what prints most of our own characters, with exit codes
    "summary": 0,
    "summary --help": 0,
    "train --help": 0,
    "train --epochs 1 --batch-size 20 --out again --no-pictures --data": 0,
    "runs .": 0,
    "compare again again": 0,
    "insight again": 0,
    "evaluate again": 0,
    "verify again --replay": 0,
    "doctor": 0,
    "data list": 0,
    "report again": 0,
    "train --resume again": 2,
    "predict again": 2,
    "x日\udcff": 2,
}


def strict_streams(encoding: str, monkeypatch) -> list[io.TextIOWrapper]:
    """Standard output and error of an encoding, which fail for what it lacks."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2)]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    return streams


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "utf-8"])
def test_no_encoding_of_the_standard_streams_ends_in_a_traceback(digits, encoding, monkeypatch, here) -> None:
    streams = strict_streams(encoding, monkeypatch)
    commands = [verb.split() + [digits] * verb.endswith("--data") for verb in VERBS]
    assert dict(zip(VERBS, map(main, commands), strict=True)) == VERBS
    assert streams[0].errors == "strict"  # as it was
    told, noted = map(written, streams)
    assert "Conv2d" in told
    assert "finished" in told
    assert ("5×5" if encoding in {"cp1252", "utf-8"} else "5x5") in told
    assert f"lenscope x{'日' if encoding == 'utf-8' else chr(92) + 'u65e5'}\\xff: unknown command" in noted


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
def test_no_encoding_fails_in_python_either(digits, encoding, monkeypatch, here) -> None:
    """Where no command line has screened the streams."""
    streams = strict_streams(encoding, monkeypatch)
    data = lenscope.load(digits)
    run = lenscope.train(data, epochs=1, out="run")
    sys.stdout.write(f"{data}\n{run}\n{run.config}\n{lenscope.summary()}\n{lenscope.evaluate(run, data)}\n")
    printed, noted = map(written, streams)
    assert "Dataset" in printed
    assert "Conv2d" in printed
    assert "Conv2d" in noted
    assert "\\" not in noted


def test_what_others_print_is_screened_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning of a library, or a help text with a default from a file; styles pass."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with screen():
        sys.stderr.write("\x1b[1mbold\x1b[0m \x1b[2J\u202e\n\tx")
        sys.stderr.write(warnings.formatwarning("\x1b]0;title\x07", UserWarning, "x.py", 1, ""))
        assert not sys.stderr.isatty()
    assert sys.stderr is stream
    assert stream.getvalue().startswith("\x1b[1mbold\x1b[0m \\x1b[2J\\u202e\n\tx")
    assert "\\x1b]0;title\\x07" in stream.getvalue()


def test_a_help_text_shows_a_files_names_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.toml").write_text('data = "a\\u001b]0;title\\u0007b"\n')
    assert main(["train", "--config", str(tmp_path / "settings.toml"), "--help"]) == 0
    told = capsys.readouterr().out
    assert "title" in told
    assert "\x1b]" not in told


def printers(path: Path) -> set[str]:
    """What a module uses that can print."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)}
    return {name for name in names if name in {"print", "sys.stdout", "sys.stderr"} or name.endswith("onsole.print")}


def test_nothing_prints_past_it() -> None:
    """Two modules print: the command line's output and the watchers' screen. All others hand them lines."""
    found = {path.relative_to(ROOT).as_posix(): printers(path) for path in ROOT.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {
        "text.py": {"sys.stdout", "sys.stderr"},
        "cli/__init__.py": {"sys.stdout"},  # flushed, and pointed to nothing when its reader has gone
        "cli/output.py": {"print", "sys.stdout", "sys.stderr"},
        "watch/screen.py": {"sys.stderr", "console.print"},
    }


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_is_no_failure(closed: str) -> None:
    command = f"exec {sys.executable} -m lenscope --version {closed}"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_kind_of_number_that_is_not_finite_reaches_json() -> None:
    numbers = [np.float32("nan"), np.float64("inf"), float("-inf"), 1]
    assert json.loads(to_json(numbers)) == [None, None, None, 1]
