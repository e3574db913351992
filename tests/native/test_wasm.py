"""The engine as a WebAssembly module, in Node: the same bytes as the baseline's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lenscope import native
from lenscope.config import resolve
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network, flatten
from lenscope.randomness import Purpose, random_order
from lenscope.training.distortion import amounts
from lenscope.training.optimizers import OPTIMIZERS
from lenscope.training.schedules import learning_rates

if TYPE_CHECKING:
    from lenscope.data.dataset import Splits

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
RULES = ("sgd", "momentum", "nesterov", "adam", "adamw")  # in the order of lenscope::Rule
STEPS, IMAGES = 600, 6_000


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, built from the sources."""
    if not find_spec("ziglang") or not shutil.which("node"):
        assert "CI" not in os.environ, "ziglang or node is missing"
        pytest.skip("ziglang (pip install ziglang) or node is missing")
    path = tmp_path_factory.mktemp("wasm") / "engine.wasm"
    subprocess.run([ROOT / "scripts" / "wasm", path], check=True, env=os.environ | {"PYTHON": sys.executable})
    return path


def test_the_packaged_module_is_what_the_sources_give(module: Path) -> None:
    packaged = Path(native.__file__).with_name("engine.wasm")
    assert packaged.read_bytes() == module.read_bytes(), "run scripts/wasm, and commit engine.wasm with the sources"


@pytest.mark.parametrize("recipe", ["lecture", "speedrun", "fast", "best"])
def test_600_steps_of_each_recipe_give_the_bytes_of_the_baseline(
    recipe: str, module: Path, mnist: Splits, tmp_path: Path
) -> None:
    config, network = resolve(recipe), Network("lenet")
    images, labels = mnist.train.resized(32).images[:IMAGES], mnist.train.labels[:IMAGES].astype(np.int64)
    batch = config.batch_size
    ends = np.arange(1, STEPS + 1, dtype=np.int64) * batch
    epochs = -(-STEPS * batch // IMAGES)
    indices = np.concatenate([random_order(0, Purpose.ORDER, epoch, IMAGES) for epoch in range(epochs)])[: ends[-1]]
    rates = np.array(learning_rates(config.schedule, config.learning_rate, STEPS, 0, STEPS), np.float64)
    weights, rule = flatten(network, initial_weights(network, 0)), OPTIMIZERS[config.optimizer].native
    augmentation = np.array(amounts(config.augment), np.float32)
    task = {
        "channels": 1, "classes": 10, "images": 1_000, "weights": len(weights), "rule": RULES.index(rule),
        "momentum": config.momentum, "decay": config.weight_decay, "augmentation": bool(augmentation[:5].any()),
        "steps": STEPS, "epoch": 1, "seed": 3,
    }  # fmt: skip
    (tmp_path / "task.json").write_text(json.dumps(task))
    arrays = {
        "images": images, "labels": labels, "augmentation": augmentation, "weights": weights,
        "indices": indices.astype(np.int64), "ends": ends, "rates": rates,
    }  # fmt: skip
    for name, array in arrays.items():
        array.tofile(tmp_path / name)
    script = Path(__file__).with_name("wasm.mjs")
    done = subprocess.run(["node", script, module, tmp_path], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["taken"] == STEPS

    core = native.load()
    trainer = core.Trainer(
        images, labels, 10, optimizer=rule, momentum=config.momentum, weight_decay=config.weight_decay, threads=2,
        isa="baseline", seed=3, augmentation=amounts(config.augment),
    )  # fmt: skip
    losses = trainer.run(weights, indices.astype(np.int64), ends, rates, 1, lambda: False)
    answers = core.evaluate(images[:1_000], weights, 10, 1, "baseline")
    assert losses[-50:].mean() < losses[:50].mean() / 2
    for name, expected in (("losses", losses), ("weights", weights), ("answers", answers)):
        assert np.fromfile(tmp_path / f"{name}.out", np.float32).tobytes() == expected.tobytes(), name
