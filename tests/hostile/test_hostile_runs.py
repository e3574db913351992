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
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lenscope.errors import LenscopeError, RunError
from lenscope.runs.manifest import Manifest, entry_of
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


def plant(path: Path, name: str, content: bytes) -> Run:
    """Put a content in place with a manifest that agrees, and return the run."""
    (path / name).write_bytes(content)
    if name not in {"manifest.json", "status.json"}:
        manifest = Manifest.from_json((path / "manifest.json").read_bytes(), "")
        table = manifest.appended if name in manifest.appended else manifest.static
        table[name] = entry_of(content)
        (path / "manifest.json").write_bytes(manifest.to_json())
    return Run(path)


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
    "nothing": b"",
    "a header beyond all bounds": struct.pack("<Q", 2**63) + b"{}",
    "text": struct.pack("<Q", 4) + b"haha",
    "nested": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "a shape beyond the data": safetensors("F32", [2**40], b"abcd"),
    "a shape whose product overflows": safetensors("F32", [2**32, 2**32, 2], b"abcd"),
    "offsets beyond the data": safetensors("F32", [1], b"abcd", 2**40),
    "whole numbers": safetensors("I64", [1], bytes(8)),
    "doubles": safetensors("F64", [1], bytes(8)),
    "complex": safetensors("C64", [1], bytes(8)),
    "a type that numpy lacks": safetensors("F8_E4M3", [1], b"a"),
    "brain floats": safetensors("BF16", [1], b"ab"),
    "no such type": safetensors("EVIL\n", [1], b"ab"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_poisoned_weights_are_refused_by_name(path: Path, kind: str) -> None:
    run = plant(path, FINAL, WEIGHTS[kind])
    with pytest.raises(RunError, match=r"weights/final\.safetensors: not safetensors of float32") as caught:
        run.weights()
    assert str(caught.value).isprintable()
    with pytest.raises(RunError, match="not safetensors of float32"):
        run.network()


@pytest.mark.parametrize("shape", [[0], [1], [6, 1, 5, 4]])
def test_sound_weights_of_no_network_here_are_refused(path: Path, shape: list[int]) -> None:
    values = bytes(4)
    for size in shape:
        values *= size
    run = plant(path, FINAL, safetensors("F32", shape, values))
    assert list(run.weights()) == ["conv1.weight"]
    with pytest.raises(RunError, match="the weights are not those of a LeNet"):
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
    folders = [str(Path(__file__).parent), str(Path(sys.modules["lenscope"].__file__ or "").parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", guarded, str(path.parent), *folders], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == (f"[] {len(WEIGHTS) + 7} True []\n", 0), done.stderr


def test_the_canary_would_sing() -> None:
    with pytest.raises(SystemExit, match="the canary sang"):
        pickle.loads(WEIGHTS["pickle"])  # noqa: S301


JSON_FILES = ["manifest.json", "status.json", "environment.json", "film.json"]
NO_JSON = [
    b"", b"\xff\xfe", b"null", b"[]", b"3", b'"x"', b"NaN", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000,
    b'{"state": ' + b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize("content", NO_JSON, ids=lambda content: content[:12].decode(errors="replace"))
def test_what_is_no_json_object_is_refused_with_the_name_of_the_file(path: Path, name: str, content: bytes) -> None:
    plant(path, name, content)
    refused = read_all(path)
    assert refused
    assert all(name in message for message in refused)


@pytest.mark.parametrize(
    "facts",
    [
        None,
        [],
        3,
        {},
        {"classes": 3},
        {"classes": []},
        {"classes": [1, 2]},
        {"classes": [""] * 200_000},
        {"classes": [["a"]]},
        {"channels": 0},
        {"channels": -1},
        {"channels": 10**9},
        {"channels": float("nan")},
        {"channels": 1e300},
        {"channels": "x"},
        {"image_size": [28]},
        {"image_size": [1, 2, 3]},
        {"image_size": "28"},
        {"train_images": {}},
        {"name": None},
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
        with pytest.raises(RunError, match=r"film\.json: shapes that no kernels have"):
            _ = plant(path, "film.json", json.dumps(film).encode()).film
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert len(read_all(path)) >= 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


KEYS = st.sampled_from(
    [
        "format",
        "static",
        "appended",
        "size",
        "sha256",
        "config.toml",
        "film.bin",
        "metrics.csv",
        "state",
        "why",
        "process",
        "host",
        "started",
        "ended",
        "data",
        "classes",
        "channels",
        "image_size",
        "tensors",
        "name",
        "shape",
        "running",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(), inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.parametrize("name", JSON_FILES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(change=st.dictionaries(KEYS, JSON, min_size=1, max_size=4), whole=st.booleans())
def test_any_json_in_any_place_gives_a_run_or_a_run_error(
    tiny_run, path: Path, name: str, change: dict[str, Any], whole: bool
) -> None:
    for file in JSON_FILES:
        shutil.copy(tiny_run.path / file, path / file)
    content = change if whole else json.loads((path / name).read_bytes()) | change
    plant(path, name, json.dumps(content).encode())
    run = Run(path)
    for look in ("config", "data", "status", "metrics", "losses", "film"):
        assert "\n" not in refusal(partial(getattr, run, look))


def test_a_folder_of_hostile_runs_can_still_be_listed(path: Path) -> None:
    for name in JSON_FILES[:2]:
        for number, content in enumerate(NO_JSON):
            copy = Path(shutil.copytree(path, path.parent / "runs" / f"{name}-{number}"))
            plant(copy, name, content)
    shutil.copytree(path, path.parent / "runs" / "sound")
    found = list_runs(path.parent / "runs")
    assert len(found) == 2 * len(NO_JSON) + 1
    assert [item.name for item in found if isinstance(item, Run)] == ["sound"]
    assert all(isinstance(item, Run | LenscopeError) for item in found)


@pytest.mark.parametrize(
    "name",
    ["../secret", "weights/../../secret", "/secret", "..", "checkpoint/..", ".lock", "a/b/c", "a/.b", "", "a\nb", "é"],
)
def test_a_manifest_that_names_what_no_run_holds_is_refused(path: Path, name: str) -> None:
    manifest = Manifest.from_json((path / "manifest.json").read_bytes(), "")
    manifest.static[name] = entry_of(b"secret")
    (path / "manifest.json").write_bytes(manifest.to_json())
    assert any("not a manifest" in message for message in read_all(path))
