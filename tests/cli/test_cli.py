"""The command line as a whole: help, wrong usage, exit codes, what a process imports, and how it ends."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
from itertools import cycle

import numpy as np
import pytest
from PIL import Image

from lenscope.cli import GROUPS, HIDDEN, LAB, VERBS
from lenscope.cli.output import print_json


def test_help_names_every_verb_and_its_options_with_defaults_that_say_something(cli):
    for before, listed in (("", [verb for group in GROUPS.values() for verb in group]), ("lab", [*LAB])):
        for arguments in ([], ["--help"], ["-h"]):
            done = cli(*before.split(), *arguments)
            assert done.code == 0
            assert re.findall(r"^  (\w+) ", done.out, re.MULTILINE) == listed
        assert cli("help", *before.split()) == done
    for verb in VERBS:
        done = cli(*verb.split(), "--help")
        assert (done.code, done.err) == (0, "")
        assert cli("help", *verb.split()) == done
        assert not re.search(r"PATH|\(default: \)", done.out)
        assert done.out.startswith(f"usage: lenscope {verb} ")
        assert re.findall(r"^\W*(--[a-z-]+)", done.out, re.MULTILINE)[-1] == "--json"
        assert not re.search(r"\(default:[^\w']+(None|True|False|'')\)", done.out)
    for old, new in HIDDEN.items():
        assert cli(old, "--help") == cli(*new.split(), "--help")
    assert "--resume RUN" in cli("train", "--resume", "x", "--help").out
    assert re.fullmatch(r"lenscope \d+\.\d+\.\d+\n", cli("--version").out)


WRONG = [
    (("trian",), "unknown command 'trian'; did you mean 'train'?"),
    (("rac",), "unknown command 'rac'; did you mean 'lab race'?"),
    (("help", "evaluat"), "did you mean 'evaluate'?"),
    (("RUN",), ", expected a command; did you mean 'lenscope open /"),
    (("train", "--data", "DIGITS", "--data-dir", "x"), "--data-dir x: requires a named data set, got the folder /"),
    (("--epochs",), "unknown command '--epochs'"),
    (("train", "--epochs", "0"), "epochs: got 0, expected greater than or equal to 1"),
    (("train", "--epochs", "1x"), "epochs: got '1x', expected an integer"),
    (("train", "--lr", "x"), "lr: got 'x', expected a number"),
    (("train", "--validation", "x"), "validation: got 'x', expected a number"),
    (("train", "--lr", "nan"), "learning_rate: got nan, expected a finite number"),
    (
        ("train", "--data", "DIGITS", "--batch-size", "61"),
        "batch_size: got 61, expected at most the 60 training images",
    ),
    (("train", "--network", "lenett"), "did you mean 'lenet'?"),
    (("train", "--network", "lenet1998", "--engine", "fused"), "--engine fused: trains only a LeNet, got LeNet1998"),
    (("train", "--recipe", "lectur"), "did you mean 'lecture'?"),
    (("train", "--data", "mnits"), "did you mean 'mnist'?"),
    (("verify", "RUN", "b"), "got b in addition, expected nothing more; --help shows the usage"),
    (("train", "--epoch", "3"), "did you mean --epochs"),
    (("train", "--seed"), "--seed: got no value, expected one"),
    (("train", "--patience", "3"), "add --validation 5000"),
    (("train", "--data", "DIGITS", "--train-images", "51", "--validation", "10"), "at most the 50 training images"),
    (("train", "--data", "DIGITS", "--validation", "60"), "validation: got 60 of 60 images"),
    (("train", "--config", "none.toml"), "none.toml: cannot be read: No such file or directory"),
    (("train", "--device", "cuda"), "--device cuda: not available to PyTorch"),
    (("train", "--data", "DIGITS", "--batch-size", "20", "--out", "."), "; choose another name"),
    (("train", "--data", "DIGITS", "--batch-size", "20", "--out", "file"), "--out file: is a file"),
    (("train", "--resume"), "--resume: got no value, expected one"),
    (("train", "--resume", "x", "--lr", "1"), "--lr with --resume: a run resumes with its own settings"),
    (("train", "--checkpoint-every", "5m"), "checkpoint_every: got '5m'"),
    (("evaluate",), "missing RUN, a run: its directory, its name in runs/, or last"),
    (("predict", "RUN"), "got no picture, expected at least one"),
    (("report",), "got no run, expected at least one; lenscope report RUN…"),
    (("film", "RUN", "--layer", "conv9"), "unknown layer 'conv9'; did you mean 'conv2'? known: conv1, conv2"),
    (("film", "RUN", "--out", "f.avi"), "--out f.avi: got .avi, expected .gif or .webp"),
    (("compare", "RUN"), "got 1 run, expected two or more"),
    (("runs", "nowhere"), "nowhere: no such directory"),
    (("summary", "--input", "28x28"), "input: got '28x28', expected channels, height and width such as 1x32x32"),
    (("summary", "--classes", "1"), "classes: got 1, expected greater than or equal to 2"),
    (("data", "fetch"), "got no data set, expected a name; lenscope data fetch NAME"),
    (("data", "fetch", "kmnits"), "did you mean 'kmnist'?"),
    (("data", "find"), "unknown action 'find'"),
    (("bench", "--engines", "fussed"), "unknown engine 'fussed'; did you mean 'fused'?"),
    (("bench", "--threads", "1,two"), "threads: got 'two', expected a valid integer"),
    (("bench", "--batch-sizes", "0"), "batch_sizes: got '0', expected greater than or equal to 1"),
]
BROKEN = [
    (("train", "--resume", "nothing"), "nothing: no run of that name; 'lenscope runs' lists them"),
    (("train", "--data", "DIGITS", "--batch-size", "20", "--out", "file/run"), "cannot be written: Not a directory"),
    (("train", "--data", "empty"), "empty"),
    (("evaluate", "empty"), "lacks manifest.json"),
    (("summary", "--input", "1x28x28"), "fc1 got 256 values"),
    *(((verb, "no/where"), "no/where: no such run directory; ") for verb in ("report", "insight", "open")),
    *(((verb, "last"), "last: no run yet; create one with: lenscope train") for verb in ("report", "evaluate", "film")),
    (("evaluate", "lst"), "lst: no run of that name; did you mean 'last'? 'lenscope runs' lists them"),
    (("open", "file"), "file: is a file, expected a run directory"),
    (("open", "none.html"), "none.html: no run of that name"),
    (("compare", "file", "last"), "file: is a file, expected a run directory"),
]


@pytest.mark.parametrize(
    ("code", "arguments", "says"), [*((2, *case) for case in WRONG), *((1, *case) for case in BROKEN)]
)
def test_an_error_is_one_line_with_its_exit_code(code, arguments, says, here, cli, digits, digits_run):
    (here / "file").write_text("not a directory")
    (here / "empty").mkdir()
    given = {"DIGITS": digits, "RUN": digits_run.path}
    done = cli(*(given.get(word, word) for word in arguments))
    assert (done.code, done.out) == (code, "")
    assert says in done.complaint
    assert done.complaint.startswith("lenscope")
    assert sorted(path.name for path in here.iterdir()) == ["empty", "file"]  # nothing half-written


PATHS = [
    "train --data DIGITS --out", "train --resume", "train --config", "train --data", "train --data kmnist --data-dir",
    "train --data DIGITS --batch-size 20 --init-from", "evaluate", "evaluate RUN --data", "predict", "predict RUN",
    "predict RUN photo.png --show", "plot", "report", "report RUN --out", "film RUN --out", "insight", "verify",
    "compare RUN", "open", "runs", "data pack", "data locate kmnist --data-dir", "lab", "lab show",
    "lab sweep --config", "lab reproduce --data DIGITS --out",
]  # fmt: skip
IMPOSSIBLE = {"NUL": "a\0b", "surrogate": "a\ud800", "long": "b" * 300, "deep": "c/" * 3000}


@pytest.mark.parametrize(("command", "kind"), [*zip(PATHS, cycle(IMPOSSIBLE))])
def test_an_impossible_path_is_one_line(command, kind, here, cli, digits, digits_run):
    given = {"DIGITS": digits, "RUN": digits_run.path}
    done = cli(*(given.get(word, word) for word in command.split()), IMPOSSIBLE[kind])
    assert done.code in {1, 2}
    assert not done.out
    assert re.match(rf"lenscope {command.split()[0]}( \w+)?: ", done.complaint)
    assert not list(here.iterdir())


def test_json_has_null_for_numbers_that_are_not_finite(capsys):
    print_json({"a": [float("nan"), (np.float64("inf"), 1.5)], "b": {"c": -float("inf")}})
    assert json.loads(capsys.readouterr().out) == {"a": [None, [None, 1.5]], "b": {"c": None}}


# Commands, in this order in one process, and which of HEAVY each imports that those before it did not.
HEAVY = {
    "PIL", "jinja2", "lenscope.native", "matplotlib", "multiprocessing", "numpy", "pydantic", "requests", "rich",
    "safetensors", "tarfile", "threadpoolctl", "torch", "tyro",
}  # fmt: skip
IMPORTS = (
    ("--help", ""),
    ("lab --help", ""),
    ("train --help", "pydantic tyro"),
    ("bench --help", ""),
    ("summary", "lenscope.native numpy"),
    ("train --data DIGITS --epochs 1 --batch-size 20 --out run --quiet --no-pictures --no-report", "safetensors"),
    ("verify run --replay --quiet", "rich"),
    ("runs .", ""),
    ("compare run run", ""),
    ("evaluate run", ""),
    ("insight run", "threadpoolctl"),
    ("report run", "jinja2"),
    ("predict run seven.png", "PIL"),
    ("film run", "matplotlib"),
    ("lab reproduce --help", ""),
)
NOTE_IMPORTS = """
import json, sys
import lenscope
from lenscope.cli import main

before, heavy = set(), set(json.loads(sys.argv[1]))
for arguments in ([], *json.loads(sys.argv[2])):
    code = main(arguments) if arguments else 0
    now = heavy & set(sys.modules)
    print(code, *sorted(now - before), file=sys.stderr)
    before = now
"""


def test_each_verb_imports_only_what_it_needs(here, tiny, digits):
    Image.fromarray(tiny.test.images[0, 0]).save("seven.png")
    commands = [arguments.replace("DIGITS", digits).split() for arguments, _ in IMPORTS]
    call = [sys.executable, "-c", NOTE_IMPORTS, json.dumps(sorted(HEAVY)), json.dumps(commands)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    noted = [line for line in done.stderr.splitlines() if not line.startswith("pictures are prepared")]
    assert noted == ["0", *(f"0 {imported}".rstrip() for _, imported in IMPORTS)]


def test_only_a_process_of_its_own_changes_the_garbage_collector(cli):
    code = "import gc; from lenscope.cli import main; main(); print(gc.get_threshold()[0], gc.get_freeze_count() > 0)"
    command = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "100000 True"
    before = gc.get_threshold(), gc.get_freeze_count()
    cli("--version")
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


@pytest.mark.slow
def test_the_garbage_collector_skips_the_objects_of_pytorch():
    code = "import gc, lenscope.pytorch; print(gc.isenabled(), gc.get_freeze_count() > 100_000)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_a_closed_pipe_causes_no_traceback_in_python_m_lenscope(tmp_path):
    command = [sys.executable, "-m", "lenscope", "--help"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=buffered, **pipes) as process:
        process.stdout.close()  # long before the process prints
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_ctrl_c_before_the_first_output_is_reported(cli, monkeypatch):
    monkeypatch.setattr("lenscope.cli.look.Runs.execute", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    assert cli("runs") == (130, "", "lenscope runs: interrupted\n")


def end_of(*arguments, at_exit="None", before=":", **settings):
    """How `lenscope` ends in a process of its own, after a command in its shell, with `at_exit` run at its exit."""
    code = (
        "import atexit, os, signal, sys; from lenscope import cli\n"
        f"atexit.register(lambda: {at_exit}); sys.argv = {['lenscope', *map(str, arguments)]}; sys.exit(cli.main())"
    )
    command = ["sh", "-c", f'{before}; exec "$@"', "sh", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


@pytest.mark.parametrize(
    ("arguments", "err"), [("--version", ""), ("verb", "lenscope verb: unknown command 'verb'; did")]
)
def test_ctrl_c_during_pythons_cleanup_prints_nothing(arguments, err):
    got = end_of(arguments, at_exit="os.kill(os.getpid(), signal.SIGINT)")
    assert got.returncode == -signal.SIGINT
    assert got.stderr.startswith(err)
    assert got.stderr.count("\n") == bool(err)


def test_ctrl_c_is_one_line_and_is_ignored_where_the_shell_ignores_it(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'lenscope.cli.look': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
    )
    interrupting = os.environ | {"PYTHONPATH": str(tmp_path)}
    got = end_of("runs", tmp_path, env=interrupting)
    assert (got.returncode, got.stderr) == (130, "lenscope runs: interrupted\n")
    ignoring = end_of("runs", tmp_path, env=interrupting, before='trap "" INT')
    assert (ignoring.returncode, ignoring.stderr) == (0, "")


def test_commands_in_a_message_begin_as_this_shell_finds_them(here, monkeypatch, cli):
    monkeypatch.setattr(sys, "argv", ["my clone/.venv/bin/lenscope"])
    assert cli("evaluate", "last").err == (
        "lenscope evaluate: last: no run yet; create one with: 'my clone/.venv/bin/lenscope' train\n"
    )
    assert cli("evaluate", "nothing").err.endswith("; ''my clone/.venv/bin/lenscope' runs' lists them\n")
