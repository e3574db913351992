"""Runs on a Ray cluster: equal results, on loopback alone, whatever is killed.

Each test starts a cluster, which takes five to ten seconds; what needs none is in `test_lab_pool.py`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager, suppress

import psutil
import pytest

from fixtures_lab import Recorded, untimed_results, wait_for
from lenscope.errors import UsageError
from lenscope.lab import Sweep, conduct
from lenscope.lab.execution import ray_actors
from sweep_kills import workers

pytestmark = pytest.mark.slow
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def sweep(digits: str, **settings: object) -> Sweep:
    grid = {"batch_size": 20, "epochs": 2, "optimizer": ["adam", "sgd"]}
    return Sweep(**{"data": digits, "seeds": "3", "grid": grid} | settings)


@pytest.fixture(scope="module", autouse=True)
def _leave_no_warnings():
    """Ray does not wait for the processes that it has started, of which Python warns."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def expected(digits, tmp_path_factory) -> list[dict[str, str]]:
    path = tmp_path_factory.mktemp("local") / "x"
    conduct(sweep(digits), path)
    return untimed_results(path)


class Listens(Recorded):
    """Lists the listening sockets of all processes that this one has started, while they train."""

    def __init__(self) -> None:
        super().__init__()
        self.sockets: set[tuple[str, str]] = set()

    def advance(self, run, epoch) -> None:
        super().advance(run, epoch)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # ended since it was listed
                for connection in process.net_connections("inet"):
                    if connection.status == psutil.CONN_LISTEN:
                        self.sockets.add((process.name(), connection.laddr.ip))


def test_a_cluster_of_our_own_gives_the_same_results_and_listens_on_loopback_alone(digits, tmp_path, expected):
    recorded = Listens()
    conduct(sweep(digits), tmp_path / "x", processes=2, progress=recorded, ray="local")
    assert untimed_results(tmp_path / "x") == expected
    assert len(recorded.sockets) > 3
    assert {address for _, address in recorded.sockets} <= LOOPBACK
    assert {run for run, _ in recorded.advanced} == {row["trial"] for row in expected}
    assert not (tmp_path / "x" / "runs" / ray_actors.MARKER).exists()
    assert "RAY_AUTH_MODE" not in os.environ


class KillsAnActor(Recorded):
    """Kills an actor at the first run that is done."""

    def advance(self, run, epoch) -> None:
        if not self.advanced:
            workers(os.getpid())[0].kill()
        super().advance(run, epoch)


def test_a_killed_actor_is_replaced_and_loses_nothing(digits, tmp_path, expected):
    recorded = KillsAnActor()
    conduct(sweep(digits), tmp_path / "x", processes=2, progress=recorded, ray="local")
    assert untimed_results(tmp_path / "x") == expected
    assert sorted(run for run, _ in recorded.advanced) == sorted({row["trial"] for row in expected})


def test_a_missing_cluster_is_an_error_in_one_line(digits, tmp_path):
    with pytest.raises(UsageError, match=r"--ray-address auto: .*; start a cluster with 'ray start --head'"):
        conduct(sweep(digits), tmp_path / "x", ray="auto")


def test_without_ray_the_error_says_how_to_install_it(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"run: .*\[ray\]"):
        conduct(sweep(digits), tmp_path / "x", ray="local")


# Two nodes on one machine.

NODES = """
import json, os, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
other = cluster.add_node(num_cpus=1)
raylets = [node.all_processes["raylet"][0].process.pid for node in (cluster.head_node, other)]
print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@contextmanager
def two_nodes():
    """A cluster of two raylets with a processor each, on loopback, and the raylets' process numbers."""
    environment = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    nodes = subprocess.Popen(
        [sys.executable, "-c", NODES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        line = next(line for line in nodes.stdout if line.startswith(b"{"))
        yield json.loads(line), environment
    finally:
        nodes.stdin.close()
        nodes.wait(60)
        nodes.stdout.close()


def test_a_killed_node_loses_nothing(digits, tmp_path):
    """Twenty runs on two nodes, the second of which is killed halfway."""
    texts = ["batch_size=20", "epochs=30", "optimizer=adam,sgd"]
    conduct(sweep(digits, seeds="10", grid=texts), tmp_path / "whole")
    with two_nodes() as (nodes, environment):
        command = [sys.executable, "-m", "lenscope", "sweep", *(f"--set={text}" for text in texts), "--quiet"]
        command += ["--data", digits, "--seeds", "10", "--out", str(tmp_path / "x")]
        command += ["--backend", "ray", "--ray-address", nodes["address"]]
        driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        runs, seen = tmp_path / "x" / "runs", set()

        def half_done() -> bool:
            seen.update(_parents_of_trainers())
            assert driver.poll() is None
            return sum((path / "weights" / "final.safetensors").exists() for path in runs.glob("*")) > 5

        try:
            wait_for(half_done, 500)
            assert set(nodes["raylets"]) <= seen
            os.kill(nodes["raylets"][1], signal.SIGKILL)
            assert driver.wait(500) == 0
        finally:
            driver.kill()
            driver.wait()
    assert untimed_results(tmp_path / "x") == untimed_results(tmp_path / "whole")


def _parents_of_trainers() -> set[int]:
    """The raylets whose workers train."""
    found = set()
    for process in psutil.process_iter(["cmdline", "ppid"]):
        if "ray::Trainer" in " ".join(process.info["cmdline"] or []):
            found.add(process.info["ppid"])
    return found
