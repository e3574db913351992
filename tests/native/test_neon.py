"""What the compiler makes of the kernels for 64-bit ARM: sums that stay in registers."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Built = tuple["ModuleType", Path, dict]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import count_neon

        for tool in (count_neon.COMPILER, count_neon.OBJDUMP, count_neon.EMULATOR):
            if not shutil.which(tool):
                assert "CI" not in os.environ, f"{tool} is missing"
                pytest.skip(f"{tool} is missing")
        yield count_neon, *count_neon.build(tmp_path_factory.mktemp("neon"))
        del sys.modules["count_neon"]


@pytest.mark.parametrize(
    ("part", "share"),
    [
        ("conv1 forward", 0.65),
        ("conv2 forward", 0.9),
        ("conv2 weight gradient", 0.55),
        ("conv2 input gradient", 0.45),
        ("conv1 weight gradient", 0.45),
        ("fc1 input gradient", 0.9),
        ("fc1 weight gradient, Adam", 0.8),
    ],
)
def test_innermost_loops_spill_nothing(part: str, share: float, built: Built, tmp_path: Path) -> None:
    count_neon, program, kinds = built
    counts = count_neon.measure(part, program, kinds, tmp_path)
    assert counts.fma >= count_neon.NEEDED[part] / count_neon.LANES  # the log has the whole part
    assert counts.spills < 1  # the loop of calls has one per call
    assert count_neon.share_of_peak(part, counts) > share
