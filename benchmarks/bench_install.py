"""Seconds and sizes of installing Lenscope and of whole commands, for two checkouts in turns.

    python benchmarks/bench_install.py BEFORE                 this checkout and the one at BEFORE, printed
    python benchmarks/bench_install.py BEFORE --save          and appended to benchmarks/results/install.csv
    python benchmarks/bench_install.py BEFORE --folder PLACE  keeps the clones in PLACE, and reuses them

Each checkout is cloned, and the commit of its branch is installed by `make train`; the cache of pip should be warm. The
commands then run in these environments in turns. About ten minutes on two cores; needs make, git and a C++ compiler.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lenscope.environment import describe_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "install.csv"
COMMANDS = {
    "--help": "--help",
    "summary": "summary",
    "runs": "runs .",
    "evaluate": "evaluate run",
    "predict": "predict run digit.png",
    "insight": "insight run",
    "verify": "verify run",
    "report": "report run",
    "train --recipe fast": "train --recipe fast --out OUT",
    "train": "train --out OUT",
}
DIGIT = (
    "from PIL import Image; page = Image.new('L', (28, 28)); page.paste(255, (13, 5, 16, 23)); page.save('digit.png')"
)


class Took(NamedTuple):
    """The cost of a command: wall seconds, CPU seconds, seconds until its first output, peak memory in MiB.

    CPU seconds include those of the processes that it starts and waits for, such as compilers; memory does not.
    """

    seconds: float
    cpu_seconds: float
    first_output_seconds: float
    peak_mib: float


def run(command: list[str | Path], folder: Path) -> Took:
    """Run a command; if it fails, exit with its output."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout
    printed = process.stdout.read(1)
    first = time.perf_counter() - start
    printed += process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}\n{printed.decode(errors='replace')}")
    took = time.perf_counter() - start
    return Took(took, usage.ru_utime + usage.ru_stime, first, usage.ru_maxrss / 1024)


def megabytes(paths: list[Path], *, on_disk: bool = False) -> float:
    """The size of files and folders in 10⁶ bytes; with `on_disk` in whole blocks, like du."""
    files = {path: path.lstat() for start in paths for path in (start, *start.rglob("*"))}
    return sum(512 * status.st_blocks if on_disk else status.st_size for status in files.values()) / 1e6


def install(source: Path, place: Path) -> Iterator[tuple[str, float | Took]]:
    """Clone, `make train`, build a wheel, download its dependencies; yields a name and a measurement for each."""
    subprocess.run(["git", "clone", "--quiet", source, place], check=True)
    yield "make train, fresh clone", run(["make", "train"], place)
    yield "environment", megabytes([place / ".venv"], on_disk=True)
    pip: list[str | Path] = [place / ".venv/bin/python", "-m", "pip", "--quiet"]
    pins = str(place / "constraints.txt")
    os.environ |= {"PIP_CONSTRAINT": pins, "PIP_BUILD_CONSTRAINT": pins}
    subprocess.run(["rm", "-r", place / "build"], check=True)
    yield "pip wheel, native build", run([*pip, "wheel", "--no-deps", "--wheel-dir", "wheels", "."], place)
    wheels = list((place / "wheels").iterdir())
    yield "wheel", megabytes(wheels)
    run([*pip, "download", "--dest", "downloads", *wheels], place)
    yield "downloads, wheel and all that it needs", megabytes(list((place / "downloads").iterdir()))
    run([place / ".venv/bin/python", "-c", DIGIT], place)


def trained(place: Path) -> float:
    """The seconds of training and evaluation that a run measured."""
    with (place / "metrics.csv").open(encoding="utf-8") as file:
        return sum(
            float(row[name] or 0) for row in csv.DictReader(file) for name in ("train_seconds", "evaluation_seconds")
        )


def command_of(what: str, place: Path, out: str) -> list[str | Path]:
    """A verb of the checkout that is installed in a place."""
    return [place / ".venv/bin/lenscope", *COMMANDS[what].replace("OUT", out).split()]


def turns(places: dict[str, Path], rounds: int) -> dict[tuple[str, str], list[Took]]:
    """The cost of every command of both checkouts, in turns; a first round is not counted and writes bytecode."""
    for place in places.values():
        subprocess.run(["rm", "-rf", place / "out"], check=True)
        if not (place / "run").exists():
            run(command_of("train --recipe fast", place, "run"), place)
    times: dict[tuple[str, str], list[Took]] = {}
    for what in COMMANDS:
        for turn in range(-1 if "train" not in what else 0, rounds):
            for side, place in list(places.items())[:: 1 if turn % 2 else -1]:
                took = run(command_of(what, place, f"out/{what.split()[-1]}-{turn}"), place)
                if turn < 0:
                    continue
                times.setdefault((what, side), []).append(took)
                if what.startswith("train"):
                    rest = took.seconds - trained(place / f"out/{what.split()[-1]}-{turn}")
                    times.setdefault((f"{what}, less training and evaluation", side), []).append(
                        took._replace(seconds=rest)
                    )
        ours = [key for key in times if key[0] in {what, f"{what}, less training and evaluation"}]
        print(*(line(*key, row_of(times[key])) for key in ours), sep="\n", flush=True)
    return times


def row_of(measured: float | Took | list[Took]) -> dict[str, Any]:
    """The columns of a measurement: megabytes, or medians with minimum and maximum."""
    if isinstance(measured, float):
        return dict.fromkeys(("rounds", "median_seconds", "least_seconds", "most_seconds", "cpu_seconds",
                              "first_output_seconds", "peak_mib"), "") | {"megabytes": f"{measured:.1f}"}  # fmt: skip
    all_of = measured if isinstance(measured, list) else [measured]
    seconds, cpu, first, peak = (list(column) for column in zip(*all_of, strict=True))
    return {
        "rounds": len(all_of),
        "median_seconds": f"{statistics.median(seconds):.3f}",
        "least_seconds": f"{min(seconds):.3f}",
        "most_seconds": f"{max(seconds):.3f}",
        "cpu_seconds": f"{statistics.median(cpu):.3f}",
        "first_output_seconds": f"{statistics.median(first):.3f}",
        "peak_mib": f"{statistics.median(peak):.0f}",
        "megabytes": "",
    }


def line(what: str, side: str, row: dict[str, Any]) -> str:
    """A row as text."""
    if row["megabytes"]:
        return f"{side:<7}{what:<45}{row['megabytes']:>9} MB"
    return (
        f"{side:<7}{what:<45}{row['median_seconds']:>9} s ({row['least_seconds']} to {row['most_seconds']}), "
        f"{row['cpu_seconds']} s CPU, "
        f"first output after {row['first_output_seconds']} s, {row['peak_mib']} MiB"
    )


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the checkout to compare with")
    parser.add_argument("--after", type=Path, default=ROOT, help="by default this checkout")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the commands; installations run once")
    parser.add_argument("--folder", type=Path, help="directory for the clones; by default a temporary one")
    parser.add_argument("--save", action="store_true", help=f"append the rows to {RESULTS.name}")
    options = parser.parse_args()
    machine = describe_environment()
    about = {"date": time.strftime("%Y-%m-%d"), "machine": f"{machine['processors']} cores of {machine['processor']}"}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        places = {side: folder / side for side in ("before", "after")}
        measured: dict[tuple[str, str], Any] = {}
        for side, place in places.items():
            for what, took in () if place.exists() else install(getattr(options, side).resolve(), place):
                measured[what, side] = took
                print(line(what, side, row_of(took)), flush=True)
        measured |= turns(places, options.rounds)
    rows = [about | {"what": what, "checkout": side} | row_of(row) for (what, side), row in measured.items()]
    if options.save:
        from bench_epoch import save

        save(rows, RESULTS)


if __name__ == "__main__":
    main()
