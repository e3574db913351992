"""Kill a sweep's driver or one of its workers at random moments and start it again, until it ends by itself.

    python tests/sweep_kills.py KILLS FOLDER [local|ray]

Prints how many kills there were; exits with 1 where the results, times apart, are not those of an undisturbed sweep.
"""

from __future__ import annotations

import csv
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from lenscope.data.idx import write_idx
from lenscope.lab import Sweep, conduct

GRID = {"optimizer": ["adam", "sgd"], "batch_size": [20], "epochs": [40], "checkpoint_every": ["10steps"]}


def data(folder: Path) -> Path:
    """Sixty training and twenty test images of MNIST."""
    import lenscope

    splits = lenscope.load("mnist")
    folder.mkdir(parents=True)
    for part, dataset, count in (("train", splits.train, 600), ("t10k", splits.test, 20)):
        write_idx(folder / f"{part}-images-idx3-ubyte", dataset.images[:count, 0])
        write_idx(folder / f"{part}-labels-idx1-ubyte", dataset.labels[:count])
    return folder


def results(path: Path) -> list[dict[str, str]]:
    """The rows of an experiment, without its times."""
    with (path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: cell for name, cell in row.items() if not name.endswith("_seconds")} for row in rows]


def start(backend: str, folder: Path, out: Path) -> subprocess.Popen[bytes]:
    """The command, as a user gives it."""
    texts = [f"--set={name}={','.join(map(str, values))}" for name, values in GRID.items()]
    options = ["--data", str(folder), "--seeds", "4", "--processes", "2", "--out", str(out), "--backend", backend]
    return subprocess.Popen(
        [sys.executable, "-m", "lenscope", "sweep", *texts, *options, "--quiet"], stdout=subprocess.DEVNULL
    )


def workers(driver: int) -> list[psutil.Process]:
    """The processes that train for a driver."""
    try:
        below = psutil.Process(driver).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [one for one in below if _trains(one)]


def _trains(process: psutil.Process) -> bool:
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "spawn_main" in command or "ray::Trainer" in command


def survive(backend: str, folder: Path, out: Path, kills: int) -> int:
    """Kill a driver or a worker at a random moment, so often, and then let it end; how many kills there were."""
    done = 0
    while True:
        before, driver = done, start(backend, folder, out)
        while done < kills and driver.poll() is None:
            time.sleep(random.uniform(0.0, 4.0))
            there = workers(driver.pid)
            victim = random.choice([driver.pid, *[one.pid for one in there]]) if there else driver.pid
            try:
                psutil.Process(victim).send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
            done += 1
            if victim == driver.pid:
                break
        code = driver.wait()
        if code == 0 and done >= kills:
            return done
        if code == 0:  # it ended before it could be killed often enough: once more, from the beginning
            subprocess.run(["rm", "-rf", str(out)], check=True)
        elif code != -signal.SIGKILL and not (code == 1 and done > before):  # 1: a run's process died too often
            raise SystemExit(f"the driver ended with {code}")


def main() -> None:
    """See above."""
    kills, root, backend = int(sys.argv[1]), Path(sys.argv[2]), (sys.argv[3:] or ["local"])[0]
    random.seed(0)
    folder = data(root / "digits")
    conduct(Sweep(data=str(folder), seeds="4", grid=GRID), root / "whole", processes=2)
    count = survive(backend, folder, root / "cut", kills)
    same = results(root / "cut") == results(root / "whole")
    sys.stdout.write(f"{count} kills, results {'the same' if same else 'DIFFERENT'}\n")
    sys.exit(not same)


if __name__ == "__main__":
    main()
