"""Reads safetensors of float32, with a bound on the header that is parsed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

if TYPE_CHECKING:
    from lenscope.nets.layers import Weights

HEADER_BYTES = 2**20  # a header names arrays and their shapes: ours take a thousand bytes


def decode_tensors(content: bytes) -> tuple[Weights, dict[str, Any]]:
    """The arrays by their names, and the header's own facts, empty where there are none.

    Raises:
        ValueError: no safetensors, another type than float32, or a header beyond its bound.
    """
    length = int.from_bytes(content[:8], "little")
    if length > HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes, expected at most {HEADER_BYTES}")
    try:
        header = json.loads(content[8 : 8 + length])
        arrays = load(content)
    except (SafetensorError, KeyError, RecursionError) as error:  # KeyError: a type that numpy lacks
        raise ValueError(str(error)) from None
    if any(array.dtype != np.float32 for array in arrays.values()):
        raise ValueError("another type than float32")
    return arrays, header.get("__metadata__") or {}
