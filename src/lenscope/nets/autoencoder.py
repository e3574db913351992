"""A convolutional autoencoder with the LeNet's own convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Reconstructs(Protocol):
    """A network that learns without labels to give back what it gets.

    Attributes:
        stages: in how many stages it learns, each a share of the epochs.
    """

    stages: ClassVar[int]

    def given(self, images: Tensor, stage: int) -> Tensor:
        """What a stage learns to give back, of images in [0, 1]; float of shape (N, …)."""
        ...

    def encode(self, values: Tensor, stage: int) -> Tensor:
        """The code of what it was given, (N, units or channels, …)."""
        ...

    def decode(self, code: Tensor, stage: int) -> Tensor:
        """What was given, as far as the code tells, of its shape."""
        ...

    def learners(self, stage: int) -> tuple[nn.Module, ...]:
        """The layers that a stage trains; the others stay as they are."""
        ...


class Autoencoder(nn.Module):
    """The LeNet up to its second pool, and a decoder that mirrors it: 6,251 parameters for one channel.

    The encoder's conv1 and conv2 have the LeNet's names and sizes, so that a LeNet can start from them. The code is
    16×5×5. Each half of the decoder undoes a pool and a convolution at once: a transposed convolution of 6×6 with
    stride 2, of which enlarging by 2 and then convolving with 5×5 is a special case at 2.8 times the work. The output
    is linear.

    Args:
        channels: channels of an image: 1 for grey, 3 for colour.
        classes: not used, as it learns without labels.
    """

    image_size: ClassVar[int] = 32
    stages: ClassVar[int] = 1

    def __init__(self, channels: int = 1, classes: int = 0) -> None:  # noqa: ARG002 - as all networks are made
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool2 = nn.MaxPool2d(2)
        self.back2 = nn.ConvTranspose2d(16, 6, 6, stride=2)
        self.back1 = nn.ConvTranspose2d(6, channels, 6, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """What comes back, of the images' shape (N, C, 32, 32), of images in [0, 1]."""
        return self.decode(self.encode(images, 0), 0)

    def given(self, images: Tensor, stage: int) -> Tensor:  # noqa: ARG002 - there is one stage
        """The images."""
        return images

    def encode(self, values: Tensor, stage: int) -> Tensor:  # noqa: ARG002
        """The code, (N, 16, 5, 5)."""
        x = self.pool1(F.relu(self.conv1(values)))  # (N, 6, 14, 14)
        code: Tensor = self.pool2(F.relu(self.conv2(x)))
        return code

    def decode(self, code: Tensor, stage: int) -> Tensor:  # noqa: ARG002
        """The images that a code tells of, (N, C, 32, 32)."""
        x = F.relu(self.back2(code))  # (N, 6, 14, 14)
        images: Tensor = self.back1(x)
        return images

    def learners(self, stage: int) -> tuple[nn.Module, ...]:  # noqa: ARG002
        """All layers."""
        return tuple(self.children())
