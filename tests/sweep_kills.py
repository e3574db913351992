"""Kill a sweep's driver or one of its workers at random times, and run the sweep again until it finishes.

    python tests/sweep_kills.py KILLS FOLDER [local|ray]

Prints the number of kills; exits with 1 if the results, except for times, differ from those of an undisturbed sweep.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from fixtures_lab import untimed_results, write_digits
from lenscope import load
from lenscope.lab import Sweep, conduct

GRID = {"optimizer": ["adam", "sgd"], "batch_size": [20], "epochs": [40], "checkpoint_every": ["10steps"]}


def start(backend: str, folder: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start the command."""
    texts = [f"--set={name}={','.join(map(str, values))}" for name, values in GRID.items()]
    options = ["--data", str(folder), "--seeds", "4", "--processes", "2", "--out", str(out), "--backend", backend]
    return subprocess.Popen(
        [sys.executable, "-m", "lenscope", "lab", "sweep", *texts, *options, "--quiet"], stdout=subprocess.DEVNULL
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
    """Kill a driver or a worker at random times, then let the sweep finish; returns the number of kills."""
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
        if code == 0:  # it finished before it was killed often enough: start over
            subprocess.run(["rm", "-rf", str(out)], check=True)
        elif code != -signal.SIGKILL and not (code == 1 and done > before):  # 1: a run's process died too often
            raise SystemExit(f"the driver ended with {code}")


def main() -> None:
    """Compare a disturbed sweep with an undisturbed one."""
    kills, root, backend = int(sys.argv[1]), Path(sys.argv[2]), (sys.argv[3:] or ["local"])[0]
    random.seed(0)
    folder = root / "digits"
    folder.mkdir(parents=True)
    write_digits(folder, load("mnist"), 600, 20)  # training and test images
    conduct(Sweep(data=str(folder), seeds="4", grid=GRID), root / "whole", processes=2)
    count = survive(backend, folder, root / "cut", kills)
    same = untimed_results(root / "cut") == untimed_results(root / "whole")
    sys.stdout.write(f"{count} kills, results {'the same' if same else 'DIFFERENT'}\n")
    sys.exit(not same)


if __name__ == "__main__":
    main()
