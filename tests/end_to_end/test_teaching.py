"""The exercises of docs/teaching.md, by the page's own commands in small form, show what the page promises."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from statistics import mean

import pytest

from lenscope.cli import main
from pages import commands

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_plots")]
PAGE = commands("docs/teaching.md")


def run(out: str, *more: str) -> None:
    """Run the page's commands that write to or read a directory, the first with more options."""
    first, *later = [line.split()[1:] for line in PAGE if out in line.replace("/", " ").split()]
    assert main([*first, "--quiet", *more]) == 0
    for command in later:
        assert main(command) == 0


def accuracies(out: str, *columns: str) -> dict[tuple[str, ...], list[float]]:
    """Test accuracies after the last epoch, by settings."""
    with Path(out, "results.csv").open(encoding="utf-8") as file:
        rows = {row["trial"] + row["seed"]: row for row in csv.DictReader(file)}  # the last epoch replaces the others
    grouped = defaultdict(list)
    for row in rows.values():
        grouped[tuple(row[column] for column in columns)].append(float(row["test_accuracy"]))
    return grouped


def test_training_changes_kernels_and_ablating_one_costs_accuracy(here, capsys) -> None:
    run("plain", "--no-pictures", "--no-report", "--train-images", "10000", "--epochs", "2", "--lr", "1e-3")
    lines = capsys.readouterr().out.split("conv1\n", 1)[1].split("conv2\n")[0].splitlines()
    kernels = [line.split() for line in lines if line[:6].strip().isdecimal()]
    assert len(kernels) == 6
    assert min(float(kernel[2]) for kernel in kernels) > 0.05
    assert min(float(kernel[-1]) for kernel in kernels) < -0.5


def test_a_learning_rate_suits_an_optimiser(here) -> None:
    run("rates", "--seeds", "1")
    found = {key: mean(of) for key, of in accuracies("rates", "config.optimizer", "config.learning_rate").items()}
    assert max(found, key=found.get) == ("adam", "0.001")
    assert found["sgd", "0.1"] > 0.3
    assert max(found["adam", "0.1"], found["sgd", "0.001"]) < 0.3


def test_more_labels_give_a_higher_accuracy(here) -> None:
    run("labels", "--seeds", "1")
    few, more, many = (mean(accuracies("labels", "config.train_images")[n,]) for n in ("100", "1000", "10000"))
    assert few < more < many


def test_seeds_differ(here) -> None:
    run("seeds", "--seeds", "3")
    [found] = accuracies("seeds").values()
    assert len(found) == 3
    assert 0 < max(found) - min(found) < 0.2
