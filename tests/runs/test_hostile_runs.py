"""Run directories made by an enemy, whose manifest agrees with what they hold: one RunError, no code, no memory."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - to make what must never be read
import resource
import shutil
import struct
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fixtures_runs import plant
from lenscope.errors import RunError
from lenscope.runs.files.manifest import Manifest, fingerprint
from lenscope.runs.run import Run, list_runs, open_run

if TYPE_CHECKING:
    from collections.abc import Callable

FINAL = "weights/final.safetensors"


class Canary:
    """Executes code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('the canary sang')",))


@pytest.fixture
def path(tiny_run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run.path, tmp_path / "run"))


def refusal(look: Callable[[], object]) -> str:
    """What a RunError said, or nothing."""
    try:
        look()
    except RunError as error:
        return str(error)
    return ""


def read_all(path: Path) -> list[str]:
    """Read every part and return what was refused; anything but a RunError goes through."""
    looks = (
        lambda: open_run(path).config,
        lambda: Run(path).environment,
        lambda: Run(path).data,
        lambda: Run(path).status,
        lambda: Run(path).metrics,
        lambda: Run(path).losses,
        lambda: Run(path).film,
        lambda: Run(path).weights("initial"),
        lambda: Run(path).weights(),
        lambda: Run(path).network(),
    )
    refused = [refusal(look) for look in looks]
    assert not any("\n" in message for message in refused)
    return [message for message in refused if message]


def zipped() -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Canary()))
    return stream.getvalue()


def safetensors(dtype: str, shape: list[int], data: bytes, claimed: int | None = None) -> bytes:
    offsets = [0, len(data) if claimed is None else claimed]
    header = json.dumps({"conv1.weight": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()
    return struct.pack("<Q", len(header)) + header + data


WEIGHTS = {
    "pickle": pickle.dumps(Canary()),
    "zip": zipped(),
    "a header beyond all bounds": struct.pack("<Q", 2**63) + b"{}",
    "nested": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "a shape whose product overflows": safetensors("F32", [2**32, 2**32, 2], b"abcd"),
    "doubles": safetensors("F64", [1], bytes(8)),
    "brain floats": safetensors("BF16", [1], b"ab"),
    "an unknown type": safetensors("EVIL\n", [1], b"ab"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_poisoned_weights_are_refused_by_name(path: Path, kind: str) -> None:
    run = plant(path, FINAL, WEIGHTS[kind])
    with pytest.raises(RunError, match=r"weights/final\.safetensors: not safetensors of float32") as caught:
        run.weights()
    assert str(caught.value).isprintable()
    with pytest.raises(RunError, match="not safetensors of float32"):
        run.network()


@pytest.mark.parametrize("shape", [[0], [6, 1, 5, 4]])
def test_sound_weights_of_no_network_here_are_refused(path: Path, shape: list[int]) -> None:
    values = bytes(4)
    for size in shape:
        values *= size
    run = plant(path, FINAL, safetensors("F32", shape, values))
    assert list(run.weights()) == ["conv1.weight"]
    with pytest.raises(RunError, match="the weights do not match a LeNet"):
        run.network()


def test_reading_a_run_sound_or_poisoned_never_unpickles_compiles_or_executes(path: Path) -> None:
    for number, kind in enumerate(WEIGHTS):
        plant(Path(shutil.copytree(path, path.parent / "runs" / str(number))), FINAL, WEIGHTS[kind])
    for name in (
        "config.toml",
        "environment.json",
        "status.json",
        "manifest.json",
        "film.json",
        "film.bin",
        "metrics.csv",
    ):
        plant(Path(shutil.copytree(path, path.parent / "runs" / name)), name, pickle.dumps(Canary()) + b"\n" * 50_000)
    guarded = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_hostile_runs import read_all
root = Path(sys.argv[1])
assert not read_all(root / "run")
runs = list((root / "runs").iterdir())
for run in runs[:3]:  # what is imported when first needed
    read_all(run)
seen = []
def hook(event, arguments):
    if event in ("exec", "compile", "pickle.find_class", "os.system", "subprocess.Popen", "import"):
        seen.append((event, repr(arguments)[:200]))
sys.addaudithook(hook)
eval("1")
assert len(seen) == 2, seen
seen.clear()
sound = read_all(root / "run")
refused = [bool(read_all(run)) for run in runs]
seen = [item for item in seen if item[0] != "import"]
print(sound, len(refused), all(refused), seen)
"""
    tests = Path(__file__).parent
    folders = [str(tests), str(tests.parent), str(Path(sys.modules["lenscope"].__file__ or "").parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", guarded, str(path.parent), *folders], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == (f"[] {len(WEIGHTS) + 7} True []\n", 0), done.stderr


def test_the_canary_would_sing() -> None:
    with pytest.raises(SystemExit, match="the canary sang"):
        pickle.loads(WEIGHTS["pickle"])  # noqa: S301


JSON_FILES = ["manifest.json", "status.json", "environment.json", "film.json"]


@pytest.mark.parametrize("content", [b"null", b'{"state": ' + b"[" * 100_000], ids=["null", "nested"])
def test_a_file_that_is_not_a_json_object_is_named_and_the_other_runs_are_listed(path: Path, content: bytes) -> None:
    runs = path.parent / "runs"
    shutil.copytree(path, runs / "sound")
    for name in JSON_FILES:
        copy = Path(shutil.copytree(path, runs / name))
        plant(copy, name, content)
        refused = read_all(copy)
        assert refused
        assert all(name in message for message in refused)
    found = list_runs(runs)
    assert len(found) == len(JSON_FILES) + 1
    assert {"sound"} <= {item.name for item in found if isinstance(item, Run)} <= {"sound", *JSON_FILES[2:]}


@pytest.mark.parametrize(
    "facts",
    [
        None,
        {"classes": []},
        {"classes": [""] * 200_000},
        {"channels": 10**9},
        {"channels": float("nan")},
        {"image_size": [28]},
        {"train_sha256": 5},
    ],
    ids=lambda facts: str(facts)[:40],
)
def test_facts_of_the_data_that_cannot_be_are_refused_before_a_network_is_built(path: Path, facts: Any) -> None:
    environment = json.loads((path / "environment.json").read_bytes())
    environment["data"] = environment["data"] | facts if isinstance(facts, dict) and facts else facts
    run = plant(path, "environment.json", json.dumps(environment).encode())
    with pytest.raises(RunError, match=r"environment\.json: .* is missing or wrong; the run is broken"):
        run.network()


def test_an_environment_without_data_is_refused(path: Path) -> None:
    run = plant(path, "environment.json", b"{}")
    assert run.environment == {}
    with pytest.raises(RunError, match=r"environment\.json: the data is missing or wrong"):
        _ = run.data


def test_claims_of_terabytes_take_no_memory(path: Path) -> None:
    sizes = [[10**4, 10**4, 10**4, 10**4], [2**31, 1, 1, 1], [-1, 2**40, 1, 1]]
    film = {"tensors": [{"name": "conv1", "shape": sizes[0]}]}
    manifest = json.loads((path / "manifest.json").read_bytes())
    for entry in (*manifest["static"].values(), *manifest["appended"].values()):
        entry["size"] = 2**45
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for size in sizes:
        film["tensors"][0]["shape"] = size
        with pytest.raises(RunError, match=r"film\.json: invalid shapes of kernels"):
            _ = plant(path, "film.json", json.dumps(film).encode()).film
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert len(read_all(path)) >= 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


@pytest.mark.parametrize(
    "name",
    ["../secret", "weights/../../secret", "/secret", "checkpoint/..", ".lock", "a\nb"],
)
def test_a_manifest_that_names_what_no_run_holds_is_refused(path: Path, name: str) -> None:
    manifest = Manifest.from_json((path / "manifest.json").read_bytes(), "")
    manifest.static[name] = fingerprint(b"secret")
    (path / "manifest.json").write_bytes(manifest.to_json())
    assert any("not a manifest" in message for message in read_all(path))
