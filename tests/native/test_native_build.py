from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lenscope import native
from lenscope.environment import install_command
from lenscope.errors import UsageError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def not_built(monkeypatch):
    """As if the package was installed without a compiler."""
    monkeypatch.setitem(sys.modules, "lenscope.native._core", None)


def on_path(monkeypatch, tmp_path, *programs):
    for program in programs:
        (tmp_path / program).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_the_engine_is_built_and_the_baseline_runs_everywhere():
    assert native.reason() is None
    available = native.load().instruction_sets()
    assert available[-1] == "baseline"
    assert available == [name for name in ("avx512", "avx2", "baseline") if name in available]


def test_importing_native_loads_neither_the_extension_nor_numpy():
    code = "import sys, lenscope.native; print(sorted({'numpy', 'torch', 'lenscope.native._core'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_the_extension_the_reason_is_a_missing_compiler(not_built, monkeypatch, tmp_path):
    on_path(monkeypatch, tmp_path)
    why = f"the native engine was not built, for lack of a C++ compiler; install g++, then run: {install_command()}"
    assert native.reason() == why
    for ask in (native.load, native.instruction_set):
        with pytest.raises(UsageError, match=re.escape(why)):
            ask()


def test_a_compiler_that_is_installed_now_is_named(not_built, monkeypatch, tmp_path):
    on_path(monkeypatch, tmp_path, "clang++", "gcc")
    assert native.reason() == (
        f"the native engine is not built, but {tmp_path / 'clang++'} is installed now; run: {install_command()}"
    )


def test_an_extension_that_cannot_be_loaded_says_so_in_one_line(monkeypatch):
    def broken(name):
        raise ImportError("libstdc++.so.6: version `GLIBCXX_3.4.99' not found\nsecond line", name=name)

    monkeypatch.setattr(native, "import_module", broken)
    assert native.reason() == (
        "the native engine cannot be loaded: libstdc++.so.6: version `GLIBCXX_3.4.99' not found; run: "
        f"{install_command()}"
    )


@pytest.mark.parametrize("isa", ["", *native.load().instruction_sets()])
def test_the_environment_chooses_the_instruction_set(monkeypatch, isa):
    monkeypatch.setenv("LENSCOPE_ISA", isa)
    assert native.instruction_set() == (isa or native.load().instruction_sets()[0])


@pytest.mark.parametrize("isa", ["AVX2", "neon\nx", "x" * 1000])
def test_an_unsupported_instruction_set_is_refused_with_the_supported_ones(monkeypatch, isa):
    monkeypatch.setenv("LENSCOPE_ISA", isa)
    with pytest.raises(UsageError) as caught:
        native.instruction_set()
    available = ", ".join(native.load().instruction_sets())
    assert str(caught.value) == f"LENSCOPE_ISA: got {isa[:40]!r}, this processor supports: {available}"


def test_what_builds_the_package_is_pinned_for_ci():
    required = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").replace("_", "-")
    names = [re.split("[><=]", requirement)[0] for requirement in required]
    assert len(names) == 2
    assert all(f"\n{name}==" in pinned for name in [*names, "cmake", "ninja"])


def test_the_package_needs_no_torch_and_its_development_does():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert not [requirement for requirement in project["dependencies"] if requirement.startswith("torch")]
    assert extras["torch"] == ["torch>=2.10"]
    assert "torch" in re.split(r"[\[\],]", extras["dev"][0])


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    "changed", [None, "CMakeLists.txt", "src/lenscope/native/kernels/kernels.cpp", "constraints.txt"]
)
def test_make_installs_again_after_a_change_of_what_is_compiled(tmp_path, changed):
    (tmp_path / "bin").mkdir()
    for stamp in ("bin/python", ".installed"):
        (tmp_path / stamp).touch()
    what_if = ["-W", changed] if changed else []
    command = ["make", "-n", f"VENV={tmp_path}", *what_if, str(tmp_path / ".installed")]
    environment = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "VENV"}}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    assert ("pip install" in done.stdout) == bool(changed)
    assert "[dev]" not in done.stdout
