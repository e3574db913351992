"""Make a data set of millions of images, train on it with both engines, and compare memory and speed with MNIST.

    python benchmarks/large_set.py make FOLDER                two million images of 28×28, as IDX: 1.6 GB
    python benchmarks/large_set.py pictures FOLDER            20,000 PNG files, for `lenscope data pack FOLDER`
    python benchmarks/large_set.py memory FOLDER --save       peak memory of one epoch of it and of MNIST, per engine
    python benchmarks/large_set.py speed FOLDER --save        images per second, in turns of 60,000 with MNIST

The images are those of MNIST, each shifted and with noise that depends on its number. `memory` samples the RssAnon of a
`lenscope train` process every 50 ms from start to end, including pictures and report, without pages of mapped files.
--save appends the rows to results/large.csv.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import lenscope
from lenscope.config import EngineName, TrainConfig
from lenscope.environment import describe_environment, usable_processors
from lenscope.randomness import Purpose, random_order, random_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results" / "large.csv"
BLOCK, TURN, BATCH = 20_000, 60_000, 100
SAMPLED_SECONDS = 0.05
ENGINES: tuple[EngineName, ...] = ("fused", "torch")
SHIFTS = list(itertools.product(range(-2, 3), repeat=2))
Rows = list[dict[str, Any]]


def synthetic(digits: NDArray[np.uint8], start: int, count: int) -> NDArray[np.uint8]:
    """`count` images from number `start` on, a multiple of BLOCK: uint8 (count, 28, 28)."""
    words = random_words(0, Purpose.COLOURS, start // BLOCK, count * 98).view(np.uint8).reshape(count, 28, 28)
    numbers = np.arange(start, start + count)
    padded = np.pad(digits[numbers % len(digits)], ((0, 0), (2, 2), (2, 2)))
    shifted = np.empty((count, 28, 28), np.uint8)
    for which, (down, right) in enumerate(SHIFTS):
        own = (numbers // len(digits) + numbers) % len(SHIFTS) == which
        shifted[own] = padded[own, 2 - down : 30 - down, 2 - right : 30 - right]
    noisy: NDArray[np.uint8] = np.maximum(shifted, words >> 3)
    return noisy


def make(folder: Path, images: int) -> None:
    """Write an IDX folder of this many training images and 10,000 test images, block by block."""
    mnist = lenscope.load("mnist")
    assert mnist.test is not None
    folder.mkdir(parents=True, exist_ok=True)
    for part, data, count in (("train", mnist.train, images), ("t10k", mnist.test, len(mnist.test))):
        with (folder / f"{part}-images-idx3-ubyte").open("wb") as file:
            file.write(struct.pack(">IIII", 0x803, count, 28, 28))
            for start in range(0, count, BLOCK):
                file.write(synthetic(data.images[:, 0], start, min(BLOCK, count - start)).data)
        labels = data.labels[np.arange(count) % len(data)]
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels.tobytes())


def write_pictures(folder: Path, images: int) -> None:
    """Write this many PNG files, one sixth of them test images."""
    from PIL import Image

    digits = lenscope.load("mnist").train
    for start in range(0, images, BLOCK):
        block = synthetic(digits.images[:, 0], start, min(BLOCK, images - start))
        for number, image in enumerate(block, start=start):
            part = "test" if number % 6 == 0 else "train"
            path = folder / part / str(digits.labels[number % len(digits)]) / f"{number:07}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def memory(folder: Path, engines: list[EngineName], threads: int) -> Rows:
    """Peak anonymous memory of a whole `lenscope train` of one epoch, per engine, on the large set and on MNIST."""
    return [train_and_watch(data, name, threads) for name in engines for data in ("mnist", str(folder))]


def train_and_watch(data: str, engine: str, threads: int) -> dict[str, Any]:
    """A row of `memory`: one epoch in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "lenscope", "train", "--data", data, "--engine", engine, "--epochs", "1"]
        command += ["--threads", str(threads)]
        start_time = time.perf_counter()
        process = subprocess.Popen([*command, "--quiet", "--out", f"{out}/run"], stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(SAMPLED_SECONDS)
        assert process.returncode == 0
        seconds = time.perf_counter() - start_time
        run = lenscope.open_run(f"{out}/run")
        row: dict[str, Any] = {"what": f"lenscope train, {engine} engine", "threads": threads}
        row["images"] = run.data.train_images
        rate = float(run.metrics.images_per_second[-1])
        print(f"{row}: {peak / 2**20:.0f} MiB, {rate:,.0f} images/s, {seconds:.1f} s in all", flush=True)
        return row | {"peak_rss_anon_mib": f"{peak / 2**20:.0f}", "images_per_second": f"{rate:.0f}", "rounds": 1}


def anonymous_bytes(process: int) -> int:
    """RssAnon of a process; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")]
    return int(found[0]) * 1024 if found else 0


def speed(folder: Path, engines: list[EngineName], rounds: int, threads: int) -> Rows:
    """Images per second of both engines, on the large set and on MNIST in turns of 60,000 images."""
    rows = []
    sets = {"MNIST": lenscope.load("mnist").resized(32).train, "large": lenscope.load(folder).resized(32).train}
    for engine in engines:
        runs = {name: _turns(data, engine, threads) for name, data in sets.items()}
        rates: dict[str, list[float]] = {name: [] for name in sets}
        for turn in range(rounds + 1):
            for name in (sets, reversed(sets))[turn % 2]:
                start_time = time.perf_counter()
                runs[name](turn)
                rates[name].append(TURN / (time.perf_counter() - start_time))
            print(engine, turn, {name: f"{found[-1]:,.0f}" for name, found in rates.items()}, flush=True)
        shares = [large / small for small, large in zip(rates["MNIST"][1:], rates["large"][1:], strict=True)]
        for name, data in sets.items():
            rows.append(
                {
                    "what": f"{engine} engine on {name}, in turns",
                    "threads": threads,
                    "images": len(data),
                    "images_per_second": f"{statistics.median(rates[name][1:]):.0f}",
                    "least": f"{min(rates[name][1:]):.0f}",
                    "most": f"{max(rates[name][1:]):.0f}",
                    "rounds": rounds,
                    "share_of_mnist": f"{statistics.median(shares):.3f}" if name == "large" else "",
                }
            )
            print(rows[-1], flush=True)
    return rows


def _turns(data: lenscope.Dataset, name: EngineName, threads: int) -> Callable[[int], None]:
    """A function that trains on the next 60,000 images in the order of an epoch."""
    from lenscope.engines import choose_engine

    config, network = TrainConfig(engine=name, threads=threads), lenscope.Network("lenet")
    engine = choose_engine(network, lenscope.initial_weights(network, 0), data, config)
    order = np.concatenate([random_order(0, Purpose.ORDER, 1, len(data)), random_order(0, Purpose.ORDER, 2, len(data))])

    def train(turn: int) -> None:
        own = order[turn * TURN % len(data) :][:TURN]
        batches = [own[start : start + BATCH] for start in range(0, TURN, BATCH)]
        engine.run(1, batches, [1e-4] * len(batches), lambda: False)

    return train


def save(rows: Rows) -> None:
    """Append rows, with the machine they were measured on."""
    measured = ("images_per_second", "least", "most", "rounds", "share_of_mnist")
    columns = ("what", "threads", "images", "peak_rss_anon_mib", *measured)
    machine: dict[str, Any] = describe_environment()
    where = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{machine['processors']} cores of {machine['processor']}",
        "torch": machine["packages"]["torch"],
    }
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*where, *columns], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(where | row for row in rows)


def main() -> None:
    """Make or measure, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "pictures", "memory", "speed"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--threads", type=int, default=usable_processors())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help=f"append the rows to {RESULTS.name}")
    options = parser.parse_args()
    match options.what:
        case "make":
            make(options.folder, options.images or 2_000_000)
            return
        case "pictures":
            write_pictures(options.folder, options.images or 20_000)
            return
        case "memory":
            rows = memory(options.folder, options.engines, options.threads)
        case _:
            rows = speed(options.folder, options.engines, options.rounds, options.threads)
    if options.save:
        save(rows)


if __name__ == "__main__":
    main()
