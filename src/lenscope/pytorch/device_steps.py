"""Steps that stay on the device, so that one of them can be captured as a CUDA graph and replayed.

A LeNet's step is some eighty kernels of a few microseconds each: started one by one from Python, a GPU spends most of
an epoch waiting for the next. Here a step finds all that it needs in buffers on the device (its number, its images, its
learning rate), leaves its loss in another, and counts its number up: one captured step, replayed n times, takes n
steps, whatever n is. A graph is made for each batch size, of which an epoch has two. Between the first and the last
step of a stretch nothing is looked at, and only the losses come back.

What the host decides elsewhere by looking is decided by a flag on the device: with the first loss, gradient or weight
that is not finite, `refused` becomes 1, and from then on steps change nothing (torch's fused optimisers leave an update
out where their `found_inf` is 1, as mixed precision needs it). A capture's warm-up is harmless for the same reason: its
steps are refused from the start.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PART = 1_000  # images at a time through the network: 60 MB of activations for a LeNet
STRETCH = 2**25  # bytes of images in the buffers of a stretch of steps, unless one batch has more: 32,768 of MNIST
GATHERED = 2**13  # images looked up, and distorted, at a time: 70 MB for each array of an elastic field
WARM_UPS = 3  # steps before a capture, in which libraries choose their ways and allocate

Step = Callable[[], None]
Capture = Callable[[Step], Step]
Examples = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class Learner:
    """Takes steps that change a network's weights and an optimiser's state, all on one device.

    Args:
        network: its parameters and their gradients are views of `weights` and of its gradient.
        weights: flat, with a gradient.
        before_update: where the weights before the last update go.
        optimizer: a fused one of torch over `weights`; its learning rate becomes a tensor.
        capture: makes of a step what repeats it: `capture_graph`, or `uncaptured`.

    Attributes:
        refused: 1 from the first refused step on, else 0; float32 of shape ().
        rate: the learning rate of the next update; float32 of shape ().
    """

    def __init__(
        self,
        network: torch.nn.Module,
        weights: torch.nn.Parameter,
        before_update: torch.Tensor,
        optimizer: torch.optim.Optimizer,
        capture: Capture,
    ) -> None:
        self.network, self.weights, self.before_update, self.optimizer = network, weights, before_update, optimizer
        self.gradient = cast("torch.Tensor", weights.grad)
        self.refused = torch.ones((), device=weights.device)
        self.rate = torch.zeros((), device=weights.device)
        cast("Any", optimizer).found_inf = self.refused
        for group in optimizer.param_groups:
            group |= {"lr": self.rate, "capturable": True}
            if group.get("momentum"):  # torch makes it in the first step, which is a warm-up here
                optimizer.state[weights]["momentum_buffer"] = torch.zeros_like(weights.detach())
        self.capture = capture
        self._steps: dict[int, DeviceSteps] = {}

    def run(
        self,
        batches: Sequence[NDArray[np.int64]],
        learning_rates: Sequence[float],
        stop: Callable[[], bool],
        examples: Examples,
    ) -> NDArray[np.float32]:
        """Take one step a batch; returns their losses, float32, the last of them NaN where a step was refused.

        After a refused step the weights are those that it met, or those that it made where these are not finite;
        `before_update` has those that the last update began with. The network's buffers are those that it met.

        Args:
            batches: indices into the training set.
            learning_rates: one a batch.
            stop: asked before each step is begun.
            examples: gives the images, as bytes, and the labels of indices on the device.
        """
        losses, done, until = [np.zeros(0, dtype=np.float32)], 0, 0
        while done == until < len(batches) and not np.isnan(losses[-1]).any():
            steps = self._steps_of(len(batches[done]), examples)
            until = _next_size(batches, done, done + steps.most)
            losses.append(steps.run(batches[done:until], learning_rates[done:until], stop, examples))
            done += len(losses[-1])
        return np.concatenate(losses)

    def _steps_of(self, count: int, examples: Examples) -> DeviceSteps:
        """Those of one batch size; kept for the two that an epoch has."""
        if count not in self._steps:
            images, _ = examples(torch.zeros(1, dtype=torch.int64, device=self.weights.device))
            self._steps[count] = DeviceSteps(self, (count, *images.shape[1:]))
        return self._steps[count]


class DeviceSteps:
    """Steps on batches of one size.

    Args:
        learner: what they change.
        size: of a batch's images: (N, C, H, W).

    Attributes:
        most: how many steps `run` takes at most in one call.
    """

    def __init__(self, learner: Learner, size: Sequence[int]) -> None:
        self.most = max(1, STRETCH // math.prod(size))
        zeros = learner.weights.detach().new_zeros
        self._learner = learner
        self._number = zeros(1, dtype=torch.int64)  # of the step to take, within the stretch
        self._images = zeros(self.most, *size, dtype=torch.uint8)
        self._labels = zeros(self.most, size[0], dtype=torch.int64)
        self._rates, self._losses = zeros(2, self.most)
        learner.refused.fill_(1)
        self._repeat = learner.capture(self.step)

    def run(
        self,
        batches: Sequence[NDArray[np.int64]],
        learning_rates: Sequence[float],
        stop: Callable[[], bool],
        examples: Examples,
    ) -> NDArray[np.float32]:
        """What `Learner.run` does, for at most `most` batches of this size."""
        self._fill(torch.from_numpy(np.stack(batches)), learning_rates, examples)
        begun = 0
        while begun < len(batches) and not stop():
            self._repeat()
            begun += 1
        losses: NDArray[np.float32] = self._losses[:begun].cpu().numpy().copy()
        refused = np.flatnonzero(np.isnan(losses))
        return losses[: refused[0] + 1] if len(refused) else losses

    def step(self) -> None:
        """Take the next step of the stretch, or leave everything as it is once one was refused.

        Looks at no value and touches buffers alone: this is what is captured.
        """
        learner, weights = self._learner, self._learner.weights
        buffers = [(buffer, buffer.clone()) for buffer in learner.network.buffers()]  # such as a BatchNorm's means
        loss = self._add_gradients()
        with torch.no_grad():
            self._refuse_unless_finite(loss)
            self._refuse_unless_finite(learner.gradient)
            torch.where(learner.refused == 0, weights, learner.before_update, out=learner.before_update)
            learner.rate.copy_(self._rates.index_select(0, self._number).view(()))
            learner.optimizer.step()
            self._refuse_unless_finite(weights)
            for buffer, before in buffers:
                torch.where(learner.refused == 0, buffer, before, out=buffer)
            loss = loss.masked_fill(learner.refused > 0, math.nan)
            self._losses.index_copy_(0, self._number, loss.view(1))
            self._number.add_(learner.refused == 0)

    def _fill(self, indices: torch.Tensor, learning_rates: Sequence[float], examples: Examples) -> None:
        """Make ready for a stretch: its images, labels and rates, the first step's number, no step refused yet."""
        parts = torch.split(indices.to(self._number.device).view(-1), GATHERED)
        images, labels = self._images.flatten(0, 1), self._labels.flatten()
        for place, part in enumerate(parts):
            rows = slice(place * GATHERED, place * GATHERED + len(part))
            images[rows], labels[rows] = examples(part)
        self._rates[: len(indices)] = torch.tensor(learning_rates)
        self._number.zero_()
        self._learner.refused.zero_()

    def _add_gradients(self) -> torch.Tensor:
        """The mean loss of the step's images, its gradient left in the learner's; a part at a time."""
        self._learner.gradient.zero_()
        images, labels = (buffer.index_select(0, self._number)[0] for buffer in (self._images, self._labels))
        loss = torch.zeros_like(self._learner.rate)
        for part in zip(torch.split(images, PART), torch.split(labels, PART), strict=True):
            loss += add_gradients(self._learner.network, *part, 1 / len(labels))
        return loss

    def _refuse_unless_finite(self, values: torch.Tensor) -> None:
        """Finite, and so small that the sum of their squares is, as elsewhere."""
        refused = self._learner.refused
        torch.maximum(refused, (~(values * values).sum().isfinite()).to(refused.dtype), out=refused)


def _next_size(batches: Sequence[NDArray[np.int64]], start: int, most: int) -> int:
    """Where the batches end that are as large as the one at `start`, at `most` at the latest."""
    until = start + 1
    while until < min(most, len(batches)) and len(batches[until]) == len(batches[start]):
        until += 1
    return until


def add_gradients(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, share: float) -> torch.Tensor:
    """Add the gradients of `share` of the images' summed loss; returns that share of the loss, shape ()."""
    loss = share * F.nll_loss(network(scaled(images, dtype_of(network))), labels, reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def scaled(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Bytes as floats in [0, 1]."""
    return images.to(dtype).mul_(1 / 255)


def dtype_of(network: torch.nn.Module) -> torch.dtype:
    """What a network computes in; float32, unless somebody made it another."""
    return next(network.parameters()).dtype


def uncaptured(step: Step) -> Step:
    """The step as it is: each kernel is started by the host."""
    return step


def capture_graph(step: Step) -> Step:
    """A CUDA graph of a step, after a warm-up beside the current stream; the step as it is where it has none.

    A network of the user's own may look at a value on the host, which no graph can hold: then a RuntimeWarning says so.
    """
    current, beside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(current)
    with torch.cuda.stream(beside), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*capturable=True", UserWarning)  # it is not captured yet
        for _ in range(WARM_UPS):
            step()
    current.wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.stream(current), torch.cuda.graph(graph):  # the latter leaves its own current where it fails
            step()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), "")[:200]
        warnings.warn(
            f"no CUDA graph of this step, the host starts each kernel: {reason}", RuntimeWarning, stacklevel=2
        )
        return step
    return graph.replay
