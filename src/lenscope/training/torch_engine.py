"""The general engine: any network, on any device that PyTorch has, the whole set in memory as bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.nn import functional as F

from lenscope.errors import UsageError
from lenscope.nets.catalogue import convolutions
from lenscope.nets.lenet import LeNet
from lenscope.nets.lenet_pass import LeNetPass
from lenscope.training.engine import Score
from lenscope.training.optimizers import build_optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from lenscope.config import DeviceName, TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.training.events import Weights

PART = 1_000  # images at a time through the network: 60 MB of activations for a LeNet


class TorchEngine:
    """Takes updates with PyTorch's autograd and fused optimisers.

    A `LeNet` on a CPU goes through `LeNetPass` instead of autograd, for speed: hooks on its layers are not called.

    Args:
        network: its parameters are trained in place.
        train: images at the network's size; kept on the device as bytes and scaled to [0, 1] a batch at a time.
        config: optimiser, rates, device and threads.

    Raises:
        UsageError: a device that this machine lacks.
    """

    name = "torch"
    failed_layer = ""

    def __init__(self, network: torch.nn.Module, train: Dataset, config: TrainConfig) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        self._device = choose_device(config.device)
        self.device = self._device.type
        self.threads = torch.get_num_threads()
        self.network = network.to(self._device)
        self._images, self._labels = _tensors(train, self._device)
        self._weights = _flattened(self.network)
        self._gradient = cast("torch.Tensor", self._weights.grad)
        self._before_update = self._weights.detach().clone()
        self._optimizer = build_optimizer(config, [self._weights])
        self._passes: dict[int, LeNetPass] = {}

    def run(
        self, batches: Sequence[NDArray[np.int64]], learning_rates: Sequence[float], stop: Callable[[], bool]
    ) -> NDArray[np.float32]:
        """Take one step a batch; see `Engine.run`."""
        self.network.train()
        losses = []
        for batch, rate in zip(batches, learning_rates, strict=True):
            loss = self._step(torch.from_numpy(batch).to(self._device), float(rate), stop)
            if loss is None:
                break
            losses.append(loss)
            if math.isnan(loss):
                break
        return np.array(losses, dtype=np.float32)

    def evaluate(self, dataset: Dataset) -> Score:
        """Loss and accuracy over all images, each counted once."""
        loss, correct = 0.0, 0
        for log_probabilities, labels in _predictions(self.network, dataset, self._device):
            own = log_probabilities.gather(1, labels[:, None])
            loss -= float(own.cpu().double().sum())  # not every GPU has float64
            correct += int((log_probabilities.argmax(1) == labels).sum())
        return Score(loss / len(dataset), correct / len(dataset))

    def weights(self) -> Weights:
        """A copy of the weights, named as in the network's state_dict."""
        return {name: _copy(tensor) for name, tensor in self.network.state_dict().items()}

    def kernels(self) -> Weights:
        """A copy of the convolution kernels, each (out, in, height, width)."""
        return {name: _copy(tensor) for name, tensor in convolutions(self.network).items()}

    def _step(self, batch: torch.Tensor, rate: float, stop: Callable[[], bool]) -> float | None:
        """One update; its loss, NaN where the update was refused, None where it was interrupted."""
        self._gradient.zero_()
        total = 0.0
        for part in torch.split(batch, PART):
            if stop():
                return None
            total += self._add_gradients(self._images.index_select(0, part), self._labels[part], 1 / len(batch))
        if not math.isfinite(total) or not _finite(self._gradient):
            return self._refuse(batch, keep=math.isfinite(total))
        self._update(rate)
        return total if _finite(self._weights) else self._refuse(batch, keep=False)

    def _add_gradients(self, images: torch.Tensor, labels: torch.Tensor, share: float) -> float:
        """Add the gradients of the images' summed loss times `share`; returns that share of the loss."""
        if quick := self._pass(len(images)):
            quick.log_probabilities(images)
            return quick.add_gradients(labels, share)
        loss = share * F.nll_loss(self.network(_scaled(images)), labels, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _pass(self, count: int) -> LeNetPass | None:
        """The quicker way where there is one: for a LeNet on a CPU. Kept for the two sizes that an epoch has."""
        if not _has_pass(self.network, self._device):
            return None
        if count not in self._passes:
            self._passes[count] = LeNetPass(cast("LeNet", self.network), count, gradients=True)
        return self._passes[count]

    @torch.no_grad()
    def _update(self, rate: float) -> None:
        self._before_update.copy_(self._weights)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()

    @torch.no_grad()
    def _refuse(self, batch: torch.Tensor, *, keep: bool) -> float:
        """Go back to the last weights that gave a finite loss; the present ones where `keep`."""
        self.failed_layer = _first_non_finite(self.network, _scaled(self._images[batch[:PART]]))
        if not keep:
            self._weights.copy_(self._before_update)
        return math.nan


def choose_device(name: DeviceName) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one; raises UsageError where it is not there."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, there in found.items() if there))
    if not found[name]:
        there = ", ".join(device for device in found if found[device])
        raise UsageError(f"--device {name}: not available to PyTorch {torch.__version__} here; there is: {there}")
    return torch.device(name)


def predict_log_probabilities(network: torch.nn.Module, dataset: Dataset) -> NDArray[np.float32]:
    """What a network says of each image: log-probabilities, float32, shape (N, classes)."""
    device = next(network.parameters()).device
    parts = [part.cpu().numpy().copy() for part, _ in _predictions(network, dataset, device)]
    return np.concatenate(parts)


@torch.no_grad()
def _predictions(
    network: torch.nn.Module, dataset: Dataset, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Log-probabilities and labels, a part at a time; each part is overwritten by the next."""
    network.eval()
    quick = LeNetPass(cast("LeNet", network), PART, gradients=False) if _has_pass(network, device) else None
    for start in range(0, len(dataset), PART):
        rows = slice(start, start + PART)
        images = torch.from_numpy(np.array(dataset.images[rows])).to(device)
        labels = torch.from_numpy(dataset.labels[rows].astype(np.int64)).to(device)
        if quick and len(labels) < quick.count:
            quick = LeNetPass(cast("LeNet", network), len(labels), gradients=False)
        yield quick.log_probabilities(images) if quick else network(_scaled(images)), labels


def _has_pass(network: torch.nn.Module, device: torch.device) -> bool:
    return device.type == "cpu" and type(network) is LeNet


def _tensors(dataset: Dataset, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(np.require(dataset.images, requirements=["C", "W"])).to(device)
    return images, torch.from_numpy(dataset.labels.astype(np.int64)).to(device)


def _scaled(images: torch.Tensor) -> torch.Tensor:
    return images.float().mul_(1 / 255)


def _copy(tensor: torch.Tensor) -> NDArray[np.float32]:
    return tensor.detach().to("cpu", torch.float32, copy=True).numpy()


def _first_non_finite(network: torch.nn.Module, images: torch.Tensor) -> str:
    """Name the first layer with a weight, an output or a gradient that is not finite, in the order of the network."""
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            return name
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            if not output.isfinite().all():
                found.append(name)

        return hook

    handles = [layer.register_forward_hook(look(name)) for name, layer in network.named_modules() if name]
    network(images)
    for handle in handles:
        handle.remove()
    named = ((name, cast("torch.Tensor", parameter.grad)) for name, parameter in network.named_parameters())
    gradients = (f"the gradient of {name}" for name, gradient in named if not gradient.isfinite().all())
    return next(iter(found), None) or next(gradients, "the loss or its gradient")


def _finite(values: torch.Tensor) -> bool:
    """Whether all values are finite, and so small that the sum of their squares is; quicker than looking at each."""
    return bool(torch.dot(values.detach(), values.detach()).isfinite())


def _flattened(network: torch.nn.Module) -> torch.nn.Parameter:
    """All parameters in one flat tensor with one flat gradient, of which the network's own become views.

    An update, a check and a copy are then one call each, and not one a tensor.
    """
    parameters = list(network.parameters())
    flat = torch.nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    flat.grad = torch.zeros_like(flat)
    sizes = [parameter.numel() for parameter in parameters]
    views = zip(parameters, torch.split(flat.data, sizes), torch.split(flat.grad, sizes), strict=True)
    for parameter, values, gradient in views:
        parameter.data = values.view_as(parameter)
        parameter.grad = gradient.view_as(parameter)
    return flat
