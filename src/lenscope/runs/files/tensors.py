"""Decodes safetensors of float32, with a bound on the size of the header."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

if TYPE_CHECKING:
    from lenscope.nets.layers import Weights

HEADER_BYTES = 2**20  # names and shapes of arrays; a LeNet's take a thousand bytes


def decode_tensors(content: bytes) -> tuple[Weights, dict[str, Any]]:
    """The arrays by name, and the metadata in the header.

    Raises:
        ValueError: not safetensors, a type other than float32, or a header that is too large.
    """
    length = int.from_bytes(content[:8], "little")
    if length > HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes, expected at most {HEADER_BYTES}")
    try:
        header = json.loads(content[8 : 8 + length])
        arrays = load(content)
    except (SafetensorError, KeyError, RecursionError) as error:  # KeyError: a type that numpy does not have
        raise ValueError(str(error)) from None
    if any(array.dtype != np.float32 for array in arrays.values()):
        raise ValueError("a type other than float32")
    return arrays, header.get("__metadata__") or {}
