"""The same network in Keras 3 on JAX: `fit` on arrays in memory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from lenscope.bench.task import RATE, Contestant, Task


def contestant(task: Task) -> Contestant:
    """`Model.fit` for an epoch a call; needs a process of its own, where Keras has not yet chosen its backend."""
    os.environ["KERAS_BACKEND"] = "jax"
    import jax

    jax.config.update("jax_platforms", "cpu")
    model = _model()
    images = task.train.resized(32).images.transpose(0, 2, 3, 1).astype(np.float32) / 255  # (N, 32, 32, 1)
    labels = task.train.labels.astype(np.int32)

    def epoch() -> float:
        history = model.fit(images, labels, batch_size=task.batch_size, epochs=1, shuffle=True, verbose=0)
        return float(history.history["loss"][0])

    return Contestant(epoch)


def _model() -> Any:
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Conv2D(6, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), loss)
    return model
