"""The lecture's ten epochs over several seeds, beside its own table.

python scripts/reproduce_lecture.py             five seeds, printed as the tables of docs/lecture.md
python scripts/reproduce_lecture.py --save      and written to benchmarks/results/lecture.csv
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np

import lenscope
from lenscope.insight import lecture

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "lecture.csv"
ACCURACY_POINTS = (2.5, 1.5, 1.5, 1.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # how far a mean may be from the lecture's
LOSS_SHARE = 0.15
STUDENT_T = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}  # 95 %, n − 1 degrees


def train_seeds(seeds: range) -> list[dict[str, float]]:
    """A row an epoch and seed."""
    data, rows = lenscope.load("mnist"), []
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            run = lenscope.train(data, seed=seed, out=Path(folder) / f"seed-{seed}", progress=False)
            for row in run.metrics.rows()[1:]:
                assert row.train_loss is not None
                assert row.test_accuracy is not None
                rows.append({"seed": seed, "epoch": row.epoch, "loss": row.train_loss, "accuracy": row.test_accuracy})
            print(f"seed {seed}: {run.metrics.test_accuracy[-1]:.4f}", flush=True)
    return rows


def tables(rows: list[dict[str, float]]) -> str:
    """Means with 95 % t intervals beside the lecture's values, and whether they are within the bounds."""
    lines = [
        "| Epoch | Loss, lecture | Loss, ours (± 95 %) | Accuracy %, lecture | Accuracy %, ours (± 95 %) | Within |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for place, epoch in enumerate(lecture.EPOCHS):
        loss, loss_half = _interval([row["loss"] / lecture.BATCH_SIZE for row in rows if row["epoch"] == epoch])
        right, right_half = _interval([100 * row["accuracy"] for row in rows if row["epoch"] == epoch])
        their_loss, their_right = lecture.LOSS_AS_PRINTED[place], 100 * lecture.ACCURACY[place]
        within = abs(right - their_right) <= ACCURACY_POINTS[place]
        if their_loss is not None:
            within &= abs(loss / their_loss - 1) <= LOSS_SHARE
        shown = "not shown" if their_loss is None else f"{their_loss:.6f}"
        lines.append(
            f"| {epoch} | {shown} | {loss:.6f} ± {loss_half:.6f} | {their_right:.2f} | {right:.2f} ± {right_half:.2f} "
            f"| {'yes' if within else 'no'} |"
        )
    return "\n".join(lines)


def _interval(values: list[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % t interval."""
    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return float(np.mean(values)), STUDENT_T[len(values)] * spread


def main() -> None:
    """Train, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, choices=STUDENT_T)
    parser.add_argument("--save", action="store_true", help=f"write the rows to {RESULTS.name}")
    options = parser.parse_args()
    rows = train_seeds(range(options.seeds))
    print(tables(rows))
    if options.save:
        with RESULTS.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
