"""Whatever classes, files, runs, tensors and data sets are called, every verb prints printable text alone."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import threading
import tty
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import category

import pytest
from PIL import Image
from safetensors.numpy import save

import lenscope
from fixtures_data import picture, random_images
from fixtures_runs import plant
from hostile_names import NAMES
from lenscope.cli import main
from lenscope.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIX = slice(0, 6)  # of a group of ten are classes
# What rich and tyro write on a terminal: styles, the cursor hidden and shown, a line erased, the one above.
OWN = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A)|\r")
FOREIGN = ("\x1b[35;5m", "\x1b[8m")  # styles that are not ours


class Victim(NamedTuple):
    """A folder of pictures and runs in which everything has a hostile name."""

    root: Path
    data: Path
    run: Path
    other: Path
    broken: Path
    photo: Path
    names: tuple[str, ...]


def file_name(name: str) -> str:
    return name.encode(errors="surrogateescape")[:200].decode(errors="surrogateescape").replace("/", "∕")


def write_class(folder: Path, each: int) -> None:
    folder.mkdir(parents=True)
    for number, pixels in enumerate(random_images(each, 6, 6, seed=len(folder.name))):
        (folder / f"{number}.png").write_bytes(picture(pixels))


def make_victim(root: Path, names: tuple[str, ...]) -> Victim:
    """Ten names: six of classes, then data set, run, picture, and tensor; each of the last also what a run tells."""
    data = root / printable(file_name(names[6])) / file_name(names[6]) if is_utf8(names[6]) else root / "data"
    for part in ("train", "test"):
        for name in names[SIX]:
            write_class(data / part / file_name(name), 2)
    runs = [root / "runs" / f"{file_name(names[7])}{number}" for number in range(3)]
    for number, run in enumerate(runs):
        lenscope.train(data, out=run, epochs=1, batch_size=6, seed=number, progress=False)
    facts = json.loads((runs[0] / "environment.json").read_text())
    facts |= {"processor": names[6], "isa": names[7], "packages": {names[8]: names[9]}, names[9]: names[8]}
    facts["data"] |= {"name": names[6].encode(errors="replace").decode(), "licence": "\x1b[3J"}
    plant(runs[0], "environment.json", json.dumps(facts).encode())
    status = json.loads((runs[0] / "status.json").read_text())
    (runs[0] / "status.json").write_text(json.dumps(status | {"why": printable(names[9]).replace("\\", "\x1b")}))
    tensor = names[9].encode(errors="replace").decode()
    plant(runs[2], "weights/final.safetensors", save({tensor: random_images(1, 3).astype("f4")}))
    photo = root / f"{file_name(names[8])}.png"
    Image.fromarray(random_images(1, 30, 30)[0]).save(photo)
    return Victim(root, data, *runs, photo, names)


def is_utf8(name: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in name)


def commands(of: Victim) -> Iterator[tuple[str, ...]]:
    """Every verb, with and without success."""
    run, photo, name = str(of.run), str(of.photo), file_name(of.names[9])
    few = ("--epochs", "1", "--batch-size", "6")
    yield "train", "--data", str(of.data), *few, "--out", str(of.root / f"new{name}")
    yield "train", "--data", str(of.data), *few, "--out", str(of.root / f"new{name}")
    yield "train", "--resume", str(of.other), "--epochs", "2"
    yield "train", "--resume", run
    yield "train", "--data", name
    yield "train", "--init-from", str(of.broken), *few
    yield "train", f"--{name}", name
    yield "train", "--optimizer", name
    yield "train", "--config", str(of.root / name)
    yield "train", "--config", str(of.root / "settings.toml"), "--help"
    yield name, name
    for verb in ("evaluate", "insight", "plot", "report", "film", "verify"):
        yield verb, run
        yield verb, str(of.broken)
    yield "verify", run, "--replay"
    yield "predict", run, photo, "--show", str(of.root / f"show{name}")
    yield "predict", run, str(of.root / f"none{name}.png")
    yield "predict", run, str(of.data / "test"), "--csv"
    yield "compare", run, str(of.other)
    yield "report", run, str(of.other)
    yield "runs", str(of.run.parent)
    yield "summary", "--input", name
    yield ("doctor",)
    yield "data", "list"
    yield "data", "fetch", name
    yield "data", "pack", str(of.data)
    grid = ("--set", f"optimizer={name}", "--seeds", "1")
    yield "lab", "sweep", "--data", str(of.data), *grid, "--out", str(of.root / name)
    yield "lab", "reproduce", "--data", str(of.data), "--seeds", "1", "--out", str(of.root / f"lab{name}")
    yield "lab", "show", str(of.root / f"lab{name}")
    yield "lab", name
    yield "open", str(of.root / f"lab{name}")
    for place in (run, of.run.name, str(of.broken), name, f"{name}.html", of.run.name[1:]):
        yield "open", place
    yield ("open",)
    yield of.run.name, name
    yield "help", name
    yield "bench", "--rounds", name


def run_in_pipe(arguments: tuple[str, ...], capfd) -> str:
    main(arguments)
    return "".join(capfd.readouterr())


def run_in_terminal(arguments: tuple[str, ...], monkeypatch) -> str:
    """What reaches a terminal, as it stands: without the line discipline's carriage returns."""
    leader, follower = os.openpty()
    tty.setraw(follower)
    came: list[bytes] = []
    reader = threading.Thread(target=lambda: came.extend(iter(lambda: _read(leader), b"")))
    reader.start()
    with monkeypatch.context() as patch, os.fdopen(follower, "w", encoding="utf-8") as screen:
        patch.setenv("TERM", "xterm-256color")
        patch.setattr(sys, "stdout", screen)
        patch.setattr(sys, "stderr", screen)
        main(arguments)
    reader.join()
    os.close(leader)
    return b"".join(came).decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end was closed
        return b""


def assert_printable(text: str, command: tuple[str, ...]) -> None:
    wrong = {character for character in text if character != "\n" and category(character)[0] == "C"}
    wrong |= {"\u2028", "\u2029"} & set(text)
    assert not wrong, (command, text)


def attack(root: Path, names: tuple[str, ...], capfd, monkeypatch) -> int:
    """Every verb to a pipe, with --json, and to a terminal; how many outputs were looked at."""
    monkeypatch.setenv("LENSCOPE_CACHE", str(root / "cache"))
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    monkeypatch.chdir(root)
    victim, looked = make_victim(root, names), 0
    (root / "settings.toml").write_text(f"data = {json.dumps(printable(names[9]) + chr(27))}\n")
    for command in commands(victim):
        assert_printable(run_in_pipe(command, capfd), command)
        told = run_in_pipe((*command, "--json"), capfd)
        assert_printable(told, command)
        on_screen = run_in_terminal(command, monkeypatch)
        assert not any(sequence in on_screen for sequence in FOREIGN)
        assert_printable(OWN.sub("", on_screen), command)
        looked += 3
    return looked


@pytest.mark.pictures
def test_folders_whose_names_are_not_utf8_work_to_the_end(tmp_path, capfd, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for part in ("train", "test"):
        for name in ("\udcff\udcfe", "b"):
            write_class(tmp_path / "data" / part / name, 4)
    assert main(["train", "--data", "data", "--epochs", "1", "--batch-size", "8", "--out", "r\udcff"]) == 0
    run = tmp_path / "r\udcff"
    assert {path.name for path in (run / "plots").iterdir()} >= {"curves.png", "confusion.png", "mistakes.png"}
    assert "\\\\xff\\\\xfe" in (run / "report.html").read_text(encoding="utf-8")
    assert lenscope.runs.run.open_run(run).data.classes == ("b", "\\xff\\xfe")
    capfd.readouterr()
    for command in (["evaluate"], ["verify"], ["insight"], ["predict", "data/train/b/0.png", "--show", "s\udcfe"]):
        assert main([command[0], "r\udcff", *command[1:], "--json"]) == 0
        assert json.loads(capfd.readouterr().out)
    assert (tmp_path / "s\udcfe" / "0-steps.png").exists()


def test_each_picture_of_a_folder_with_hostile_names_is_one_row(digits_run, tmp_path, capfd, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [*{file_name(f"{place}{name}") for place, name in enumerate(NAMES)}, 'x"\n=1+1,2;3']
    for place, name in enumerate(names):
        write_class(tmp_path / "in" / name, 1)
        (tmp_path / "in" / f"{name[:150]}.png").write_bytes(b"" if place % 2 else picture(random_images(1, 6, 6)[0]))
    command = ("predict", str(digits_run.path), "in", "--csv", "--prepare", "resize")
    assert main([*command]) == 1
    told = capfd.readouterr()
    assert_printable(told.out + told.err, command)
    rows = list(csv.reader(told.out.split("\n")[:-1], strict=True))
    assert len(rows) == 1 + 2 * len(names)
    assert {len(row) for row in rows} == {15}
    assert sorted(row[0] for row in rows[1:]) == sorted(
        printable(f"in/{path}") for name in names for path in (f"{name}/0.png", f"{name[:150]}.png")
    )


def groups() -> list[tuple[str, ...]]:
    """A name of each kind in each group, turned so that every place is taken by every kind."""
    rows = [NAMES[start::10] for start in range(10)]
    return [tuple(row[turn:] + row[:turn]) for turn, row in enumerate(rows)]


@pytest.mark.pictures
def test_no_verb_prints_what_steers_a_terminal(tmp_path, capfd, monkeypatch) -> None:
    assert attack(tmp_path, groups()[0], capfd, monkeypatch) >= 100


@pytest.mark.slow
@pytest.mark.pictures
@pytest.mark.parametrize("group", range(1, 10))
def test_a_hundred_names_through_every_verb(group, tmp_path, capfd, monkeypatch) -> None:
    assert len(set(NAMES)) == 100
    assert attack(tmp_path, groups()[group], capfd, monkeypatch) >= 100
