"""A fully connected network without convolutions, and the stack of autoencoders that it can start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

SIZE = 28
HIDDEN = (400, 100)


class Mlp(nn.Module):
    """Pixels, 400 units, 100 units, classes: what a network does that knows nothing of neighbourhoods.

    355,110 parameters for one channel and ten classes.

    Args:
        channels: channels of an image: 1 for grey, 3 for colour.
        classes: how many classes to tell apart.
    """

    image_size: ClassVar[int] = SIZE

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels * SIZE * SIZE, HIDDEN[0])
        self.fc2 = nn.Linear(HIDDEN[0], HIDDEN[1])
        self.fc3 = nn.Linear(HIDDEN[1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities, float of shape (N, classes), of images in [0, 1], float of shape (N, C, 28, 28)."""
        x = F.relu(self.fc1(images.flatten(1)))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


class MlpAutoencoder(nn.Module):
    """The first two layers of an `Mlp` as a stack of autoencoders, trained one after the other.

    Source: Bengio, Lamblin, Popovici and Larochelle, "Greedy layer-wise training of deep networks" (NIPS 2006). Layer 1
    learns to give the pixels back, then layer 2 the code of layer 1, which stays as it is. Where it differs: ReLU
    codes, decoders that are linear and have weights of their own, squared errors.

    Args:
        channels: channels of an image.
        classes: not used, as it learns without labels.
    """

    image_size: ClassVar[int] = SIZE
    stages: ClassVar[int] = 2

    def __init__(self, channels: int = 1, classes: int = 0) -> None:  # noqa: ARG002 - as all networks are made
        super().__init__()
        self.fc1 = nn.Linear(channels * SIZE * SIZE, HIDDEN[0])
        self.fc2 = nn.Linear(HIDDEN[0], HIDDEN[1])
        self.back2 = nn.Linear(HIDDEN[1], HIDDEN[0])
        self.back1 = nn.Linear(HIDDEN[0], channels * SIZE * SIZE)

    def forward(self, images: Tensor) -> Tensor:
        """What comes back through both layers, of the images' shape (N, C, 28, 28)."""
        code = self.encode(self.encode(images.flatten(1), 0), 1)
        return self.decode(self.decode(code, 1), 0).view_as(images)

    def given(self, images: Tensor, stage: int) -> Tensor:
        """What a stage learns to give back: the pixels, or the code of layer 1."""
        return images.flatten(1) if stage == 0 else self.encode(images.flatten(1), 0)

    def encode(self, values: Tensor, stage: int) -> Tensor:
        """The code of one layer, (N, units)."""
        return F.relu((self.fc1, self.fc2)[stage](values))

    def decode(self, code: Tensor, stage: int) -> Tensor:
        """What one layer's code says its input was."""
        back: Tensor = (self.back1, self.back2)[stage](code)
        return back

    def learners(self, stage: int) -> tuple[nn.Module, ...]:
        """The layers that a stage trains."""
        return ((self.fc1, self.back1), (self.fc2, self.back2))[stage]
