from __future__ import annotations

import pytest

from lenscope import errors
from lenscope.errors import LenscopeError, NonFiniteError, UsageError, unknown_name


def test_wrong_use_ends_with_2_and_every_other_failure_with_1() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LenscopeError)}
    assert {kind for kind in kinds if kind.exit_code == 2} == {errors.UsageError, errors.ConfigError}
    assert {kind.exit_code for kind in kinds} == {1, 2}


def test_the_drawing_names_every_error() -> None:
    drawn = {line.split("─ ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "─ " in line}
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert drawn | {"LenscopeError", "Interrupted"} == defined


def test_a_loss_that_is_not_finite_says_where() -> None:
    error = NonFiniteError(2, 17, "conv1")
    assert (error.epoch, error.step, error.layer, error.exit_code) == (2, 17, "conv1", 1)
    assert str(error).startswith("epoch 2, step 17: conv1 is not finite")


def test_an_unknown_name_suggests_the_nearest() -> None:
    error = unknown_name("network", "LENETT", ["mlp", "lenet"])
    assert isinstance(error, UsageError)
    assert str(error) == "unknown network 'LENETT'; did you mean 'lenet'? known: lenet, mlp"


@pytest.mark.parametrize("name", ["zzz", "two\nlines", "\x1b[31m", "x" * 10_000])
def test_whatever_the_name_is_the_message_is_one_short_printable_line_without_a_far_suggestion(name: str) -> None:
    message = str(unknown_name("setting", name, ["epochs"]))
    assert message.endswith("; known: epochs")
    assert message.isprintable()
    assert len(message) < 200
