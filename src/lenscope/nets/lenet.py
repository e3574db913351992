"""The lecture's LeNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class LeNet(nn.Module):
    """The LeNet of Lecture 29: two convolutions, two max-pools, three fully connected layers.

    61,706 parameters for one channel and ten classes. It differs from the network of 1998 (see `LeNet1998`) in ReLU
    for the scaled tanh, max-pooling for trainable subsampling, a full connection of conv2's maps, and a log-softmax.

    Args:
        channels: channels of an image: 1 for grey, 3 for colour.
        classes: how many classes to tell apart.
    """

    image_size: ClassVar[int] = 32

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities, float of shape (N, classes), of images in [0, 1], float of shape (N, C, 32, 32)."""
        x = self.pool1(F.relu(self.conv1(images)))  # (N, 6, 14, 14)
        x = self.pool2(F.relu(self.conv2(x)))  # (N, 16, 5, 5)
        x = x.flatten(1)  # (N, 400)
        x = F.relu(self.fc1(x))  # (N, 120)
        x = F.relu(self.fc2(x))  # (N, 84)
        return F.log_softmax(self.fc3(x), dim=1)  # (N, classes)
