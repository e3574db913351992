"""The formats for `fuzz.py`: their readers, and how a mutated file gets past checksums and grammar."""

from __future__ import annotations

import json
import random
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import fuzz_seeds as seeds
from fuzz_seeds import FINAL, KEPT
from lenscope.config import resolve
from lenscope.data.formats.idx import DTYPES, read_idx
from lenscope.data.formats.pictures import read_picture
from lenscope.errors import DataError, LenscopeError, RunError, UsageError
from lenscope.runs.files import checkpoint
from lenscope.runs.files.film import read_layout
from lenscope.runs.files.manifest import FILE, read_static
from lenscope.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

CHUNKS = b"IHDR IDAT IEND PLTE tRNS acTL fcTL fdAT iCCP tEXt zTXt iTXt eXIf gAMA cHRM pHYs sRGB".split()
MARKERS = [*(bytes([255, code]) for code in range(0xC0, 0xFF)), b"Exif\0\0", b"MPF\0", b"Adobe", b"ICC_PROFILE\0"]
RIFF = b"VP8  VP8L VP8X ANIM ANMF EXIF XMP  ICCP".split()
PATHS = [b"../", b"/", b"..", b"checkpoint/../../file"]
BLOCKS = [b"!\xfe", b"!\xf9\4", b"!\xff\x0bNETSCAPE2.0", b",", b";"]
TAGS = [struct.pack("<H", tag) for tag in (*range(254, 350), 34665, 34675, 1, 3, 4, 7, 8, 32773, 32946)]
TEXT = [b"0", b"-1", b"1", b"0.5", b"1e999", b"-1e999", b"9" * 20, b"9" * 5000, b"1_0", b"\xff", b"\xed\xa0\x80", b"\n"]
CELLS = [*TEXT, b",", b'"', b"nan", b"-inf", b"\r", b"\0", b" "]
SIGNS = b'" { } [ ] : , {} [] null true NaN Infinity \\n \\ud800 "" "a\\nb\\ud800" "size" "name"'.split()
JSON = [*TEXT, *SIGNS, b"[" * 3000, b'{"a":' * 3000]
TENSORS = [*JSON, *b"F64 F16 BF16 F8_E4M3 F4 C64 I64 U8 BOOL dtype shape data_offsets __metadata__".split()]
# JSON values: deep, long, and next to the bounds of whole numbers.
VALUES = [None, True, "", "a\nb\ud800", "9" * 5000, 0.5, -0.0, 1e308, float("inf"), float("nan"), [], {}, [[]], {"": 0}]
VALUES += [sign * 2**power + one for power in (0, 31, 32, 53, 63, 64, 2000) for sign in (-1, 1) for one in (-1, 0)]
TOML = [*TEXT, *b"= . # [ ] [[ ]] { } [] {} ' '''  \"\"\" \\U 0x 0o inf nan 1979-05-27T07:32:00Z".split(), b"a." * 300]


@dataclass(frozen=True)
class Format:
    """One kind of file, in the directory of a run.

    Attributes:
        read: reads the file in a directory.
        name: its path in the directory.
        seeds: makes sound files; by default there is one, of `sound_run`.
        refusal: the error for a broken file.
        words: tokens of its grammar.
        mend: corrects checksums and lengths, so that later checks are reached.
        vary: replaces one value in a sound file, within the grammar.
    """

    read: Callable[[Path], object]
    name: str = "file"
    seeds: Callable[[], list[bytes]] | None = None
    refusal: type[LenscopeError] = RunError
    words: Sequence[bytes] = ()
    mend: Callable[[bytes], bytes] = bytes
    vary: Callable[[bytes], bytes] | None = None


def mend_gzip(content: bytes) -> bytes:
    """Correct the checksum and the length of the content."""
    stream = zlib.decompressobj(-15)
    try:
        plain = stream.decompress(content[10:], 2**20)
    except zlib.error:
        return content
    packed = content[10 : len(content) - len(stream.unused_data)]
    return content[:10] + packed + struct.pack("<II", zlib.crc32(plain), len(plain))


def mend_png(content: bytes) -> bytes:
    """Correct the length and checksum of each chunk."""
    parts, place = [content[:8]], 8
    while place + 12 <= len(content):
        length = min(int.from_bytes(content[place : place + 4], "big"), len(content) - place - 12)
        chunk = content[place + 4 : place + 8 + length]
        parts += [struct.pack(">I", length), chunk, struct.pack(">I", zlib.crc32(chunk))]
        place += 12 + length
    return b"".join(parts)


def mend_safetensors(content: bytes) -> bytes:
    """Correct the length of the header."""
    return struct.pack("<Q", max(0, header_end(content) - 8)) + content[8:]


def header_end(content: bytes) -> int:
    """The end of the last brace and the blanks after it."""
    return len(content) - len(content[content.rfind(b"}") + 1 :].lstrip(b" "))


def mend_film(content: bytes) -> bytes:
    """Correct the checksum of each record."""
    layout, _, film = content.partition(b"\0")
    with suppress(RunError):
        size = 12 + 4 * sum(int(np.prod(shape)) for shape in read_layout(layout, "").values())
        bodies = [film[place : place + size - 4] for place in range(0, len(film), size)]
        film = b"".join(body + struct.pack("<I", zlib.crc32(body)) for body in bodies)
    return layout + b"\0" + film


def vary_value(value: Any) -> Any:
    """Replace the value, or one value in its lists and tables."""
    whole = [value]
    holder, key = random.choice([*places(whole)])
    holder[key] = random.choice((random.choice(VALUES), holder[key], [holder[key]] * 3))
    return whole[0]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def vary_json(content: bytes) -> bytes:
    return json.dumps(vary_value(json.loads(content))).encode()


def vary_film(content: bytes) -> bytes:
    layout, _, film = content.partition(b"\0")
    return vary_json(layout) + b"\0" + film


def vary_tensors(content: bytes) -> bytes:
    """Vary the header, or our own JSON, which is a string in it."""
    end = header_end(content)
    header = json.loads(content[8:end])
    facts = header["__metadata__"]
    if "lenscope" in facts and random.random() < 0.8:
        facts["lenscope"] = vary_json(facts["lenscope"]).decode()
    else:
        header = vary_value(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[end:]


def read_numbers(root: Path) -> None:
    read_idx(root / "file", dtypes=[np.dtype(code).name for code in DTYPES.values()])


def read_pixels(root: Path) -> None:
    read_picture(root / "file", contrast=True)


def read_checkpoint(root: Path) -> None:
    checkpoint.decode(read_static(root, KEPT, Run(root).committed), "checkpoint")


def read_config(root: Path) -> None:
    with suppress(RunError):
        _ = Run(root).config
    resolve(file=root / "config.toml")


def read_manifest(root: Path) -> None:
    checkpoint.newest_sound(root, Run(root).committed)


FORMATS = {
    "idx": Format(read_numbers, seeds=seeds.idx, refusal=DataError),
    "gzip": Format(read_numbers, seeds=seeds.gzips, refusal=DataError, mend=mend_gzip),
    "png": Format(read_pixels, seeds=seeds.pngs, refusal=DataError, words=CHUNKS, mend=mend_png),
    "jpeg": Format(read_pixels, seeds=seeds.jpegs, refusal=DataError, words=MARKERS),
    "webp": Format(read_pixels, seeds=seeds.webps, refusal=DataError, words=RIFF),
    "tiff": Format(read_pixels, seeds=seeds.tiffs, refusal=DataError, words=TAGS),
    "packed_tiff": Format(read_pixels, seeds=seeds.packed_tiffs, refusal=DataError, words=TAGS),
    "gif": Format(read_pixels, seeds=seeds.gifs, refusal=DataError, words=BLOCKS),
    "bmp": Format(read_pixels, seeds=seeds.bitmaps, refusal=DataError),
    "safetensors": Format(
        lambda root: Run(root).weights(), FINAL, words=TENSORS, mend=mend_safetensors, vary=vary_tensors
    ),
    "checkpoint": Format(read_checkpoint, KEPT, words=TENSORS, mend=mend_safetensors, vary=vary_tensors),
    "config": Format(read_config, "config.toml", seeds.configs, UsageError, TOML),
    "metrics": Format(lambda root: Run(root).metrics.rows(), "metrics.csv", words=CELLS),
    "film": Format(lambda root: Run(root).film, "film", seeds.films, words=JSON, mend=mend_film, vary=vary_film),
    "manifest": Format(read_manifest, FILE, seeds.manifests, words=[*JSON, *PATHS], vary=vary_json),
    "environment": Format(lambda root: Run(root).data, "environment.json", words=JSON, vary=vary_json),
    "status": Format(lambda root: Run(root).status, "status.json", words=JSON, vary=vary_json),
}
