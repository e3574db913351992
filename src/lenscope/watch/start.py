"""The lines before training starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.insight.story import recipe_name
from lenscope.nets.layers import Network
from lenscope.nets.summary import summarise
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.training.events import RunStarted


def describe_start(event: RunStarted) -> Iterator[str]:
    """Data, engine, recipe, notes, and a summary of the network."""
    config, images = event.config, counted(event.train_images, "training image")
    if event.validation_images:
        images += f", {event.validation_images:,} held out for validation"
    classes = counted(len(event.classes), "class", "classes")
    yield f"data      {config.data}: {images}, {counted(event.test_images, 'test image')}, {classes}"
    threads = counted(event.threads, "thread")
    ranks = f"{event.ranks} processes" if event.ranks > 1 else ""
    if event.device == "cpu":
        yield f"engine    {event.engine}, on the CPU, {f'{ranks} of {threads} each' if ranks else threads}"
    else:
        yield f"engine    {event.engine}, on {f'GPUs, {ranks}' if ranks else 'the GPU'}"
    size = config.images_per_step(event.train_images)
    distorted = f", distorted by {config.augment}" if config.augment.distorts else ""
    yield (
        f"recipe    {recipe_name(config)}: {config.optimizer}, "
        f"learning rate {config.learning_rate:g} ({config.schedule}), batches of {size:,}, "
        f"{counted(config.epochs, 'epoch')} of {counted(event.steps_per_epoch, 'step')}, seed {config.seed}{distorted}"
    )
    network = Network(config.network, event.channels, len(event.classes))
    yield from event.notes
    recap = summarise(network, (event.channels, network.image_size, network.image_size), size)
    yield from ("", *recap.text().split("\n"), "")
