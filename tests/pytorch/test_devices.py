"""How a GPU computes and what it is, with stand-ins: no GPU is needed."""

from __future__ import annotations

import torch

from lenscope.pytorch import devices
from lenscope.pytorch import engine as torch_engine
from lenscope.pytorch.devices import describe_gpu, full_precision

CUDA = torch.device("cuda")


def settings():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, matmul.fp32_precision, cudnn.deterministic


def test_a_gpu_computes_in_float32_and_the_users_settings_come_back():
    before = settings()
    assert before[0] == "tf32"
    with full_precision(CUDA):
        assert settings() == ("ieee", "ieee", "ieee", True)
    assert settings() == before


def test_elsewhere_nothing_is_set():
    before = settings()
    with full_precision(torch.device("cpu")):
        assert settings() == before


def test_steps_and_evaluations_compute_so(tiny, monkeypatch):
    from lenscope.config import TrainConfig
    from lenscope.pytorch.nets.build import build

    entered = []
    honest = devices.full_precision

    def watched(device):
        entered.append(device.type)
        return honest(device)

    monkeypatch.setattr(torch_engine, "full_precision", watched)
    train = tiny.train.resized(32)
    engine = torch_engine.TorchEngine(build("lenet", 1, 10, 0), train, TrainConfig(device="cpu"))
    engine.run(1, [train.labels[:10].astype("int64")], [1e-3], lambda: False)
    engine.evaluate(train)
    assert entered == ["cpu"] * 2


def test_a_gpu_is_named_with_what_computes_on_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91400)
    assert describe_gpu("cuda") == "NVIDIA H200, CUDA 13.0, cuDNN 91400"
    assert describe_gpu("cpu") is None


def test_a_run_says_which_gpu_it_had_and_a_resume_on_another_is_told(tiny):
    from fixtures_runs import QUICK
    from lenscope.engines import choose_engine
    from lenscope.runs.prepare import prepare
    from lenscope.runs.provenance import differences, environment_of

    prepared = prepare(QUICK, tiny)
    engine = choose_engine(prepared.network, prepared.weights, prepared.sized.train, QUICK)
    before = environment_of(engine, prepared)
    assert before["gpu"] is None
    assert differences(before | {"gpu": "A"}, before | {"gpu": "B"}) == ["gpu is B, was A"]
    older = {name: value for name, value in before.items() if name != "gpu"}
    assert differences(older, before) == []
