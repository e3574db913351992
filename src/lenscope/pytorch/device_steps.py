"""Steps that stay on the device, so that one step can be captured as a CUDA graph and replayed.

A LeNet's step is some eighty kernels of a few microseconds each: started one by one from Python, a GPU spends most of
an epoch waiting for the next kernel. Here a step reads all its inputs from buffers on the device (its number, its
images, its learning rate), writes its loss to another buffer, and increments its number: one captured step, replayed n
times, takes n steps. A graph is made for each batch size, of which an epoch has two. Nothing is copied to the host
during a stretch of steps; at its end only the losses are.

What the host decides elsewhere by reading values is decided here by a flag on the device: at the first loss, gradient
or weight that is not finite `refused` becomes 1, and from then on steps change nothing (PyTorch's fused optimisers skip
a step where their `found_inf` is 1, as mixed precision needs it). The warm-up of a capture has no effect for the
same reason: its steps are refused from the start.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from lenscope.pytorch.classification import nll_gradients
from lenscope.pytorch.objective import MICRO_BATCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lenscope.training.engine import Batches, Losses, Stop

STRETCH = 2**25  # bytes of images in the buffers of a stretch of steps, unless one batch has more: 32,768 of MNIST
GATHERED = 2**13  # images copied into the buffers at a time
WARM_UPS = 3  # steps before a capture, in which libraries choose their algorithms and allocate memory

Step = Callable[[], None]
Capture = Callable[[Step], Step]
BatchFn = Callable[["NDArray[np.int64]"], tuple[torch.Tensor, torch.Tensor]]


class CapturedTrainer:
    """Takes steps that change a network's weights and an optimiser's state, all on one device.

    Args:
        network: its parameters and their gradients are views of `weights` and of its gradient.
        weights: flat, with a gradient.
        before_step: receives the weights before the last step.
        optimizer: a fused one of PyTorch over `weights`; its learning rate becomes a tensor.
        batch_fn: the images, uint8 (n, C, H, W), and the labels of training-set indices, on the device.
        capture: makes a repeatable step of a step: `capture_graph`, or `uncaptured`.

    Attributes:
        refused: 1 from the first refused step on, else 0; float32 of shape ().
        rate: the learning rate of the next step; float32 of shape ().
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that a step changes, and where its images come from
        self,
        network: torch.nn.Module,
        weights: torch.nn.Parameter,
        before_step: torch.Tensor,
        optimizer: torch.optim.Optimizer,
        batch_fn: BatchFn,
        capture: Capture,
    ) -> None:
        self.network, self.weights, self.before_step, self.optimizer = network, weights, before_step, optimizer
        self.gradient = cast("torch.Tensor", weights.grad)
        self.refused = torch.ones((), device=weights.device)
        self.rate = torch.zeros((), device=weights.device)
        cast("Any", optimizer).found_inf = self.refused
        for group in optimizer.param_groups:
            group |= {"lr": self.rate, "capturable": True}
            if group.get("momentum"):  # PyTorch makes it in the first step, which is a warm-up here
                optimizer.state[weights]["momentum_buffer"] = torch.zeros_like(weights.detach())
        self.batch_fn, self.capture = batch_fn, capture
        self._graphs: dict[int, StepGraph] = {}

    def run(self, batches: Batches, learning_rates: Sequence[float], stop: Stop) -> Losses:
        """Take one step per batch; returns their losses, float32, the last one NaN where a step was refused.

        After a refused step the weights are those before it, or those that it made where these are not finite;
        `before_step` has the weights before the last step. The network's buffers are those before the step.

        Args:
            batches: indices into the training set.
            learning_rates: one per batch.
            stop: asked before each step.
        """
        losses, done, until = [np.zeros(0, dtype=np.float32)], 0, 0
        while done == until < len(batches) and not np.isnan(losses[-1]).any():
            graph = self._graph_of(batches[done])
            until = _next_size(batches, done, done + graph.most)
            losses.append(graph.run(batches[done:until], learning_rates[done:until], stop))
            done += len(losses[-1])
        return np.concatenate(losses)

    def _graph_of(self, batch: NDArray[np.int64]) -> StepGraph:
        """The graph of a batch's size; kept for the two sizes of an epoch."""
        if len(batch) not in self._graphs:
            images, _ = self.batch_fn(batch[:1])
            self._graphs[len(batch)] = StepGraph(self, (len(batch), *images.shape[1:]))
        return self._graphs[len(batch)]


class StepGraph:
    """Steps on batches of one size.

    Args:
        trainer: what they change.
        size: of a batch's images, (N, C, H, W).

    Attributes:
        most: the largest number of steps in one call of `run`.
    """

    def __init__(self, trainer: CapturedTrainer, size: Sequence[int]) -> None:
        self.most = max(1, STRETCH // math.prod(size))
        zeros = trainer.weights.detach().new_zeros
        self._trainer = trainer
        self._number = zeros(1, dtype=torch.int64)  # of the next step, within the stretch
        self._images = zeros(self.most, *size, dtype=torch.uint8)
        self._labels = zeros(self.most, size[0], dtype=torch.int64)
        self._rates, self._losses = zeros(2, self.most)
        trainer.refused.fill_(1)
        self._repeat = trainer.capture(self.step)

    def run(self, batches: Batches, learning_rates: Sequence[float], stop: Stop) -> Losses:
        """As `CapturedTrainer.run`, for at most `most` batches of this size."""
        indices, images, labels = np.concatenate(batches), self._images.flatten(0, 1), self._labels.flatten()
        for start in range(0, len(indices), GATHERED):
            rows = slice(start, min(start + GATHERED, len(indices)))
            images[rows], labels[rows] = self._trainer.batch_fn(indices[rows])
        self._rates[: len(batches)] = torch.tensor(learning_rates)
        self._number.zero_()
        self._trainer.refused.zero_()
        taken = 0
        while taken < len(batches) and not stop():
            self._repeat()
            taken += 1
        losses: Losses = self._losses[:taken].cpu().numpy().copy()
        refused = np.flatnonzero(np.isnan(losses))
        return losses[: refused[0] + 1] if len(refused) else losses

    def step(self) -> None:
        """Take the next step of the stretch, or change nothing once a step was refused.

        Reads no value on the host and touches buffers alone: this is what is captured.
        """
        trainer, weights = self._trainer, self._trainer.weights
        buffers = [(buffer, buffer.clone()) for buffer in trainer.network.buffers()]  # such as a BatchNorm's means
        loss = self._add_gradients()
        with torch.no_grad():
            self._refuse_unless_finite(loss)
            self._refuse_unless_finite(trainer.gradient)
            torch.where(trainer.refused == 0, weights, trainer.before_step, out=trainer.before_step)
            trainer.rate.copy_(self._rates.index_select(0, self._number).view(()))
            trainer.optimizer.step()
            self._refuse_unless_finite(weights)
            for buffer, before in buffers:
                torch.where(trainer.refused == 0, buffer, before, out=buffer)
            loss = loss.masked_fill(trainer.refused > 0, math.nan)
            self._losses.index_copy_(0, self._number, loss.view(1))
            self._number.add_(trainer.refused == 0)

    def _add_gradients(self) -> torch.Tensor:
        """The mean loss of the step's images, its gradient left in the trainer's; one micro-batch at a time."""
        self._trainer.gradient.zero_()
        images, labels = (buffer.index_select(0, self._number)[0] for buffer in (self._images, self._labels))
        loss = torch.zeros_like(self._trainer.rate)
        for some in zip(torch.split(images, MICRO_BATCH), torch.split(labels, MICRO_BATCH), strict=True):
            loss += nll_gradients(self._trainer.network, *some, 1 / len(labels))
        return loss

    def _refuse_unless_finite(self, values: torch.Tensor) -> None:
        """Refuse the step unless all values are finite, and so small that the sum of their squares is, too."""
        refused = self._trainer.refused
        torch.maximum(refused, (~(values * values).sum().isfinite()).to(refused.dtype), out=refused)


def _next_size(batches: Batches, start: int, most: int) -> int:
    """The end of the batches that are as large as the one at `start`, `most` at the latest."""
    until = start + 1
    while until < min(most, len(batches)) and len(batches[until]) == len(batches[start]):
        until += 1
    return until


def uncaptured(step: Step) -> Step:
    """The step as it is: the host starts each kernel."""
    return step


def capture_graph(step: Step) -> Step:
    """A CUDA graph of a step, after a warm-up on another stream; the step itself where it cannot be captured.

    A user's network may read a value on the host, which no graph can contain: then a RuntimeWarning says so.
    """
    current, other = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    other.wait_stream(current)
    with torch.cuda.stream(other), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*capturable=True", UserWarning)  # the warm-up is not captured
        for _ in range(WARM_UPS):
            step()
    current.wait_stream(other)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.stream(current), torch.cuda.graph(graph):  # the latter leaves its own current where it fails
            step()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), "")[:200]
        warnings.warn(
            f"this step cannot be captured as a CUDA graph; the host launches each kernel: {reason}",
            RuntimeWarning,
            stacklevel=2,
        )
        return step
    return graph.replay
