"""The extension checks all of its arguments: nothing is read or written out of bounds."""

from __future__ import annotations

import gc
import math
import threading
import weakref

import numpy as np
import pytest

from lenscope import native

core = native.load()
BEST = core.instruction_sets()[0]
WEIGHTS, COUNT = 61_706, 12
PLAIN = (0.0, 0.0, 0.0, 0.0, 0.0, 4.0)
REFUSED = (TypeError, ValueError, IndexError)


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape or (COUNT, 1, 32, 32), np.uint8)


def whole(*values):
    return np.array(values, np.int64)


def single(count=WEIGHTS):
    return np.random.default_rng(1).normal(0, 0.02, count).astype(np.float32)


def labels():
    return np.arange(COUNT, dtype=np.int64) % 10


READ_ONLY = single()
READ_ONLY.flags.writeable = False


def trainer(**changes):
    given = {
        "images": pixels(), "labels": labels(), "classes": 10, "optimizer": "adam", "momentum": 0.9,
        "weight_decay": 0.0, "threads": 1, "isa": BEST, "seed": 0, "augmentation": PLAIN,
    }  # fmt: skip
    given |= changes
    return core.Trainer(given.pop("images"), given.pop("labels"), given.pop("classes"), **given)


def run(machine, **changes):
    given = {
        "weights": single(), "indices": np.arange(COUNT), "ends": whole(5, COUNT), "learning_rates": np.full(2, 1e-3),
        "epoch": 1, "stop": lambda: False,
    }  # fmt: skip
    given |= changes
    return machine.run(*given.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"images": pixels().astype(np.float32)},
        {"images": pixels(COUNT, 1, 28, 28)},
        {"images": pixels(COUNT, 4, 32, 32)},
        {"images": pixels(COUNT, 0, 32, 32)},
        {"images": pixels(COUNT, 1, 32, 64)[..., ::2]},
        {"labels": labels()[:-1]},
        {"labels": labels().astype(np.int32)},
        {"labels": labels() - 1},
        {"labels": labels() + 1},
        {"labels": np.repeat(labels(), 2)[::2]},
        {"classes": 0},
        {"classes": 1001},
        {"optimizer": "Adam"},
        {"threads": 0},
        {"threads": 1025},
        {"isa": "avx1024"},
        {"seed": -1},
        {"seed": 2**64},
        {"augmentation": (0.0, 0.0, 0.0, 0.0, math.nan, 4.0)},
        *({"augmentation": (*PLAIN[:at], far, *PLAIN[at + 1 :])} for at, far in enumerate((17, 181, 1, 61, 9, 0.5))),
        {"augmentation": (-1.0, 0.0, 0.0, 0.0, 0.0, 4.0)},
    ],
)
def test_a_trainer_refuses_what_does_not_fit(changes):
    with pytest.raises(REFUSED):
        trainer(**changes)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"weights": single(WEIGHTS - 1)}, ValueError),
        ({"weights": single().astype(np.float64)}, TypeError),
        ({"weights": single(2 * WEIGHTS)[::2]}, TypeError),
        ({"weights": READ_ONLY}, TypeError),
        ({"indices": whole(*range(11), 12)}, IndexError),
        ({"indices": whole(*range(11), -1)}, IndexError),
        ({"indices": np.arange(COUNT - 1)}, ValueError),
        ({"indices": np.arange(COUNT).astype(np.float64)}, TypeError),
        ({"indices": np.arange(COUNT)[::-1]}, TypeError),
        ({"ends": whole(5, 13)}, ValueError),
        ({"ends": whole(0, 12)}, ValueError),
        ({"ends": whole(12, 12)}, ValueError),
        ({"ends": whole(-1, 12)}, ValueError),
        ({"ends": whole(2**63 - 1, 12)}, ValueError),
        ({"ends": whole()}, ValueError),
        ({"learning_rates": np.full(1, 1e-3)}, ValueError),
        ({"learning_rates": np.full(2, 1e-3, np.float32)}, TypeError),
        ({"epoch": -1}, TypeError),
        ({"stop": None}, TypeError),
    ],
)
def test_refused_arguments_leave_the_trainer_as_it_was(changes, error):
    expected, machine = run(trainer()), trainer()
    with pytest.raises(error):
        run(machine, **changes)
    np.testing.assert_array_equal(run(machine), expected)


def test_a_refusal_is_one_line():
    with pytest.raises(IndexError, match=r"^indices: got 12 of 12 images$"):
        run(trainer(), indices=whole(*range(11), 12))
    with pytest.raises(ValueError, match=r"^labels: got 10, expected 0 to 9$"):
        trainer(labels=labels() + 1)
    with pytest.raises(ValueError, match=r"^ends: got 5 after 5$"):
        run(trainer(), ends=whole(5, 5))


def test_states_that_do_not_fit_are_refused():
    for optimizer, sizes in {"sgd": (0, 0), "nesterov": (WEIGHTS, 0), "adam": (WEIGHTS, WEIGHTS)}.items():
        machine = trainer(optimizer=optimizer)
        steps, first, second = machine.state()
        assert (len(first), len(second)) == sizes
        for broken in [(-1, first, second), (steps, single(1), second), (steps, first, single(WEIGHTS - 1))]:
            with pytest.raises(ValueError, match=r"^steps: got -1|^optimiser state: its sizes"):
                machine.set_state(*broken)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": pixels(3, 5, 32, 32)},
        {"images": pixels(3, 1, 31, 32)},
        {"images": pixels(3, 3, 32, 32)},
        {"weights": single(WEIGHTS - 1)},
        {"classes": 11},
        {"classes": 2**31},
        {"threads": 0},
        {"isa": "mmx"},
    ],
)
def test_an_evaluation_refuses_what_does_not_fit(changes):
    given = {"images": pixels(), "weights": single(), "classes": 10, "threads": 1, "isa": BEST} | changes
    with pytest.raises(REFUSED):
        core.evaluate(**given)


def test_an_evaluation_of_no_images_has_no_rows():
    assert core.evaluate(pixels(0, 1, 32, 32), single(), 10, 1, BEST).shape == (0, 10)


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": np.arange(COUNT - 1)},
        {"indices": np.arange(COUNT) - 1},
        {"images": pixels(COUNT, 4, 32, 32)},
        {"augmentation": (0.0, math.nan, 0.0, 0.0, 0.0, 4.0)},
        {"isa": "sse9"},
    ],
)
def test_distortions_of_what_does_not_fit_are_refused(changes):
    given = {"images": pixels(), "indices": np.arange(COUNT), "augmentation": PLAIN, "seed": 0, "epoch": 1, "isa": BEST}
    with pytest.raises(REFUSED):
        core.augment(**(given | changes))


def test_arrays_changed_after_they_were_checked_change_nothing():
    expected, own, indices, ends = run(trainer()), labels(), np.arange(COUNT), whole(5, COUNT)
    machine = trainer(labels=own)

    def spoil():
        own[:] = indices[:] = ends[:] = 10**9
        return False

    np.testing.assert_array_equal(run(machine, indices=indices, ends=ends, stop=spoil), expected)


def test_the_trainer_keeps_its_images():
    images = pixels()
    machine, kept = trainer(images=images), weakref.ref(images)
    del images
    gc.collect()
    assert kept() is not None
    del machine
    gc.collect()
    assert kept() is None


def test_a_trainer_within_its_own_call_is_refused():
    machine = trainer()
    for again in (lambda: run(machine), machine.state):
        with pytest.raises(RuntimeError, match="in another call"):
            run(machine, stop=again)
    assert len(run(machine)) == 2


@pytest.mark.parametrize(("answer", "steps"), [(1, 0), ("yes", 0), ([], 2), (None, 2)])
def test_stop_may_return_any_truth_value(answer, steps):
    assert len(run(trainer(), stop=lambda: answer)) == steps


def test_other_threads_of_python_run_during_a_call():
    machine, turns, over = trainer(), [], threading.Event()

    def turn():
        while not over.wait(0.001):
            turns.append(len(turns))

    other = threading.Thread(target=turn)
    many = {"indices": np.arange(COUNT * 2000) % COUNT, "ends": np.arange(1, 2001) * COUNT}
    other.start()
    try:
        before = len(turns)
        run(machine, **many, learning_rates=np.full(2000, 1e-4), stop=int)  # int() is 0, and runs no Python
        assert len(turns) > before + 5
    finally:
        over.set()
        other.join()
