"""The lecture's ten epochs over several seeds, by Lenscope and by plain PyTorch, beside the lecture's own table.

    python benchmarks/reproduce_lecture.py             five seeds of each, printed as the tables of docs/lecture.md
    python benchmarks/reproduce_lecture.py --save      and written to benchmarks/results/lecture.csv
    python benchmarks/reproduce_lecture.py --saved     the tables of what was written there, without training

Plain PyTorch is the lecture's own network class with torch's initial weights, torch's order and autograd: it shares
nothing with Lenscope but the resized images, and so tells whether a difference from the lecture's table is ours.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
import torch

import lenscope
from lenscope.bench.torch_peers import LectureNet, eager_epoch
from lenscope.insight import lecture

RESULTS = Path(__file__).parent / "results" / "lecture.csv"
ACCURACY_POINTS = (2.5, 1.5, 1.5, 1.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # how far a mean may be from the lecture's
LOSS_SHARE = 0.15
STUDENT_T = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}  # 95 %, n − 1 degrees
Row = dict[str, str | float]


def train_lenscope(data: lenscope.Splits, seed: int, folder: Path) -> list[Row]:
    """A row an epoch of `lenscope train --seed SEED`."""
    run = lenscope.train(data, seed=seed, out=folder / f"seed-{seed}", progress=False)
    metrics = run.metrics
    pairs = zip(metrics.train_loss[1:].tolist(), metrics.test_accuracy[1:].tolist(), strict=True)
    return _rows("lenscope", seed, list(pairs))


def train_plain(data: lenscope.Splits, seed: int) -> list[Row]:
    """A row an epoch of plain PyTorch."""
    torch.manual_seed(seed)
    network = LectureNet()
    epoch = eager_epoch(data.train, network, lecture.BATCH_SIZE)
    pairs = [(epoch(), _accuracy(network, data)) for _ in lecture.EPOCHS]
    return _rows("plain PyTorch", seed, pairs)


def table(rows: list[Row], who: str) -> str:
    """Means with 95 % t intervals beside the lecture's values, and whether they are within the bounds."""
    seeds = len({row["seed"] for row in rows if row["who"] == who})
    lines = [
        f"{who}, {seeds} seeds:\n",
        "| Epoch | Loss, lecture | Loss (± 95 %) | Difference | Accuracy %, lecture | Accuracy % (± 95 %) | Within |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for place, epoch in enumerate(lecture.EPOCHS):
        own = [row for row in rows if row["who"] == who and int(row["epoch"]) == epoch]
        loss, loss_half = _interval([float(row["loss"]) / lecture.BATCH_SIZE for row in own])
        right, right_half = _interval([100 * float(row["accuracy"]) for row in own])
        their_loss, their_right = lecture.LOSS_AS_PRINTED[place], 100 * lecture.ACCURACY[place]
        within = abs(right - their_right) <= ACCURACY_POINTS[place]
        shown = difference = "not shown"
        if their_loss is not None:
            within &= abs(loss / their_loss - 1) <= LOSS_SHARE
            shown, difference = f"{their_loss:.6f}", f"{100 * (loss / their_loss - 1):+.1f} %"
        lines.append(
            f"| {epoch} | {shown} | {loss:.6f} ± {loss_half:.6f} | {difference} | {their_right:.2f} "
            f"| {right:.2f} ± {right_half:.2f} | {'yes' if within else 'no'} |"
        )
    return "\n".join(lines)


def _rows(who: str, seed: int, pairs: list[tuple[float, float]]) -> list[Row]:
    print(f"{who}, seed {seed}: {pairs[-1][1]:.4f}", flush=True)
    return [
        {"who": who, "seed": seed, "epoch": epoch, "loss": loss, "accuracy": accuracy}
        for epoch, (loss, accuracy) in enumerate(pairs, start=1)
    ]


@torch.no_grad()
def _accuracy(network: LectureNet, data: lenscope.Splits) -> float:
    assert data.test is not None
    images = torch.from_numpy(data.test.resized(32).images)
    right = [
        network(images[at : at + 1000].float() / 255).argmax(1).numpy() == data.test.labels[at : at + 1000]
        for at in range(0, len(images), 1000)
    ]
    return float(np.concatenate(right).mean())


def _interval(values: list[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % t interval."""
    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return float(np.mean(values)), STUDENT_T[len(values)] * spread


def _train_all(seeds: range) -> list[Row]:
    data = lenscope.load("mnist")
    with tempfile.TemporaryDirectory() as folder:
        own = [row for seed in seeds for row in train_lenscope(data, seed, Path(folder))]
    return own + [row for seed in seeds for row in train_plain(data, seed)]


def main() -> None:
    """Train or read, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, choices=STUDENT_T)
    parser.add_argument("--save", action="store_true", help=f"write the rows to {RESULTS.name}")
    parser.add_argument("--saved", action="store_true", help=f"read the rows of {RESULTS.name} instead of training")
    options = parser.parse_args()
    if options.saved:
        with RESULTS.open(newline="", encoding="utf-8") as file:
            rows: list[Row] = [dict(row) for row in csv.DictReader(file)]
    else:
        rows = _train_all(range(options.seeds))
    for who in ("lenscope", "plain PyTorch"):
        print(f"\n{table(rows, who)}")
    if options.save:
        with RESULTS.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
