from __future__ import annotations

import json
import os
import platform
import shlex
import socket
import sys
from math import inf
from pathlib import Path

import numpy as np
import pytest

from lenscope import environment
from lenscope.environment import (
    PACKAGES,
    describe_environment,
    free_memory,
    install_command,
    package_version,
    processor_model,
    processor_name,
    processor_quota,
    usable_processors,
)


def test_the_environment_is_json_and_names_the_versions_in_use() -> None:
    facts = describe_environment()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["python"] == platform.python_version()
    packages = facts["packages"]
    assert isinstance(packages, dict)
    assert set(packages) == set(PACKAGES)
    assert packages["numpy"] == np.__version__


def test_the_environment_tells_nobody_who_or_where_the_user_is() -> None:
    text = json.dumps(describe_environment())
    assert str(Path.home()) not in text or Path.home() == Path("/")
    assert socket.gethostname() not in text


def test_the_processors_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 4}, raising=False)
    assert usable_processors() == 3


def test_without_affinity_all_processors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert usable_processors() == expected


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {}, inf),
        ("0::/", {"cpu.max": "max 100000"}, inf),
        ("0::/a/b", {"cpu.max": "max 100000", "a/cpu.max": "150000 100000", "a/b/cpu.max": "400000 100000"}, 1.5),
        ("0::/outside", {"cpu.max": "50000 100000"}, 0.5),  # a container
        ("0::/", {"cpu.max": "0 0"}, inf),
        ("1:cpu,cpuacct:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, inf),
        ("4:memory:/a\n1:cpu:/a", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ("nonsense", {"cpu.max": "1 1"}, 1),
    ],
)
def test_a_containers_quota_limits_the_processors(
    own: str, files: dict[str, str], expected: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").write_text(own)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert processor_quota(tmp_path / "own", tmp_path) == expected
    monkeypatch.setattr(environment, "processor_quota", lambda: expected)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(8)}, raising=False)
    assert usable_processors() == (8 if expected == inf else round(expected + 0.49))


def test_the_processor_is_named_as_it_names_itself(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_bytes(b"processor\t: 0\nmodel name\t: Fast: 3000 \xff\nmodel name\t: Other\n")
    assert processor_name(cpuinfo) == "Fast: 3000 \ufffd"


def test_processors_of_one_name_are_told_apart_by_family_model_and_cache(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert not processor_model(cpuinfo)
    first = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\ncache size\t: 1024 KB\n"
    cpuinfo.write_text(f"{first}\n{first.replace('17', '1')}")
    assert processor_model(cpuinfo) == "cpu family 25, model 17, cache size 1024 KB"


@pytest.mark.parametrize("content", [None, b"nothing of use\n"])
def test_a_processor_without_a_name_is_the_machines_type(tmp_path: Path, content: bytes | None) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if content is not None:
        cpuinfo.write_bytes(content)
    assert processor_name(cpuinfo) == (platform.processor() or platform.machine())


def test_the_version_of_a_package_that_is_not_installed_is_none() -> None:
    assert package_version("torch") is not None
    assert package_version("no-such-package-as-this") is None


def test_the_free_memory_is_known_on_linux_only(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    assert free_memory(meminfo) is None
    meminfo.write_text("MemTotal:       2048 kB\nMemFree:        5 kB\nMemAvailable:   1024 kB\n")
    assert free_memory(meminfo) == 2**20


def test_it_is_installed_from_the_clone_where_there_is_one_and_else_from_pypi(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clone = Path(environment.__file__).parents[2]
    assert install_command("torch") == f"{sys.executable} -m pip install -e {shlex.quote(f'{clone}[torch]')}"
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "site-packages" / "lenscope" / "environment.py"))
    assert (install_command("torch"), install_command()) == (
        "pip install 'lenscope[torch]'",
        "pip install --force-reinstall --no-deps lenscope",
    )
