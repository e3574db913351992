"""The mutations that `fuzz.py` applies to files."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuzz_formats import Format

LONGEST = 2**16  # bytes of a mutated file
TOKENS = (re.compile(rb'"[^"]*"'), re.compile(rb"[\w.+-]+"))
EDGES = [value for power in (0, 7, 8, 15, 16, 24, 31, 32, 63, 64) for value in (2**power - 1, 2**power, 2**power + 1)]


def place(data: bytearray) -> int:
    return random.randrange(len(data) + 1)


def span(data: bytearray) -> slice:
    """A range of bytes, mostly a short one."""
    start = place(data)
    return slice(start, start + int(2 ** random.uniform(0, 8)))


def flip(data: bytearray, *_: object) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def change(data: bytearray, *_: object) -> None:
    data[random.randrange(len(data))] = random.randrange(256)


def number(data: bytearray, *_: object) -> None:
    size, start = random.choice((1, 2, 4, 8)), place(data)
    data[start : start + size] = (random.choice(EDGES) % 256**size).to_bytes(size, random.choice(("little", "big")))


def delete(data: bytearray, *_: object) -> None:
    del data[span(data)]


def cut(data: bytearray, *_: object) -> None:
    del data[place(data) :]


def insert(data: bytearray, *_: object) -> None:
    some = span(data)
    data[some.start : some.start] = random.randbytes(some.stop - some.start)


def repeat(data: bytearray, *_: object) -> None:
    some = span(data)
    data[some.start : some.start] = data[some] * random.choice((1, 2, 30))


def swap(data: bytearray, *_: object) -> None:
    one, two = span(data), span(data)
    data[one], data[two] = data[two], data[one]


def splice(data: bytearray, other: bytes, _: object) -> None:
    start = random.randrange(len(other) + 1)
    data[place(data) :] = other[start:]


def word(data: bytearray, _: object, words: list[bytes]) -> None:
    some = span(data)
    data[some.start : random.choice((some.start, some.stop))] = random.choice(words or [b"\0"])


def token(data: bytearray, _: object, words: list[bytes]) -> None:
    """Replace a string, number or name by a word."""
    if found := [*random.choice(TOKENS).finditer(data)]:
        start, end = random.choice(found).span()
        data[start:end] = random.choice(words or [b"0"])


MUTATIONS = (flip, change, number, number, delete, cut, insert, repeat, swap, splice, word, token, token)


def mutated(format_: Format, seeds: list[bytes], found: list[bytes]) -> bytes:
    """Mutate a sound file, or a mutated file that reached new lines."""
    if format_.vary and random.random() < 0.3:
        return format_.vary(random.choice(seeds))
    data = bytearray(random.choice(random.choice((seeds, found or seeds))))
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        random.choice(MUTATIONS)(data, random.choice(seeds), format_.words)
        data = data[:LONGEST] or bytearray(1)
    return format_.mend(bytes(data)) if random.random() < 0.6 else bytes(data)
