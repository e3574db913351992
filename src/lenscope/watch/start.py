"""What is said before training begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.insight.story import recipe_name
from lenscope.nets.catalogue import build
from lenscope.nets.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.training.events import RunStarted


def describe_start(event: RunStarted) -> Iterator[str]:
    """What the lecture prints before it trains: counts, the device, and the recap of the network."""
    config, images = event.config, f"{event.train_images:,} training images"
    if event.validation_images:
        images += f", {event.validation_images:,} held out for validation"
    yield f"data      {config.data}: {images}, {event.test_images:,} test images, {len(event.classes)} classes"
    threads = f"{event.threads} thread{'s' if event.threads > 1 else ''}"
    ranks = f"{event.ranks} processes" if event.ranks > 1 else ""
    if event.device == "cpu":
        yield f"engine    {event.engine}, on the CPU, {f'{ranks} of {threads} each' if ranks else threads}"
    else:
        yield f"engine    {event.engine}, on {f'GPUs, {ranks}' if ranks else 'the GPU'}"
    size = event.train_images if config.optimizer == "gd" else config.batch_size
    distorted = f", distorted by {config.augment}" if config.augment.distorts else ""
    yield (
        f"recipe    {recipe_name(config)}: {config.optimizer}, "
        f"learning rate {config.learning_rate:g} ({config.schedule}), batches of {size:,}, "
        f"{config.epochs} epochs of {event.steps_per_epoch:,} steps, seed {config.seed}{distorted}"
    )
    network = build(config.network, event.channels, len(event.classes), config.seed)
    yield from event.notes
    recap = summarise(network, (event.channels, network.image_size, network.image_size), size)
    yield from ("", *recap.text().split("\n"), "")
