"""The general engine: any network, on any device that PyTorch has, with the training set on it as bytes."""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch

from lenscope.errors import RunError
from lenscope.nets.layers import first_broken
from lenscope.pytorch.classification import Classification
from lenscope.pytorch.device_steps import CapturedTrainer, capture_graph
from lenscope.pytorch.devices import choose_device, describe_gpu, full_precision, has_room, set_threads
from lenscope.pytorch.nets.build import convolutions, copied, load_weights, read_weights
from lenscope.pytorch.nets.module import AutoencoderModule
from lenscope.pytorch.nonfinite import first_non_finite
from lenscope.pytorch.numerics import describe_numerics
from lenscope.pytorch.objective import MICRO_BATCH, Batch, SummedLoss, dtype_of, scaled
from lenscope.pytorch.optimizers import build_optimizer
from lenscope.pytorch.ranks import EXTRA
from lenscope.pytorch.reconstruction import Reconstruction
from lenscope.training.distortion import Distortion
from lenscope.training.events import State
from lenscope.training.nonfinite import UNKNOWN
from lenscope.training.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Weights
    from lenscope.pytorch.device_steps import Capture
    from lenscope.pytorch.ranks import ProcessGroup
    from lenscope.training.engine import Batches, Losses, Score, Stop


class TorchEngine:
    """Trains with PyTorch's autograd and fused optimisers.

    The objective decides the loss and how it is computed: a classification, or a reconstruction of an autoencoder's
    input. With CUDA, a classification's steps are captured as graphs (see `device_steps`).

    Args:
        network: its parameters are trained in place.
        train: images at the network's size. They are kept as bytes, on the device if it has room for them and they are
            not distorted, else on the host, and are scaled to [0, 1] one batch at a time.
        config: optimiser, rates, distortions, device and threads.
        capture: how steps that stay on the device are repeated; by default as graphs with CUDA. Without, the host
            drives each step and checks its numbers.
        ranks: processes that share each step: each computes its share of the batch, then all gradients are summed. All
            have to start from the same weights; the host drives their steps.

    Raises:
        UsageError: a device that this machine lacks, or a wrong LENSCOPE_ISA.
    """

    name = "torch"
    isa: str | None = None
    note = ""
    failed_layer = ""

    def __init__(
        self,
        network: torch.nn.Module,
        train: Dataset,
        config: TrainConfig,
        capture: Capture | None = None,
        ranks: ProcessGroup | None = None,
    ) -> None:
        threads = config.threads or (ranks.threads if ranks else None)
        if threads:
            set_threads(threads)
        self._device = choose_device(config.device, ranks)
        self.device = self._device.type
        self.gpu = describe_gpu(self.device)
        self.threads = torch.get_num_threads()
        self._ranks, self.ranks = ranks, ranks.count if ranks else 1
        self.network = network.to(self._device)
        self._distort = Distortion(config, train.images.shape)
        host = torch.device("cpu") if self._distort.computed_by else self._device
        self._kept = WeakKeyDictionary({train: (_images_on(host, train), _labels_on(self._device, train))})
        self._images, self._labels = self._kept[train]
        self._weights, self._total = _flattened(self.network)
        self._gradient = cast("torch.Tensor", self._weights.grad)
        self._before_step = self._weights.detach().clone()
        self._good = self._weights.detach().clone()
        self._has_buffers = next(self.network.buffers(), None) is not None
        self._moments = OPTIMIZERS[config.optimizer].moments
        self._optimizer = build_optimizer(config, [self._weights])
        self._objective: Classification | Reconstruction = Classification(self.network)
        if isinstance(self.network, AutoencoderModule):
            self._objective = Reconstruction(self.network, config)
        self._epoch = 0
        stays = isinstance(self._objective, Classification) and not ranks  # on the device
        capture = (capture or choose_capture(self._device)) if stays else None
        changed = (self.network, self._weights, self._before_step, self._optimizer)
        self._captured = CapturedTrainer(*changed, self._batch_of, capture) if capture else None

    def run(self, epoch: int, batches: Batches, learning_rates: Sequence[float], stop: Stop) -> Losses:
        """Take one step per batch; see `Engine.run`."""
        self.network.train()
        self._epoch = epoch
        if batches and not self._weights.isfinite().all():  # something else than a step wrote into them
            self.failed_layer = first_broken(read_weights(self.network)) or UNKNOWN
            self._weights.data.copy_(self._good)
            return np.array([math.nan], np.float32)
        take_steps = self._run_on_device if self._captured else self._run_from_host
        with full_precision(self._device):
            losses = take_steps(batches, learning_rates, stop)
        self._good.copy_(self._weights.detach())
        return losses

    def evaluate(self, dataset: Dataset, look: Callable[[], object] = lambda: None) -> Score:
        """Loss and accuracy over all images, each counted once; see `Engine.evaluate`."""
        if dataset not in self._kept:
            self._kept[dataset] = _images_on(self._device, dataset), _labels_on(self._device, dataset)
        sum_losses = self._sum_over_ranks if self._ranks else self._objective.sum_losses
        with full_precision(self._device):
            return sum_losses(*self._kept[dataset], look).mean(len(dataset))

    def weights(self) -> Weights:
        """A copy of the weights, named as in the network's state_dict."""
        return read_weights(self.network)

    def kernels(self) -> Weights:
        """A copy of the convolution kernels, each (out, in, height, width)."""
        return convolutions(self.network)

    def state(self) -> State:
        """A copy of the weights and the optimiser's memory."""
        memory = self._optimizer.state.get(self._weights, {})
        moments = [copied(memory.get(name, torch.zeros_like(self._weights))) for name in self._moments]
        nothing = np.empty(0, np.float32)
        first, second = [*moments, nothing, nothing][:2]
        return State(self.weights(), int(memory.get("step", 0)), first, second)

    def load(self, state: State) -> None:
        """Resume from a state; raises RunError for the state of another network or optimiser."""
        load_weights(self.network, state.weights)
        for earlier in (self._good, self._before_step):
            earlier.copy_(self._weights.detach())
        moments = [values for values in (state.first, state.second) if values.size]
        if len(moments) != len(self._moments) or any(values.shape != self._weights.shape for values in moments):
            raise RunError("optimiser state: its sizes are not this network's and optimiser's; the run is broken")
        if not moments:
            return
        memory = {
            name: torch.from_numpy(values.copy()).to(self._weights.detach())
            for name, values in zip(self._moments, moments, strict=True)
        }
        memory["step"] = torch.tensor(float(state.steps), device=self._device)
        present = self._optimizer.state[self._weights]
        for name, values in memory.items():  # in place: a captured step knows their addresses
            present.setdefault(name, values).copy_(values)

    def numerics(self) -> dict[str, str]:
        """What its last bits depend on, other than versions, threads and the processor's name."""
        distorted_by = self._distort.computed_by
        return describe_numerics() | ({"distortions": distorted_by} if distorted_by else {})

    def _run_on_device(self, batches: Batches, learning_rates: Sequence[float], stop: Stop) -> Losses:
        losses = cast("CapturedTrainer", self._captured).run(batches, learning_rates, stop)
        if len(losses) and math.isnan(losses[-1]):  # take the refused step from the host, to name what failed
            batch = batches[len(losses) - 1]
            with self._buffers_kept():
                loss = self._find_gradients(batch, lambda: False)
                self._refuse(batch, keep=loss is not None and math.isfinite(loss) and _finite(self._weights))
        return losses

    def _run_from_host(self, batches: Batches, learning_rates: Sequence[float], stop: Stop) -> Losses:
        losses: list[float] = []
        for batch, rate in zip(batches, learning_rates, strict=True):
            loss = self._step(batch, float(rate), stop)
            if loss is None:
                break
            losses.append(loss)
            if math.isnan(loss):
                break
        return np.array(losses, dtype=np.float32)

    def _step(self, batch: NDArray[np.int64], rate: float, stop: Stop) -> float | None:
        """One step; its loss, NaN where it was refused, None where it was interrupted."""
        with self._buffers_kept() as keep_changes:
            loss = self._find_gradients(batch, stop)
            if loss is None:
                return None
            if not math.isfinite(loss) or not _finite(self._gradient):
                return self._refuse(batch, keep=math.isfinite(loss))
            memory = {name: values.clone() for name, values in self._optimizer.state[self._weights].items()}
            self._update(rate)
            if not _finite(self._weights):
                self._optimizer.state[self._weights] = memory
                return self._refuse(batch, keep=False)
            keep_changes()
        return loss

    @contextmanager
    def _buffers_kept(self) -> Iterator[Callable[[], None]]:
        """Restore the network's buffers, such as a BatchNorm's running means, unless the yielded function is called."""
        before = {name: buffer.clone() for name, buffer in self.network.named_buffers()} if self._has_buffers else {}
        yield before.clear
        for name, buffer in self.network.named_buffers() if before else ():
            buffer.copy_(before[name])

    def _find_gradients(self, batch: NDArray[np.int64], stop: Stop) -> float | None:
        """The mean loss of a batch, its gradient left in the parameters'; None where it was interrupted."""
        self._gradient.zero_()
        loss, stopped = 0.0, False
        for start in range(0, len(batch), MICRO_BATCH):
            stopped = stop()
            if stopped:
                break
            loss += self._add_gradients(batch[start : start + MICRO_BATCH], 1 / len(batch))
        if self._ranks:
            loss, stopped = self._ranks.sum_step(self._total, loss, stop=stopped)
        return None if stopped else loss

    def _add_gradients(self, indices: NDArray[np.int64], share: float) -> float:
        """Add the gradients of some images, or of this rank's share of them; returns their share of the loss."""
        rows = self._ranks.share(len(indices)) if self._ranks else slice(0, len(indices))
        own = indices[rows]
        if not len(own):
            return 0.0
        batch = Batch(*self._batch_of(own), int(indices[0]), self._epoch, rows.start, len(indices))
        return self._objective.add_gradients(batch, share)

    def _sum_over_ranks(self, images: torch.Tensor, labels: torch.Tensor, look: Callable[[], object]) -> SummedLoss:
        """The summed loss of all ranks, each over its share; where `look` raises on one rank, all ranks stop."""
        ranks, own, raised = cast("ProcessGroup", self._ranks), SummedLoss(0.0, None), None
        rows = ranks.share(len(images))
        try:
            own = self._objective.sum_losses(images[rows], labels[rows], look)
        except Exception as error:  # noqa: BLE001 - raised again, once the others know
            raised = error
        loss, correct = ranks.sum_numbers([own.loss, own.correct or 0], stop=raised is not None)
        if raised:
            raise raised
        look()
        return SummedLoss(loss, None if own.correct is None else int(correct))

    def _batch_of(self, indices: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """The images of some indices, distorted where the config asks, and their labels; both on the device."""
        chosen = torch.from_numpy(indices)
        images = self._images.index_select(0, chosen.to(self._images.device))
        if self._distort.computed_by:
            images = torch.from_numpy(self._distort(images.numpy(), indices, self._epoch))
        return images.to(self._device), self._labels.index_select(0, chosen.to(self._device))

    @torch.no_grad()
    def _update(self, rate: float) -> None:
        self._before_step.copy_(self._weights)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        frozen = [(parameter, parameter.clone()) for parameter in self._objective.frozen_parameters(self._epoch)]
        if frozen and self._starts_stage(frozen):
            self._optimizer.state.clear()
        self._optimizer.step()
        for parameter, before in frozen:  # momentum and weight decay change parameters without a gradient
            parameter.copy_(before)

    def _starts_stage(self, frozen: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> bool:
        """Whether Adam has moments, but none of the parameters being trained: its bias correction has to restart.

        Otherwise the first steps of a later stage are up to 5.5 times too large. The moments alone decide, so that a
        resumed run does the same.
        """
        first = self._optimizer.state.get(self._weights, {}).get("exp_avg")
        if first is None:
            return False
        held = {parameter.storage_offset() for parameter, _ in frozen}
        trained = (own for own in self.network.parameters() if own.storage_offset() not in held)
        return not any(first[own.storage_offset() :][: own.numel()].any() for own in trained)

    @torch.no_grad()
    def _refuse(self, batch: NDArray[np.int64], *, keep: bool) -> float:
        """Return to the last weights that gave a finite loss: the present ones if `keep`."""
        images, _ = self._batch_of(batch[:MICRO_BATCH])
        self.failed_layer = first_non_finite(self.network, scaled(images, dtype_of(self.network)))
        if not keep:
            self._weights.copy_(self._before_step)
        return math.nan


def choose_capture(device: torch.device) -> Capture | None:
    """How steps that stay on the device are repeated; None where the host drives each step."""
    return capture_graph if device.type == "cuda" else None


def _images_on(device: torch.device, dataset: Dataset) -> torch.Tensor:
    """The images as bytes, on the device if it has room for them."""
    with warnings.catch_warnings():  # a mapped file is read-only, and nothing here writes to it
        warnings.filterwarnings("ignore", "The given NumPy array is not writ", UserWarning)
        images = torch.from_numpy(np.require(dataset.images, requirements=["C"]))
    return images.to(device) if has_room(device, images.nbytes) else images


def _labels_on(device: torch.device, dataset: Dataset) -> torch.Tensor:
    return torch.from_numpy(dataset.labels.astype(np.int64)).to(device)


def _finite(values: torch.Tensor) -> bool:
    """Whether all values are finite, and so small that the sum of their squares is; one number to read."""
    return bool(torch.dot(values.detach(), values.detach()).isfinite())


def _flattened(network: torch.nn.Module) -> tuple[torch.nn.Parameter, torch.Tensor]:
    """All parameters in one flat tensor with one flat gradient, of which the network's own become views.

    A step, a check and a copy are then one call each instead of one per tensor. The second tensor returned is the
    one of which the gradient is a view: it has room for the numbers that ranks sum with the gradient.
    """
    parameters = list(network.parameters())
    flat = torch.nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    total = flat.new_zeros(flat.numel() + EXTRA)
    flat.grad = total[: flat.numel()]
    sizes = [parameter.numel() for parameter in parameters]
    views = zip(parameters, torch.split(flat.data, sizes), torch.split(flat.grad, sizes), strict=True)
    for parameter, values, gradient in views:
        parameter.data = values.view_as(parameter)
        parameter.grad = gradient.view_as(parameter)
    return flat, total
