"""What the driver of a Ray cluster does where actors die at once, without a cluster."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest

from lenscope.errors import RunError
from lenscope.lab.pool import Silence
from lenscope.lab.ray_pool import _Crew


class DeadError(Exception):
    """What Ray raises of an actor that is no more."""


def dead(_reference):
    raise DeadError


def test_actors_that_die_before_they_say_anything_are_not_hired_for_ever():
    ray = SimpleNamespace(
        wait=lambda references, **_: (references[:1], references[1:]),
        get=dead,
        exceptions=SimpleNamespace(RayActorError=DeadError, RayError=Exception),
    )
    handle = SimpleNamespace(sees=SimpleNamespace(remote=lambda *_: object()))
    crew = _Crew(ray, lambda: handle, 2, Silence(), Path(), "", deque(["a run"]))
    for _ in range(2):
        crew._hire()

    def hear_often():
        for _ in range(100):
            crew._hear()

    with pytest.raises(RunError, match="actors die before they train"):
        hear_often()
    assert list(crew.waiting) == ["a run"]
