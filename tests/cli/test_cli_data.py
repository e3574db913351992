"""`lenscope data`, `lenscope doctor` and `lenscope summary` as they are typed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from fixtures_data import write_image_folder
from lenscope.environment import install_command


def test_data_lists_locates_and_verifies(cli):
    code, out, _ = cli("data", "list")
    assert out.split()[:4] == ["name", "here", "classes", "licence"]
    assert code == 0
    assert all(name in out for name in ("mnist", "fashion-mnist", "kmnist", "qmnist", "emnist-letters"))
    assert json.loads(cli("data", "list", "--json").out)[0]["name"] == "mnist"
    code, out, _ = cli("data", "verify", "mnist")
    assert code == 0
    assert out.count("genuine") == 4
    assert cli("data", "locate", "mnist").out.count("ubyte") == 4
    assert len(json.loads(cli("data", "fetch", "mnist", "--json").out)) == 4  # present: nothing to download


def test_data_reports_what_is_missing(tmp_path, monkeypatch, cli):
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path))
    code, _, err = cli("data", "locate", "kmnist")
    assert code == 1
    assert "kmnist: not found; download it with: lenscope data fetch kmnist" in err
    code, out, err = cli("data", "verify", "kmnist", "--json")
    assert code == 1
    assert [check["state"] for check in json.loads(out)] == ["missing"] * 4
    assert "wrong or missing" in err


def test_data_packs_a_folder(tmp_path, monkeypatch, cli):
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    root = write_image_folder(tmp_path / "shapes", each=3)
    (root / "test" / "b" / "1.png").write_bytes(b"")
    code, out, err = cli("data", "pack", root)
    assert (code, out) == (1, "")
    assert "1 defect, expected" in err
    code, out, err = cli("data", "pack", root, "--skip-unreadable", "--json")
    assert code == 0
    found = json.loads(out)
    assert Path(found["pack"]).is_relative_to(tmp_path / "cache")
    assert (found["train"], found["test"], found["shape"], found["bytes"]) == (6, 5, [1, 6, 6], 396)
    assert list(found["skipped"]) == ["test/b/1.png"]
    code, out, err = cli("data", "pack", root, "--skip-unreadable")
    assert re.search(r": 6 training and 5 test images of 1×6×6, 396 bytes, in [\d.]+ s", out)
    assert "left out 1 unreadable picture: test/b/1.png: " in err
    code, _, err = cli("data", "pack", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere: no such folder; give the path of a folder of pictures" in err


def test_doctor_prints_versions_engines_and_data(cli, monkeypatch):
    code, out, _ = cli("doctor")
    assert code == 0
    assert "\n  mnist: " in out
    facts = json.loads(cli("doctor", "--json").out)
    assert facts["engines"]["torch"].startswith("PyTorch")
    assert facts["free memory (MB)"] > 0
    assert facts["verdict"]["can_train"] is True
    assert {"MNIST", "reports"} <= set(facts["verdict"]["ready"])
    assert re.fullmatch(r"(avx512|avx2|baseline) \(supported: .*\bbaseline\), \d+ threads?", facts["engines"]["fused"])
    assert "cpu" in facts["devices"]
    monkeypatch.setenv("LENSCOPE_ISA", "avx1024")
    code, out, _ = cli("doctor")
    assert code == 1
    assert "\n  fused: LENSCOPE_ISA: got 'avx1024'" in out
    assert "\nproblem: LENSCOPE_ISA: got 'avx1024'" in out
    assert out.endswith("\nlenscope train: cannot run here\n")
    monkeypatch.setitem(sys.modules, "lenscope.native._core", None)
    code, out, _ = cli("doctor")
    assert code == 0
    assert "\n  fused: the native engine " in out
    assert "\nready: training on this CPU (numpy, " in out
    assert "\nmissing: native engine: a LeNet is trained in numpy, which takes six times as long; the native " in out


def test_doctor_names_what_prevents_training(cli, here, monkeypatch):
    (here / "runs").touch()
    (here / "cache").touch()
    monkeypatch.setenv("LENSCOPE_CACHE", str(here / "cache"))
    monkeypatch.setattr("lenscope.cli.doctor.free_memory", lambda: 300_000_000)
    monkeypatch.setattr("lenscope.cli.doctor.locate", lambda _: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("lenscope.pytorch", "lenscope.pytorch.devices"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    code, out, err = cli("doctor", "--json")
    verdict = json.loads(out)["verdict"]
    assert (code, err, verdict["can_train"]) == (1, "", False)
    assert [problem.partition(":")[0] for problem in verdict["problems"]] == [
        "runs", str(here / "cache"), "300 MB of memory are free, and training may take 400 MB; end other programs",
    ]  # fmt: skip
    assert verdict["missing"] == [
        f"PyTorch is not installed; run: {install_command('torch')} (for other networks and GPUs)",
        "MNIST: not on this computer; lenscope train downloads it, as does: lenscope data fetch mnist",
    ]
    (here / "runs").unlink()
    assert cli("doctor").code == 1  # MNIST is not here, and cannot be downloaded
    monkeypatch.setenv("LENSCOPE_CACHE", str(here / "new" / "cache"))
    assert cli("doctor").code == 0
    (here / "runs").touch()
    assert cli("doctor").code == 1


def test_summary_as_text_and_json(cli):
    assert "61,706" in cli("summary").out
    colour = json.loads(cli("summary", "--input", "3×32×32", "--classes", "47", "--json").out)
    assert colour["input_shape"] == [3, 32, 32]
