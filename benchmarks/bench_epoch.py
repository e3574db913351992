"""Seconds an epoch on whole epochs: what `lenscope bench` measures, with its rows kept.

    python benchmarks/bench_epoch.py            five rounds, printed; a quarter of an hour
    python benchmarks/bench_epoch.py --save     and appended to benchmarks/results/epoch.csv

Needs the extra `bench` for JAX and Keras. Other choices are those of `lenscope bench`, given after `--`:

    python benchmarks/bench_epoch.py --save -- --engines fused --peers eager --batch-sizes 100
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lenscope
from lenscope.bench.measure import Plan, measure
from lenscope.cli.bench import Bench, print_benchmark

if TYPE_CHECKING:
    from lenscope.bench.results import Benchmark, Row

RESULTS = Path(__file__).parent / "results" / "epoch.csv"


def row_to_keep(benchmark: Benchmark, row: Row) -> dict[str, Any]:
    """One row with the machine that it was measured on."""
    machine, peak, times = benchmark.machine, benchmark.share_of_peak(row), benchmark.times_baseline(row)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{machine['processors']} cores of {machine['processor']}",
        "torch": machine["packages"]["torch"],
        "what": row.name,
        "work": row.work,
        "instruction_set": benchmark.instruction_set or "",
        "device": row.device,
        "threads": row.threads,
        "batch_size": row.batch_size,
        "median_seconds": f"{row.median:.3f}",
        "least_seconds": f"{min(row.seconds):.3f}",
        "most_seconds": f"{max(row.seconds):.3f}",
        "rounds": len(row.seconds),
        "images": benchmark.images if row.work == "training" else row.images,
        "share_of_peak": "" if peak is None else f"{peak:.3f}",
        "eager_takes": "" if times is None else f"{times:.2f}",
    }


def save(rows: list[dict[str, Any]], path: Path) -> None:
    """Append rows to a CSV file, with its header where it is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help=f"append the rows to {RESULTS.name}")
    parser.add_argument("choices", nargs="*", help="options of lenscope bench")
    options = parser.parse_args()
    command = Bench.parse("bench_epoch.py", ["--rounds", "5", "--images", "60000", *options.choices])
    benchmark = measure(Plan(**command.choices()), lenscope.load("mnist"), lambda what, *_: print(what, flush=True))
    print_benchmark(benchmark)
    if options.save:
        save([row_to_keep(benchmark, row) for row in benchmark.rows], RESULTS)


if __name__ == "__main__":
    main()
