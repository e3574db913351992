"""Whatever the extension is given, it checks it: nothing is read or written out of bounds."""

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


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape or (COUNT, 1, 32, 32), np.uint8)


def whole(*values):
    return np.array(values, np.int64)


def single(count=WEIGHTS):
    return np.random.default_rng(1).normal(0, 0.02, count).astype(np.float32)


def labels():
    return np.arange(COUNT, dtype=np.int64) % 10


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


REFUSED = (TypeError, ValueError, IndexError)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": pixels().astype(np.float32)},
        {"images": pixels(COUNT, 1, 28, 28)},
        {"images": pixels(COUNT, 4, 32, 32)},
        {"images": pixels(COUNT, 0, 32, 32)},
        {"images": pixels(COUNT, 32, 32)},
        {"images": pixels(COUNT, 1, 32, 64)[..., ::2]},
        {"images": pixels(COUNT * 2, 1, 32, 32)[::2]},
        {"images": np.asfortranarray(pixels())},
        {"images": None},
        {"labels": labels()[:-1]},
        {"labels": labels().astype(np.int32)},
        {"labels": labels()[:, None]},
        {"labels": labels() - 1},
        {"labels": labels() + 1},
        {"labels": np.repeat(labels(), 2)[::2]},
        {"classes": 0},
        {"classes": 9},
        {"classes": 1001},
        {"classes": -1},
        {"optimizer": "Adam"},
        {"threads": 0},
        {"threads": -1},
        {"threads": 1025},
        {"isa": "avx1024"},
        {"isa": ""},
        {"seed": -1},
        {"seed": 2**64},
        {"augmentation": (0.0,) * 5},
        {"augmentation": (0.0, 0.0, 0.0, 0.0, math.nan, 4.0)},
        {"augmentation": (17.0, 0.0, 0.0, 0.0, 0.0, 4.0)},
        {"augmentation": (0.0, 181.0, 0.0, 0.0, 0.0, 4.0)},
        {"augmentation": (0.0, 0.0, 1.0, 0.0, 0.0, 4.0)},
        {"augmentation": (0.0, 0.0, 0.0, 61.0, 0.0, 4.0)},
        {"augmentation": (0.0, 0.0, 0.0, 0.0, math.inf, 4.0)},
        {"augmentation": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)},
        {"augmentation": (-1.0, 0.0, 0.0, 0.0, 0.0, 4.0)},
    ],
)
def test_a_trainer_of_what_does_not_fit_is_refused(changes):
    with pytest.raises(REFUSED):
        trainer(**changes)


READ_ONLY = single()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"weights": single(WEIGHTS - 1)}, ValueError),
        ({"weights": single(WEIGHTS + 1)}, ValueError),
        ({"weights": single(0)}, ValueError),
        ({"weights": single().astype(np.float64)}, TypeError),
        ({"weights": single(2 * WEIGHTS)[::2]}, TypeError),
        ({"weights": single()[None]}, TypeError),
        ({"weights": READ_ONLY}, TypeError),
        ({"indices": whole(*range(11), 12)}, IndexError),
        ({"indices": whole(*range(11), -1)}, IndexError),
        ({"indices": whole(*range(11), 2**62)}, IndexError),
        ({"indices": whole(*range(11), -(2**63))}, IndexError),
        ({"indices": np.arange(COUNT - 1)}, ValueError),
        ({"indices": np.arange(COUNT).astype(np.float64)}, TypeError),
        ({"indices": np.arange(COUNT)[::-1]}, TypeError),
        ({"ends": whole(5, 13)}, ValueError),
        ({"ends": whole(5, 11)}, ValueError),
        ({"ends": whole(0, 12)}, ValueError),
        ({"ends": whole(12, 12)}, ValueError),
        ({"ends": whole(13, 12)}, ValueError),
        ({"ends": whole(-1, 12)}, ValueError),
        ({"ends": whole(2**63 - 1, 12)}, ValueError),
        ({"ends": whole()}, ValueError),
        ({"learning_rates": np.full(1, 1e-3)}, ValueError),
        ({"learning_rates": np.full(3, 1e-3)}, ValueError),
        ({"learning_rates": np.full(2, 1e-3, np.float32)}, TypeError),
        ({"epoch": -1}, TypeError),
        ({"epoch": 1.5}, TypeError),
        ({"stop": None}, TypeError),
    ],
)
def test_steps_on_what_does_not_fit_are_refused_and_the_trainer_goes_on(changes, error):
    expected, machine = run(trainer()), trainer()
    with pytest.raises(error):
        run(machine, **changes)
    np.testing.assert_array_equal(run(machine), expected)


def test_what_is_refused_is_said_in_one_line():
    with pytest.raises(IndexError, match=r"^indices: got 12 of 12 images$"):
        run(trainer(), indices=whole(*range(11), 12))
    with pytest.raises(ValueError, match=r"^labels: got 10, expected 0 to 9$"):
        trainer(labels=labels() + 1)
    with pytest.raises(ValueError, match=r"^ends: got 5 after 5$"):
        run(trainer(), ends=whole(5, 5))


def test_steps_with_rates_that_are_no_numbers_are_not_taken():
    for rate in (math.nan, math.inf, -math.inf):
        weights = single()
        losses = run(trainer(), weights=weights, learning_rates=np.full(2, rate))
        assert np.isnan(losses).tolist() == [True]
        np.testing.assert_array_equal(weights, single())


@pytest.mark.parametrize(
    ("weights", "indices", "error"),
    [
        (single(1), np.arange(3), ValueError),
        (single(), whole(), ValueError),
        (single(), whole(12), IndexError),
        (single(), whole(-1), IndexError),
        (single().astype(np.float16), np.arange(3), TypeError),
    ],
)
def test_a_gradient_of_what_does_not_fit_is_refused(weights, indices, error):
    with pytest.raises(error):
        trainer().gradient(weights, indices, 1)


def test_updates_and_states_that_do_not_fit_are_refused():
    machine = trainer()
    for weights, gradient in [(single(1), single()), (single(), single(1)), (single(1), single(1))]:
        with pytest.raises(ValueError, match="got 1 values, expected 61706"):
            machine.update(weights, gradient, 0.1)
    with pytest.raises(TypeError):
        machine.update(READ_ONLY, single(), 0.1)
    steps, first, second = machine.state()
    for broken in [(-1, first, second), (steps, first[:-1], second), (steps, first, second[:-1]), (steps, second, [])]:
        with pytest.raises(REFUSED):
            machine.set_state(*broken)
    machine.set_state(steps, first, second)


def test_a_state_goes_on_as_the_first_trainer_does():
    one, other, weights = trainer(), trainer(), single()
    run(one, weights=weights)
    other.set_state(*one.state())
    np.testing.assert_array_equal(run(other, weights=weights.copy()), run(one, weights=weights.copy()))


@pytest.mark.parametrize(
    "changes",
    [
        {"images": pixels(3, 5, 32, 32)},
        {"images": pixels(3, 1, 31, 32)},
        {"images": pixels(3, 3, 32, 32)},
        {"images": pixels().astype(np.int8)},
        {"weights": single(WEIGHTS - 1)},
        {"classes": 11},
        {"classes": 0},
        {"classes": 2**31},
        {"threads": 0},
        {"isa": "mmx"},
    ],
)
def test_an_evaluation_of_what_does_not_fit_is_refused(changes):
    given = {"images": pixels(), "weights": single(), "classes": 10, "threads": 1, "isa": BEST} | changes
    with pytest.raises(REFUSED):
        core.evaluate(**given)


def test_no_images_are_evaluated_as_none():
    assert core.evaluate(pixels(0, 1, 32, 32), single(), 10, 1, BEST).shape == (0, 10)


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": np.arange(COUNT - 1)},
        {"indices": np.arange(COUNT) - 1},
        {"images": pixels(COUNT, 4, 32, 32)},
        {"augmentation": (0.0, math.nan, 0.0, 0.0, 0.0, 4.0)},
        {"isa": "sse9"},
        {"epoch": -1},
    ],
)
def test_distortions_of_what_does_not_fit_are_refused(changes):
    given = {"images": pixels(), "indices": np.arange(COUNT), "augmentation": PLAIN, "seed": 0, "epoch": 1, "isa": BEST}
    with pytest.raises(REFUSED):
        core.augment(**(given | changes))


@pytest.mark.parametrize(("threads", "seconds"), [(0, 0.1), (1, 0.0), (1, -1.0), (1, math.nan), (1, 1e9)])
def test_a_peak_of_no_time_or_threads_is_refused(threads, seconds):
    with pytest.raises(ValueError, match="expected"):
        core.measure_peak(BEST, threads, seconds)


def test_labels_changed_later_change_nothing():
    expected, own = run(trainer()), labels()
    machine = trainer(labels=own)
    own[:] = 10**9
    np.testing.assert_array_equal(run(machine), expected)


def test_indices_and_ends_changed_while_it_runs_change_nothing():
    expected, indices, ends = run(trainer()), np.arange(COUNT), whole(5, COUNT)

    def spoil():
        indices[:] = ends[:] = 10**9
        return False

    np.testing.assert_array_equal(run(trainer(), indices=indices, ends=ends, stop=spoil), expected)


def test_the_trainer_keeps_its_images():
    images = pixels()
    machine, kept = trainer(images=images), weakref.ref(images)
    del images
    gc.collect()
    assert kept() is not None
    np.testing.assert_array_equal(run(machine), run(trainer()))
    del machine
    gc.collect()
    assert kept() is None


def test_a_trainer_within_its_own_call_is_refused():
    machine = trainer()
    for again in (lambda: run(machine), machine.state, lambda: machine.gradient(single(), whole(0), 1)):
        with pytest.raises(RuntimeError, match="in another call"):
            run(machine, stop=again)
    assert len(run(machine)) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("own")], ids=repr)
def test_an_error_of_stop_comes_through_as_it_is(error):
    def stop():
        raise error

    weights = single()
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        run(trainer(), weights=weights, stop=stop)
    np.testing.assert_array_equal(weights, single())


@pytest.mark.parametrize(("answer", "steps"), [(1, 0), ("yes", 0), ([], 2), (None, 2), (np.True_, 0)])
def test_stop_may_answer_with_anything_that_is_true_or_not(answer, steps):
    assert len(run(trainer(), stop=lambda: answer)) == steps


def test_other_threads_of_python_run_meanwhile():
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
