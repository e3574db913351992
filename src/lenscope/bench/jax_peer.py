"""The same network in JAX: one compiled function a step, all bytes in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.bench.task import RATE, Contestant, Task

if TYPE_CHECKING:
    from collections.abc import Callable

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
FAN_IN = {"conv1": 25, "conv2": 150, "fc1": 400, "fc2": 120, "fc3": 84}
SHAPES = {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5), "fc1": (400, 120), "fc2": (120, 84), "fc3": (84, 10)}


def contestant(task: Task) -> Contestant:
    """A Python loop over a jitted step whose state is donated.

    A `lax.scan` over the steps takes twice as long on a CPU, where convolutions in a loop's body are not threaded, and
    a max-pool by slices or reshaping is slower than `reduce_window` (JAX 0.10.2, two cores).
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_platforms", "cpu")
    images = jnp.asarray(task.train.resized(32).images)
    labels = jnp.asarray(task.train.labels.astype(np.int32))
    state, update = _adam(_initial()), jax.jit(_update, donate_argnums=0)
    random = np.random.default_rng(0)

    def epoch() -> float:
        nonlocal state
        order = random.permutation(len(labels)).astype(np.int32)
        losses = []
        for start in range(0, len(order), task.batch_size):
            state, loss = update(state, order[start : start + task.batch_size], images, labels)
            losses.append(loss)
        return float(jnp.stack(losses).mean())

    return Contestant(epoch)


def _initial() -> dict[str, Any]:
    """PyTorch's default distribution: uniform within ± 1/√(fan-in)."""
    import jax.numpy as jnp

    random = np.random.default_rng(0)

    def draw(name: str, shape: tuple[int, ...]) -> Any:
        return jnp.asarray(random.uniform(-1, 1, shape) / FAN_IN[name] ** 0.5, jnp.float32)

    outputs = {name: shape[0] if name.startswith("conv") else shape[1] for name, shape in SHAPES.items()}
    return {name: (draw(name, SHAPES[name]), draw(name, (outputs[name],))) for name in SHAPES}


def _loss(weights: Any, images: Any, labels: Any) -> Any:
    import jax
    import jax.numpy as jnp
    from jax import lax

    x = images.astype(jnp.float32) * (1 / 255)  # (N, 1, 32, 32)
    for name in ("conv1", "conv2"):
        kernel, bias = weights[name]
        x = lax.conv(x, kernel, (1, 1), "VALID") + bias[:, None, None]
        x = lax.reduce_window(jax.nn.relu(x), -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    x = x.reshape(len(x), -1)  # (N, 400)
    for name in ("fc1", "fc2"):
        x = jax.nn.relu(x @ weights[name][0] + weights[name][1])
    log_probabilities = jax.nn.log_softmax(x @ weights["fc3"][0] + weights["fc3"][1])
    return -jnp.take_along_axis(log_probabilities, labels[:, None], 1).mean()


def _adam(weights: Any) -> tuple[Any, Any, Any, Any]:
    """Weights, both moments, and the number of steps."""
    import jax
    import jax.numpy as jnp

    return weights, jax.tree.map(jnp.zeros_like, weights), jax.tree.map(jnp.zeros_like, weights), jnp.float32(0)


def _update(state: Any, batch: Any, images: Any, labels: Any) -> tuple[Any, Any]:
    """One step of Adam (Kingma and Ba, ICLR 2015, algorithm 1)."""
    import jax
    import jax.numpy as jnp

    weights, first, second, steps = state
    loss, gradient = jax.value_and_grad(_loss)(weights, images[batch], labels[batch])
    steps = steps + 1
    first = jax.tree.map(_towards(BETA1), first, gradient)
    second = jax.tree.map(_towards(BETA2), second, jax.tree.map(jnp.square, gradient))
    rate, root = RATE / (1 - BETA1**steps), jnp.sqrt(1 - BETA2**steps)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + EPSILON), weights, first, second)
    return (weights, first, second, steps), loss


def _towards(kept: float) -> Callable[[Any, Any], Any]:
    return lambda mean, value: kept * mean + (1 - kept) * value
