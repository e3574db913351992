"""Findings from tables that a person can check; their text is in golden files."""

from __future__ import annotations

import math
import re

import numpy as np

from lenscope.insight import lecture
from lenscope.insight.intervals import holm
from lenscope.lab.questions.initlab import DECLARED, Initlab
from lenscope.lab.questions.initlab_findings import compare_starts, initlab_findings
from lenscope.lab.questions.longrun import Longrun
from lenscope.lab.questions.longrun_findings import longrun_findings
from lenscope.lab.questions.race import Race, rates_about
from lenscope.lab.questions.race_findings import arrival, race_findings
from lenscope.lab.questions.reproduce import Reproduce
from lenscope.lab.questions.reproduce_findings import reproduce_findings
from lenscope.lab.tables.reconstructions import pictures_of
from lenscope.lab.tables.rows import Rows, collect
from lenscope.lab.tables.summary import paired
from lenscope.training.optimizers import OPTIMIZERS
from lenscope.training.schedules import evaluated_epochs

# Five seeds, about one and the same mean.
WOBBLE = (-0.004, -0.002, 0.0, 0.002, 0.004)


def written(findings) -> str:
    """Title, question, conclusions and tables as plain text."""
    lines = [findings.title, "", findings.question, "", *findings.conclusions]
    for section in findings.sections:
        lines += ["", f"## {section.title}", section.lead]
        lines += [f"chart {chart.name}: {', '.join(line.name for line in chart.lines)}" for chart in section.charts]
        for table in section.tables:
            lines += ["", table.caption, " | ".join(table.header), *(" | ".join(row) for row in table.rows)]
        lines += [f"film {film.name}: {film.frames.shape}" for film in section.films]
        lines += [f"pictures {row.name}: {row.images.shape}" for row in section.pictures]
    return "\n".join(lines) + "\n"


def epoch(seed: int, number: int, right: float, loss: float, **more: object) -> dict[str, object]:
    row = {"seed": seed, "epoch": number, "train_loss": loss, "test_loss": loss + 0.01, "test_accuracy": right}
    return row | {"validation_accuracy": None, "train_seconds": None if number == 0 else 0.5} | more


def reproduced(shift: float = 0.0) -> Rows:
    """Ten epochs that lie about the lecture's values, moved by a shift in accuracy."""
    rows = []
    for seed, wobble in enumerate(WOBBLE):
        rows.append(epoch(seed, 0, 0.1, math.nan))
        for number, right, loss in zip(lecture.EPOCHS, lecture.ACCURACY, lecture.LOSS_AS_PRINTED, strict=True):
            nats = lecture.loss_per_image(loss or 0.00105)
            rows.append(epoch(seed, number, right + wobble + shift, nats * (1 - wobble)))
    return collect(rows)


def first_epoch() -> Rows:
    steps = (0, 1, 10, 100, 400, 600)
    return collect(
        {"seed": seed, "step": step, "test_loss": 2.3, "test_accuracy": 0.1 + 0.78 * (step / 600) ** 0.5 + wobble}
        for seed, wobble in enumerate(WOBBLE)
        for step in steps
    )


def test_findings_of_reproduce(golden):
    tables = {"results": reproduced(), "first-epoch": first_epoch()}
    golden("lab-reproduce.txt", written(reproduce_findings(Reproduce(seeds="5"), tables)))


def test_values_outside_the_interval_are_listed_by_epoch():
    found = reproduce_findings(Reproduce(seeds="5"), {"results": reproduced(shift=0.02)})
    assert (
        "of accuracy within the 95 % prediction interval: 0 of 10; epoch 1: 88.15 % is outside"
        in (found.conclusions[1])
    )
    assert found.sections[0].tables[0].rows[0][-1] == "no"


def test_other_data_are_not_compared_with_the_lecture():
    found = reproduce_findings(Reproduce(seeds="5", data="fashion-mnist"), {"results": reproduced()})
    assert "ecture" not in " ".join(found.conclusions)
    assert found.sections[0].tables[0].header == ("epoch", "mean", "95 % prediction interval", "range")


def test_one_seed_has_no_interval():
    found = reproduce_findings(Reproduce(seeds="1"), {"results": reproduced().where(seed=0)})
    assert "(n = 1: no interval)" in found.conclusions[0]
    line, rings = found.sections[0].charts[0].lines
    assert (line.low, rings.points) == ((), True)
    assert "ecture's" not in " ".join(found.conclusions)  # no interval that its values could lie in
    assert found.sections[0].tables[1].rows[0][2] == ""


# The race.

LEVELS = {"gd": 0.3, "sgd": 0.96, "momentum": 0.985, "nesterov": 0.985, "adam": 0.987, "adamw": 0.9871}


def raced() -> Rows:
    rows = []
    for name in OPTIMIZERS:
        for rate in rates_about(OPTIMIZERS[name].middle_rate, 3):
            whole = rate <= OPTIMIZERS[name].middle_rate  # the highest rate fails in its first epoch
            for number in range(4 if whole else 1):
                tags = {"stage": "search", "optimizer": name, "rate": rate}
                rows.append(
                    epoch(1_000_000, number, 0.5, 1.0, **tags) | {"validation_accuracy": LEVELS[name] * number / 3}
                )
        for seed, wobble in enumerate(WOBBLE):
            for number in range(4):
                right = 0.1 + (LEVELS[name] - 0.1) * (1 - (1 - number / 3) ** 3) + (wobble if number else 0)
                tags = {"stage": "race", "optimizer": name, "rate": OPTIMIZERS[name].middle_rate}
                seconds = {"train_seconds": None if not number else 0.4 if name == "sgd" else 0.5}
                rows.append(epoch(seed, number, right, 2.3 - number * 0.5 if number else math.nan, **tags) | seconds)
    return collect(rows)


def films(*names: str) -> Rows:
    random = np.random.default_rng(0)
    return collect(
        {"film": name, "layer": "conv1", "epoch": float(at), "kernel": kernel, "channel": 0}
        | {f"w{place}": float(weight) for place, weight in enumerate(random.normal(size=25).round(3))}
        for name in names
        for at in range(3)
        for kernel in range(2)
    )


def test_findings_of_the_race(golden):
    settings = Race(seeds="5", epochs=3, rates=3, search_seeds=1)
    golden("lab-race.txt", written(race_findings(settings, {"results": raced(), "films": films("gd-0", "adam-0")})))


def test_a_mark_is_reached_at_the_first_epoch_that_has_it():
    run = collect(epoch(0, number, right, 1.0) for number, right in enumerate((0.1, 0.91, 0.89, 0.96)))
    assert arrival(run, 0.90) == (1, 0.5)
    assert arrival(run, 0.95) == (3, 1.5)
    assert arrival(run, 0.97) is None


# The long run.


def ran_long(change: float) -> dict[str, Rows]:
    results, kernels = [], []
    for variant in ("plain", "decay"):
        for seed, wobble in enumerate(WOBBLE):
            for number in sorted(evaluated_epochs("spread", 100)):
                tags = {"variant": variant}
                grown = number / 100
                overfit = 0.05 + (0.1 * grown if variant == "plain" else 0.05 / (1 + number))
                results.append(epoch(seed, number, 0.98 + wobble, 1 / (1 + number), **tags) | {"test_loss": overfit})
                for layer in ("conv1", "conv2"):
                    scores = {
                        f"{source}_{family}{tail}": 0.4 + wobble * 5 + change * grown if not tail else 0.1
                        for source in ("trained", "difference")
                        for family in ("first", "second", "gabor")
                        for tail in ("", "_rare")
                    }
                    moved = {"change": grown, "per_epoch": 1 / (1 + number) if number else None}
                    kernels.append(
                        {"variant": variant, "seed": seed, "epoch": number, "layer": layer, **moved, **scores}
                    )
    return {"results": collect(results), "kernels": collect(kernels), "films": films("plain-0", "decay-0")}


LONG = Longrun(seeds="5", epochs=100, variants=("plain", "decay"))


def test_findings_of_the_long_run(golden):
    golden("lab-longrun.txt", written(longrun_findings(LONG, ran_long(0.2))))


def test_a_score_that_did_not_change_and_overfitting_are_reported():
    plain_score, *_, plain_loss, decay_loss, _, _, _ = longrun_findings(LONG, ran_long(0.0)).conclusions
    assert "no difference found: +0.00" in plain_score
    assert re.search(
        r"epoch 1, 0\.0510 nats, .*\(n = 5\); change until epoch 100: 0\.0990 nats.*, overfitting", plain_loss
    )
    assert "overfitting" not in decay_loss


# The starts.

HELPED = {"plain": 0.05, "masking": 0.02, "gaussian": 0.0, "stacked": 0.03}


def started() -> dict[str, Rows]:
    """With 100 labels the start called plain helps, masking less, gaussian not; with all of them nothing does."""
    random = np.random.default_rng(7)
    names = ("pytorch", "glorot", *DECLARED, "mlp", "stacked")
    results, kernels = [], []
    for start in names:
        for seed in range(10):
            tags = {"start": start, "seconds": 2.0}
            if start in (*DECLARED, "stacked"):
                results.append(epoch(seed, 2, math.nan, 0.005, phase="pretraining", labels=0, **tags))
            for labels in (100, 60_000):
                own = HELPED.get(start, 0.0) if labels == 100 else 0.0
                right = (0.75 if labels == 100 else 0.985) + own + 0.004 * random.normal()
                results.append(epoch(seed, 30, right, 0.1, phase="fine-tuning", labels=labels, **tags))
                if start not in ("mlp", "stacked"):
                    for number in (0, 30):
                        scores = {"trained_first": 0.4 + number / 300, "trained_second": 0.3}
                        kernels.append({"start": start, "seed": seed, "labels": labels, "epoch": number} | scores)
    pixels = bytes(range(256)) * 4
    back = [
        {"name": name, "image": 0, "channels": 1, "height": 32, "width": 32, "pixels": pixels.hex()}
        for name in ("the images", "plain")
    ]
    tables = {"results": results, "kernels": kernels, "reconstructions": back}
    drawn = {"films": films("pytorch-all-0", "plain-all-0"), "units": films("stacked-all-0")}
    return {name: collect(rows) for name, rows in tables.items()} | drawn


def test_findings_of_the_initial_weights(golden):
    golden("lab-initlab.txt", written(initlab_findings(Initlab(seeds="10", labels=(100, 0)), started())))


def test_declared_comparisons_are_corrected_together_and_find_the_effects():
    found = compare_starts(started()["results"].where(phase="fine-tuning"))
    assert [(one.start, one.labels) for one in found] == [
        (name, labels) for labels in (100, 60_000) for name in DECLARED
    ]
    assert {(one.start, one.labels) for one in found if one.p_value < 0.05} == {("plain", 100), ("masking", 100)}
    assert [one.p_value for one in found] == holm([one.gap.p_value for one in found])


def test_runs_are_paired_by_seed_wherever_their_rows_are():
    ours, theirs = (
        collect({"seed": seed, "test_loss": loss} for seed, loss in losses.items())
        for losses in ({1: 0.5, 2: 0.75}, {2: 0.5, 3: 9.0, 1: 0.25})
    )
    assert paired(ours, theirs, "test_loss") == (0.25, (0.25, 0.25), 0.0, 2)


def test_pictures_are_read_from_their_table():
    (images, plain) = pictures_of(started()["reconstructions"])
    assert (images.name, plain.name, plain.images.shape) == ("the images", "plain", (1, 1, 32, 32))
    assert plain.images[0, 0, 0, 5] == 5
