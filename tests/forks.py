"""Trains with two threads, then forks children that train too; prints a JSON object of what each child came to.

A child that does not end within its time is killed and comes to "hangs".
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import lenscope
from lenscope.errors import LenscopeError

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0
FEW = {"train_images": 200, "epochs": 1, "batch_size": 50, "progress": False}


def forked(work: Callable[[], object]) -> str:
    """What a forked child's work returns, the error's line where Lenscope refuses it."""
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        try:
            said = str(work())
        except BaseException as error:  # noqa: BLE001 - told to the parent
            said = f"{'' if isinstance(error, LenscopeError) else type(error).__name__}{error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    end = time.monotonic() + PATIENCE
    while os.waitpid(number, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
            return "hangs"
        time.sleep(0.01)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        return pipe.read()


def loaded_in_the_child_alone(folder: Path) -> str:
    """PyTorch has used two threads, and Lenscope has not loaded it when a child is forked."""
    torch.set_num_threads(2)
    torch.ones(3_000_000).add(1).sum()
    assert "lenscope.pytorch.devices" not in sys.modules
    return forked(
        lambda: lenscope.train(out=folder / "loaded", network="mlp", **FEW).environment["threads"],
    )


def main(folder: Path) -> dict[str, str]:
    first = loaded_in_the_child_alone(folder)
    whole = lenscope.load("mnist")
    data = replace(whole, train=whole.train.take(np.arange(200)), test=whole.test.take(np.arange(500)))

    def trained(name: str, **settings: object) -> lenscope.Run:
        return lenscope.train(data, out=folder / name, **FEW | settings)

    def weights_and_evaluation(name: str, **settings: object) -> object:
        run = trained(name, **settings)
        lenscope.evaluate(run, data.test)
        return run.environment["threads"], same(run.weights(), fused.weights())

    def same(one: dict, other: dict) -> bool:
        return all((one[name] == other[name]).all() for name in other)

    fused, _ = trained("fused", engine="fused", threads=2), trained("torch", engine="torch", threads=2)
    came = {
        "loaded in the child alone": first,
        "fused": forked(lambda: weights_and_evaluation("child-fused", engine="fused", threads=2)),
        "torch": forked(lambda: weights_and_evaluation("child-torch", engine="torch")),
        "torch, two threads": forked(lambda: weights_and_evaluation("child-two", engine="torch", threads=2)),
    }
    beside = threading.Thread(target=lambda: trained("beside", engine="fused", threads=2, epochs=30))
    beside.start()
    while not (folder / "beside" / "metrics.csv").exists():
        time.sleep(0.01)
    came["fused, beside a team"] = forked(lambda: weights_and_evaluation("child-beside", engine="fused", threads=2))
    beside.join()
    return came


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
