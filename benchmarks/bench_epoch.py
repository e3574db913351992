"""Seconds per epoch of our engines, plain PyTorch and the peers, on whole epochs, with the rows saved.

    python benchmarks/bench_epoch.py            five rounds, printed; about a quarter of an hour
    python benchmarks/bench_epoch.py --save     and appended to benchmarks/results/epoch.csv

Takes the options of `lenscope bench`, whose --engines may also name peers: compiled, lecture-2-workers,
lecture-4-workers, jax, keras. JAX and Keras need the extra `bench`.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from peers import PEERS

from lenscope import native
from lenscope.cli.bench import ENGINES, Bench, as_lines
from lenscope.environment import describe_environment

RESULTS = Path(__file__).parent / "results" / "epoch.csv"
NAMES = "fused,torch,torch-cuda,eager,lecture-2-workers,lecture-4-workers,jax,keras"
DEFAULTS = ["--engines", NAMES, "--batch-sizes", "100,10,1000", "--rounds", "5", "--images", "60000"]
TITLES = {
    "eager": "PyTorch eager",
    "compiled": "PyTorch compiled",
    "lecture-2-workers": "lecture's script, 2 workers",
    "lecture-4-workers": "lecture's script, 4 workers",
    "jax": "JAX",
    "keras": "Keras on JAX",
}


def row_to_save(row: dict[str, Any], images: int) -> dict[str, Any]:
    """One row of epoch.csv."""
    machine: dict[str, Any] = describe_environment()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{machine['processors']} cores of {machine['processor']}",
        "torch": machine["packages"]["torch"],
        "what": TITLES.get(row["engine"], row["engine"]),
        "work": row["work"],
        "instruction_set": "" if native.reason() else native.instruction_set(),
        "device": "cuda" if "cuda" in row["engine"] else "cpu",
        "threads": row["threads"],
        "batch_size": row["batch_size"],
        "median_seconds": f"{median(row['seconds']):.3f}",
        "least_seconds": f"{min(row['seconds']):.3f}",
        "most_seconds": f"{max(row['seconds']):.3f}",
        "rounds": len(row["seconds"]),
        "images": images if row["work"] == "training" else row["images"],
        "share_of_peak": "",  # older rows have one
        "eager_takes": "" if row["eager_takes"] is None else f"{row['eager_takes']:.2f}",
    }


def save(rows: list[dict[str, Any]], path: Path) -> None:
    """Append rows to a CSV file, with its header if it is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Measure, print, and save with --save."""
    arguments = [word for word in sys.argv[1:] if word != "--save"]
    command = Bench.parse("bench_epoch.py", [*DEFAULTS, *arguments])
    rows, missing = command.measure(ENGINES | PEERS)
    print("\n".join(as_lines(rows, missing)))
    if "--save" in sys.argv:
        save([row_to_save(row, command.images) for row in rows], RESULTS)


if __name__ == "__main__":
    main()
