from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

compiler: str

class Trainer:
    def __init__(
        self,
        images: NDArray[np.uint8],  # (N, C, 32, 32)
        labels: NDArray[np.int64],  # (N,)
        classes: int,
        *,
        optimizer: str,
        momentum: float,
        weight_decay: float,
        threads: int,
        isa: str,
        seed: int,
        augmentation: Sequence[float],  # shift, rotation, scale, shear, elastic, smoothness
    ) -> None: ...
    def run(
        self,
        weights: NDArray[np.float32],  # changed in place
        indices: NDArray[np.int64],
        ends: NDArray[np.int64],
        learning_rates: NDArray[np.float64],
        epoch: int,
        stop: Callable[[], bool],
    ) -> NDArray[np.float32]: ...
    def refused(self) -> NDArray[np.float32]: ...
    def state(self) -> tuple[int, NDArray[np.float32], NDArray[np.float32]]: ...
    def set_state(self, steps: int, first: NDArray[np.float32], second: NDArray[np.float32]) -> None: ...

def evaluate(
    images: NDArray[np.uint8], weights: NDArray[np.float32], classes: int, threads: int, isa: str
) -> NDArray[np.float32]: ...
def augment(
    images: NDArray[np.uint8],
    indices: NDArray[np.int64],
    augmentation: Sequence[float],
    seed: int,
    epoch: int,
    isa: str,
) -> NDArray[np.uint8]: ...
def instruction_sets() -> list[str]: ...
def report_cut_files() -> None: ...
