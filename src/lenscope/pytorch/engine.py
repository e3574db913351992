"""The general engine: any network, on any device that PyTorch has, the whole set on it as bytes."""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch

from lenscope.errors import RunError
from lenscope.pytorch.classification import Classification
from lenscope.pytorch.device_steps import PART, Learner, capture_graph, dtype_of, scaled
from lenscope.pytorch.devices import (
    choose_device,
    choose_rank_device,
    describe_gpu,
    full_precision,
    has_room,
    set_threads,
)
from lenscope.pytorch.nets.build import convolutions, copied, load_weights, read_weights
from lenscope.pytorch.nets.module import AutoencoderModule
from lenscope.pytorch.nonfinite import UNKNOWN, first_broken_weight, first_non_finite
from lenscope.pytorch.numerics import describe_numerics
from lenscope.pytorch.objective import Batch, Tally
from lenscope.pytorch.optimizers import build_optimizer
from lenscope.pytorch.ranks import TOLD
from lenscope.pytorch.reconstruction import Reconstruction
from lenscope.training.events import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Weights
    from lenscope.pytorch.device_steps import Capture, Examples
    from lenscope.pytorch.objective import Objective
    from lenscope.pytorch.ranks import Ranks
    from lenscope.training.engine import Score


class TorchEngine:
    """Takes updates with PyTorch's autograd and fused optimisers.

    What the loss is, and how it is computed, is the objective's: a classification, or a reconstruction of what an
    autoencoder gets. With CUDA, a classification's steps are captured as graphs (see `device_steps`), and nothing but
    the losses comes back.

    Args:
        network: its parameters are trained in place.
        train: images at the network's size; kept on the device as bytes, on the host where it has no room for them, and
            scaled to [0, 1] a batch at a time.
        config: optimiser, rates, augmentation, device and threads.
        capture: how steps that stay on the device are repeated; by default as graphs with CUDA, and elsewhere each step
            is driven, and looked at, from the host.
        ranks: processes that share each step: each does its part of the batch, then all gradients are added up. All
            have to start from the same weights; their steps are driven from the host.

    Raises:
        UsageError: a device that this machine lacks.
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
        ranks: Ranks | None = None,
    ) -> None:
        threads = config.threads or (ranks.threads if ranks else None)
        if threads:
            set_threads(threads)
        self._device = choose_rank_device(config.device, ranks) if ranks else choose_device(config.device)
        self.device = self._device.type
        self.gpu = describe_gpu(self.device)
        self.threads = torch.get_num_threads()
        self._ranks, self.ranks = ranks, ranks.count if ranks else 1
        self.network = network.to(self._device)
        self._config = config
        self._kept = WeakKeyDictionary({train: _tensors(train, self._device)})
        self._images, self._labels = self._kept[train]
        self._weights, self._total = _flattened(self.network)
        self._gradient = cast("torch.Tensor", self._weights.grad)
        self._before_update = self._weights.detach().clone()
        self._good = self._weights.detach().clone()
        self._has_buffers = next(self.network.buffers(), None) is not None
        self._optimizer = build_optimizer(config, [self._weights])
        self._objective = _objective(self.network, config)
        self._epoch = 0
        capture = (capture or choose_capture(self._device)) if self._objective.captured and not ranks else None
        learner = (self.network, self._weights, self._before_update, self._optimizer)
        self._learner = Learner(*learner, capture) if capture else None

    def run(
        self,
        epoch: int,
        batches: Sequence[NDArray[np.int64]],
        learning_rates: Sequence[float],
        stop: Callable[[], bool],
    ) -> NDArray[np.float32]:
        """Take one step a batch; see `Engine.run`."""
        self.network.train()
        self._epoch = epoch
        if batches and not self._weights.isfinite().all():
            return self._refuse_weights()
        examples = partial(self._examples, epoch)
        with full_precision(self._device):
            losses = self._take_steps(batches, learning_rates, stop, examples)
        self._good.copy_(self._weights.detach())
        return losses

    def evaluate(self, dataset: Dataset, look: Callable[[], object] = lambda: None) -> Score:
        """Loss and accuracy over all images, each counted once; see `Engine.evaluate`."""
        if dataset not in self._kept:
            self._kept[dataset] = _tensors(dataset, self._device)
        tally = self._tally_together if self._ranks else self._objective.tally
        with full_precision(self._device):
            return tally(*self._kept[dataset], look).score(len(dataset))

    def weights(self) -> Weights:
        """A copy of the weights, named as in the network's state_dict."""
        return read_weights(self.network)

    def kernels(self) -> Weights:
        """A copy of the convolution kernels, each (out, in, height, width)."""
        return convolutions(self.network)

    def state(self) -> State:
        """A copy of the weights and the optimiser's memory."""
        memory = self._optimizer.state.get(self._weights, {})
        kept = [copied(memory.get(name, torch.zeros_like(self._weights))) for name in self._memory]
        nothing = np.empty(0, np.float32)
        first, second = [*kept, nothing, nothing][:2]
        return State(self.weights(), int(memory.get("step", 0)), first, second)

    def load(self, state: State) -> None:
        """Go on from a state; raises RunError where it is another network's or optimiser's."""
        load_weights(self.network, state.weights)
        for earlier in (self._good, self._before_update):
            earlier.copy_(self._weights.detach())
        kept = [values for values in (state.first, state.second) if values.size]
        if len(kept) != len(self._memory) or any(values.shape != self._weights.shape for values in kept):
            raise RunError("optimiser state: its sizes are not this network's and optimiser's; the run is broken")
        if not kept:
            return
        memory = {
            name: torch.from_numpy(values.copy()).to(self._weights.detach())
            for name, values in zip(self._memory, kept, strict=True)
        }
        if "exp_avg" in memory:
            memory["step"] = torch.tensor(float(state.updates), device=self._device)
        present = self._optimizer.state[self._weights]
        for name, values in memory.items():  # in place: a captured step knows where they are
            present.setdefault(name, values).copy_(values)

    def numerics(self) -> dict[str, str]:
        """What its last bits depend on beside versions, threads and the processor's name."""
        return describe_numerics()

    @property
    def _memory(self) -> tuple[str, ...]:
        """What the optimiser keeps of each parameter, as torch names it."""
        match self._config.optimizer:
            case "adam" | "adamw":
                return ("exp_avg", "exp_avg_sq")
            case "momentum" | "nesterov":
                return ("momentum_buffer",)
            case _:
                return ()

    def _take_steps(
        self,
        batches: Sequence[NDArray[np.int64]],
        learning_rates: Sequence[float],
        stop: Callable[[], bool],
        examples: Examples,
    ) -> NDArray[np.float32]:
        if not self._learner:
            return self._run_from_host(batches, learning_rates, stop, examples)
        losses = self._learner.run(batches, learning_rates, stop, examples)
        if len(losses) and math.isnan(losses[-1]):
            self._refuse_on_device(torch.from_numpy(batches[len(losses) - 1]).to(self._device), examples)
        return losses

    def _run_from_host(
        self,
        batches: Sequence[NDArray[np.int64]],
        learning_rates: Sequence[float],
        stop: Callable[[], bool],
        examples: Examples,
    ) -> NDArray[np.float32]:
        losses = []
        for batch, rate in zip(batches, learning_rates, strict=True):
            loss = self._step(torch.from_numpy(batch).to(self._device), float(rate), stop, examples)
            if loss is None:
                break
            losses.append(loss)
            if math.isnan(loss):
                break
        return np.array(losses, dtype=np.float32)

    def _step(self, batch: torch.Tensor, rate: float, stop: Callable[[], bool], examples: Examples) -> float | None:
        """One update; its loss, NaN where the update was refused, None where it was interrupted."""
        with self._buffers_kept() as keep_changes:
            loss = self._find_gradients(batch, stop, examples)
            if loss is None:
                return None
            if not math.isfinite(loss) or not _finite(self._gradient):
                return self._refuse(batch, examples, keep=math.isfinite(loss))
            self._update(rate)
            if not _finite(self._weights):
                return self._refuse(batch, examples, keep=False)
            keep_changes()
        return loss

    @contextmanager
    def _buffers_kept(self) -> Iterator[Callable[[], None]]:
        """Put back the network's buffers, such as a BatchNorm's running means, unless what is given is called."""
        before = {name: buffer.clone() for name, buffer in self.network.named_buffers()} if self._has_buffers else {}
        yield before.clear
        for name, buffer in self.network.named_buffers() if before else ():
            buffer.copy_(before[name])

    def _find_gradients(self, batch: torch.Tensor, stop: Callable[[], bool], examples: Examples) -> float | None:
        """The mean loss of a batch, its gradient left in the parameters'; None where it was interrupted."""
        self._gradient.zero_()
        loss, stopped = 0.0, False
        for part in torch.split(batch, PART):
            stopped = stop()
            if stopped:
                break
            loss += self._add_gradients(part, 1 / len(batch), examples)
        if self._ranks:
            loss, stopped = self._ranks.sum_step(self._total, loss, stop=stopped)
        return None if stopped else loss

    def _add_gradients(self, part: torch.Tensor, share: float, examples: Examples) -> float:
        """Add the gradients of a part of a batch, or of what this rank has of it; returns its share of the loss."""
        rows = self._ranks.part(len(part)) if self._ranks else slice(0, len(part))
        own = part[rows]
        if not len(own):
            return 0.0
        batch = Batch(*examples(own), int(part[0]), self._epoch, rows.start, len(part))
        return self._objective.add_gradients(batch, share)

    def _tally_together(self, images: torch.Tensor, labels: torch.Tensor, look: Callable[[], object]) -> Tally:
        """The tally of all ranks, each over its part; one that `look` ends ends that of the others, too."""
        ranks, tally, raised = cast("Ranks", self._ranks), Tally(0.0, None), None
        rows = ranks.part(len(images))
        try:
            tally = self._objective.tally(images[rows], labels[rows], look)
        except Exception as error:  # noqa: BLE001 - raised again, once the others know
            raised = error
        loss, right = ranks.sum_numbers([tally.loss, tally.right or 0], stop=raised is not None)
        if raised:
            raise raised
        look()
        return Tally(loss, None if tally.right is None else int(right))

    def _examples(self, epoch: int, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The images of some indices, distorted where the config asks, and their labels."""
        wanted = indices.to(self._images.device)
        images, how = self._images.index_select(0, wanted).to(self._device), self._config.augment
        if how.distorts:
            from lenscope.pytorch.augment import augmented

            images = augmented(images, indices, how, self._config.seed, epoch)
        return images, self._labels.index_select(0, indices)

    def _refuse_weights(self) -> NDArray[np.float32]:
        """Go back to what the last call left, where somebody else has put what is not finite into the weights."""
        self.failed_layer = first_broken_weight(self.network) or UNKNOWN
        self._weights.data.copy_(self._good)
        return np.array([math.nan], np.float32)

    def _refuse_on_device(self, batch: torch.Tensor, examples: Examples) -> None:
        """Look from the host at a step that was refused on the device, whose weights have not been touched since."""
        with self._buffers_kept():
            loss = self._find_gradients(batch, lambda: False, examples)
            self._refuse(batch, examples, keep=loss is not None and math.isfinite(loss) and _finite(self._weights))

    @torch.no_grad()
    def _update(self, rate: float) -> None:
        self._before_update.copy_(self._weights)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        fixed = [(parameter, parameter.clone()) for parameter in self._objective.fixed(self._epoch)]
        if fixed and self._begins_stage(fixed):
            self._optimizer.state.clear()
        self._optimizer.step()
        for parameter, before in fixed:  # momentum and weight decay move what has no gradient
            parameter.copy_(before)

    def _begins_stage(self, fixed: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> bool:
        """Whether Adam remembers something, and nothing of what learns now: its bias correction has to begin anew.

        Else the first updates of a later stage were up to 5.5 times too large. It is told by the memory alone, so that
        a run that goes on from here does the same.
        """
        first = self._optimizer.state.get(self._weights, {}).get("exp_avg")
        if first is None:
            return False
        held = {parameter.storage_offset() for parameter, _ in fixed}
        learning = (own for own in self.network.parameters() if own.storage_offset() not in held)
        return not any(first[own.storage_offset() :][: own.numel()].any() for own in learning)

    @torch.no_grad()
    def _refuse(self, batch: torch.Tensor, examples: Examples, *, keep: bool) -> float:
        """Go back to the last weights that gave a finite loss; the present ones where `keep`."""
        images, _ = examples(batch[:PART])
        self.failed_layer = first_non_finite(self.network, scaled(images, dtype_of(self.network)))
        if not keep:
            self._weights.copy_(self._before_update)
        return math.nan


def _objective(network: torch.nn.Module, config: TrainConfig) -> Objective:
    """What a network is trained for: classes, unless it says that it gives back what it gets."""
    if isinstance(network, AutoencoderModule):
        return Reconstruction(network, config)
    return Classification(network)


def choose_capture(device: torch.device) -> Capture | None:
    """How steps are repeated that stay on the device; None where the host drives each."""
    return capture_graph if device.type == "cuda" else None


def _tensors(dataset: Dataset, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The images, on the device if it has room for them, and the labels, on the device."""
    with warnings.catch_warnings():  # a mapped file is read-only, and so are all who use it
        warnings.filterwarnings("ignore", "The given NumPy array is not writ", UserWarning)
        images = torch.from_numpy(np.require(dataset.images, requirements=["C"]))
    images = images.to(device) if has_room(device, images.nbytes) else images
    return images, torch.from_numpy(dataset.labels.astype(np.int64)).to(device)


def _finite(values: torch.Tensor) -> bool:
    """Whether all values are finite, and so small that the sum of their squares is; quicker than looking at each."""
    return bool(torch.dot(values.detach(), values.detach()).isfinite())


def _flattened(network: torch.nn.Module) -> tuple[torch.nn.Parameter, torch.Tensor]:
    """All parameters in one flat tensor with one flat gradient, of which the network's own become views.

    An update, a check and a copy are then one call each, and not one a tensor. Returned as well is the tensor of which
    the gradient is a view: it has room for what ranks sum with it.
    """
    parameters = list(network.parameters())
    flat = torch.nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    total = flat.new_zeros(flat.numel() + TOLD)
    flat.grad = total[: flat.numel()]
    sizes = [parameter.numel() for parameter in parameters]
    views = zip(parameters, torch.split(flat.data, sizes), torch.split(flat.grad, sizes), strict=True)
    for parameter, values, gradient in views:
        parameter.data = values.view_as(parameter)
        parameter.grad = gradient.view_as(parameter)
    return flat, total
