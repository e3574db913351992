"""What the compiler makes of the kernels for 64-bit ARM: sums that stay in registers."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def count_neon(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import count_neon

    for tool in (count_neon.COMPILER, count_neon.OBJDUMP, count_neon.EMULATOR):
        if not shutil.which(tool):
            assert "CI" not in os.environ, f"{tool} is missing"
            pytest.skip(f"{tool} is missing")
    yield count_neon
    del sys.modules["count_neon"]


@pytest.mark.parametrize(
    ("part", "share"), [("conv2 forward", 0.65), ("conv2 weight gradient", 0.5), ("fc1 weight gradient, Adam", 0.5)]
)
def test_sums_stay_in_registers(part: str, share: float, count_neon: ModuleType, tmp_path: Path) -> None:
    program, kinds = count_neon.build(tmp_path)
    counts = count_neon.measure(part, program, kinds, tmp_path)
    assert counts.fma >= count_neon.NEEDED[part] / count_neon.LANES  # the log has the whole part
    assert counts.spills < counts.fma / 50
    assert count_neon.NEEDED[part] / count_neon.LANES / count_neon.VECTOR_STARTS / counts.cycles > share
