"""Other ways to train the lecture's LeNet: torch.compile, the lecture's own script, JAX, and Keras on JAX.

Each takes a `Task` of `lenscope bench`, and trains for one epoch per call. JAX and Keras run in a process of their own:
a DataLoader must not fork the threads that JAX has started, and Keras chooses its backend when it is imported.
"""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.cli.bench import RATE, Task, pytorch_lenet, pytorch_work
from lenscope.environment import install_command
from lenscope.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Work = dict[str, Callable[[], float]]

FAN_IN = {"conv1": 25, "conv2": 150, "fc1": 400, "fc2": 120, "fc3": 84}
SHAPES = {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5), "fc1": (400, 120), "fc2": (120, 84), "fc3": (84, 10)}
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def compiled(task: Task) -> Work:
    """PyTorch eager's loop with `torch.compile`, which needs a C++ compiler and a minute."""
    import torch

    return {"training": pytorch_work(task, torch.compile(pytorch_lenet()))["training"]}  # type: ignore[arg-type]


def lecture(task: Task, workers: int) -> Work:
    """The lecture's loop: a DataLoader whose workers resize every image with Pillow in every epoch."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader

    pictures = [Image.fromarray(image) for image in task.train.images[:, 0]]

    def load(index: int) -> tuple[torch.Tensor, int]:
        pixels = np.array(pictures[index].resize((32, 32), Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels)[None].float().div(255), int(task.train.labels[index])

    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more workers than processors
    dataset = type("Pictures", (), {"__len__": lambda _: len(pictures), "__getitem__": lambda _, index: load(index)})
    loader = DataLoader(dataset(), batch_size=task.batch_size, shuffle=True, num_workers=workers)
    network = pytorch_lenet()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)

    def train() -> float:
        losses = []
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    return {"training": train}


def jax_epoch(task: Task) -> Callable[[], float]:
    """A Python loop over a jitted step whose state is donated.

    On a CPU, a `lax.scan` over the steps takes twice as long, since convolutions in a loop body are not threaded, and
    max pooling by slices or reshaping is slower than `reduce_window` (JAX 0.10.2, two cores).
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_platforms", "cpu")
    random = np.random.default_rng(0)
    images = jnp.asarray(task.train.resized(32).images)
    labels = jnp.asarray(task.train.labels.astype(np.int32))
    state, step = adam_state(initial_weights()), jax.jit(adam_step, donate_argnums=0)

    def train() -> float:
        nonlocal state
        order = random.permutation(len(labels)).astype(np.int32)
        losses = []
        for start in range(0, len(order), task.batch_size):
            batch = order[start : start + task.batch_size]
            state, loss = step(state, images[batch], labels[batch])
            losses.append(loss)
        return float(jnp.stack(losses).mean())

    return train


def initial_weights() -> dict[str, Any]:
    """Kernel and bias of each layer in PyTorch's default distribution: uniform within ± 1/√(fan-in)."""
    random = np.random.default_rng(0)
    outputs = {name: shape[0] if len(shape) == 4 else shape[1] for name, shape in SHAPES.items()}

    def draw(name: str, *shape: int) -> Any:
        return (random.uniform(-1, 1, shape) / FAN_IN[name] ** 0.5).astype(np.float32)

    return {name: (draw(name, *SHAPES[name]), draw(name, outputs[name])) for name in SHAPES}


def loss_of(weights: Any, images: Any, labels: Any) -> Any:
    """The mean negative log-likelihood of images, uint8 (N, 1, 32, 32), in JAX."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    x = images.astype(jnp.float32) * (1 / 255)
    for name in ("conv1", "conv2"):
        kernel, bias = weights[name]
        x = lax.conv(x, kernel, (1, 1), "VALID") + bias[:, None, None]
        x = lax.reduce_window(jax.nn.relu(x), -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    x = x.reshape(len(x), -1)
    for name in ("fc1", "fc2"):
        x = jax.nn.relu(x @ weights[name][0] + weights[name][1])
    log_probabilities = jax.nn.log_softmax(x @ weights["fc3"][0] + weights["fc3"][1])
    return -jnp.take_along_axis(log_probabilities, labels[:, None], 1).mean()


def adam_state(weights: Any) -> tuple[Any, Any, Any, Any]:
    """Weights, both moments, and the number of steps."""
    import jax
    import jax.numpy as jnp

    weights = jax.tree.map(jnp.asarray, weights)
    return weights, jax.tree.map(jnp.zeros_like, weights), jax.tree.map(jnp.zeros_like, weights), jnp.float32(0)


def adam_step(state: Any, images: Any, labels: Any) -> tuple[Any, Any]:
    """One step of Adam (Kingma and Ba, ICLR 2015, algorithm 1)."""
    import jax
    import jax.numpy as jnp

    weights, first, second, steps = state
    loss, gradient = jax.value_and_grad(loss_of)(weights, images, labels)
    steps = steps + 1
    first = jax.tree.map(lambda mean, g: BETA1 * mean + (1 - BETA1) * g, first, gradient)
    second = jax.tree.map(lambda mean, g: BETA2 * mean + (1 - BETA2) * g * g, second, gradient)
    rate, root = RATE / (1 - BETA1**steps), jnp.sqrt(1 - BETA2**steps)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + EPSILON), weights, first, second)
    return (weights, first, second, steps), loss


def keras_epoch(task: Task) -> Callable[[], float]:
    """`Model.fit` on arrays in memory, one epoch per call."""
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras
    from keras import layers

    jax.config.update("jax_platforms", "cpu")
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            *(layers.Conv2D(6, 5, activation="relu"), layers.MaxPooling2D()),
            *(layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D()),
            layers.Flatten(),
            *(layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu"), layers.Dense(10)),
        ]
    )
    model.compile(keras.optimizers.Adam(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = task.train.resized(32).images.transpose(0, 2, 3, 1).astype(np.float32) / 255
    labels = task.train.labels.astype(np.int32)

    def train() -> float:
        history = model.fit(images, labels, batch_size=task.batch_size, epochs=1, shuffle=True, verbose=0)
        return float(history.history["loss"][0])

    return train


_train: Callable[[], float]  # in the process of a peer


def _start(make: Callable[[Task], Callable[[], float]], task: Task) -> None:
    global _train  # noqa: PLW0603 - the process has no other place that lasts from one call to the next
    if hasattr(os, "sched_setaffinity"):  # JAX has no setting for its number of threads: it uses every processor
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    _train = make(task)


def _train_once() -> float:
    return _train()


def in_own_process(task: Task, make: Callable[[Task], Callable[[], float]], packages: Sequence[str]) -> Work:
    """A peer in a process of its own; raises UsageError where one of its packages is missing."""
    if missing := [package for package in packages if find_spec(package) is None]:
        raise UsageError(f"not installed: {', '.join(missing)}; run: {install_command('bench')}")
    pool = ProcessPoolExecutor(1, get_context("spawn"))
    pool.submit(_start, make, task).result()
    return {"training": lambda: pool.submit(_train_once).result()}


PEERS: dict[str, Callable[[Task], Work]] = {
    "compiled": compiled,
    "lecture-2-workers": partial(lecture, workers=2),
    "lecture-4-workers": partial(lecture, workers=4),
    "jax": partial(in_own_process, make=jax_epoch, packages=("jax",)),
    "keras": partial(in_own_process, make=keras_epoch, packages=("jax", "keras")),
}
