"""Sound files of each format and the small run directory that they belong to, for `fuzz.py` and the flips."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin
from safetensors.numpy import save

from fixtures_data import encode_idx, random_images
from lenscope.config import RECIPES, TrainConfig, resolve
from lenscope.data.formats.idx import DTYPES
from lenscope.runs.files import checkpoint
from lenscope.runs.files.film import describe_layout, encode_record
from lenscope.runs.files.manifest import APPENDED, FILE, Manifest, fingerprint
from lenscope.runs.files.metrics import HEADER, encode_row
from lenscope.runs.run import DataMetadata
from lenscope.training.events import Checkpoint, EpochMetrics, Position, State

if TYPE_CHECKING:
    from pathlib import Path

KEPT = checkpoint.file_name(6)
FINAL = "weights/final.safetensors"
PICTURE = random_images(1, 9, 11, 3)[0]
KERNELS = {"conv1.weight": np.zeros((2, 1, 2, 2), np.float32), "conv2.weight": np.ones((1, 2, 1, 3), np.float32)}


@cache
def sound_run() -> dict[str, bytes]:
    """The files of a finished run of two epochs of three steps, without the manifest; its network is none of ours."""
    rows = [
        EpochMetrics(0, None, None, *[1e-9] * 8),
        *(EpochMetrics(epoch, 0.25, None, *[1e-9] * 8) for epoch in (1, 2)),
    ]
    film = b"".join(encode_record(step, KERNELS) for step in (0, 1, 6))
    losses = np.full(6, 0.25, "<f4").tobytes()
    appended = {
        "metrics.csv": HEADER.encode() + b"".join(map(encode_row, rows)),
        "losses.f32": losses,
        "film.bin": film,
    }
    entries = {name: fingerprint(content) for name, content in appended.items()}
    facts = DataMetadata("mnist", "here", "none", "0" * 64, None, ("a", "b"), 1, (28, 28), 60, 0, 0)
    status = {"state": "finished", "why": None, "process": 1, "host": "h", "started": "2026-01-01", "ended": None}
    state = State(KERNELS, 6, np.zeros(14, np.float32), np.zeros(14, np.float32))
    kept = (Checkpoint(step, Position(2, step - 3, 0.5, 0.25, 1), state) for step in (4, 6))
    return appended | {
        "config.toml": TrainConfig(epochs=2, batch_size=20, augment="shift=1").to_toml().encode(),
        "environment.json": json.dumps({"data": asdict(facts), "threads": 1, "resumed": []}, indent=1).encode(),
        "status.json": json.dumps(status).encode(),
        "film.json": describe_layout(KERNELS),
        "weights/initial.safetensors": save(KERNELS),
        FINAL: save(KERNELS, metadata={"a": "b"}),
        **{checkpoint.file_name(event.step): checkpoint.encode(event, entries) for event in kept},
    }


def write_run(root: Path) -> None:
    """Make the run directory."""
    for name, content in sound_run().items():
        (root / name).parent.mkdir(exist_ok=True)
        plant(root, name, content)


def manifest_of(files: dict[str, bytes]) -> bytes:
    entries = {name: fingerprint(content) for name, content in files.items() if name != "status.json"}
    appended = {name: entries.pop(name) for name in APPENDED}
    return Manifest(entries, appended).to_json()


def plant(root: Path, name: str, content: bytes) -> None:
    """Write a file and a manifest that agrees with it; the name `film` is its two files, joined by a zero byte."""
    layout, _, film = content.partition(b"\0")
    parts = {"film.json": layout, "film.bin": film} if name == "film" else {name: content}
    if not parts.keys() & {FILE, "status.json", "file"}:
        parts[FILE] = manifest_of(sound_run() | parts)
    for part, value in parts.items():
        (root / part).write_bytes(value)


def manifests() -> list[bytes]:
    return [manifest_of(sound_run())]


def films() -> list[bytes]:
    return [sound_run()["film.json"] + b"\0" + sound_run()["film.bin"]]


def configs() -> list[bytes]:
    text = "# a note\n'epochs' = 3\ndata = \"\\u0041\"\ncheckpoint_every = '30s'\n[augment]\nshift = 1e0\n"
    return [text.encode(), *(resolve(name).to_toml().encode() for name in RECIPES)]


def idx() -> list[bytes]:
    arrays = [np.arange(np.prod(shape)).reshape(shape) for shape in [(5,), (3, 4), (3, 4, 5), (2, 3, 4, 1)]]
    return [encode_idx(array.astype(code)) for array in arrays for code in DTYPES.values()]


def gzips() -> list[bytes]:
    many = gzip.compress(encode_idx(np.zeros((50, 28, 28), np.uint8)), mtime=0)
    header = b"\x1f\x8b\x08\x1e\0\0\0\0\0\3\2\0abname\0note\0"  # with an extra field, a name and a note
    header += struct.pack("<H", zlib.crc32(header) % 2**16)
    small = [gzip.compress(content, level, mtime=0) for content in idx() for level in (0, 9)]
    return [*small, many, header + many[10:]]


def saved(kind: str, mode: str, times: int = 1, **options: object) -> bytes:
    stream, image = io.BytesIO(), Image.fromarray(np.tile(PICTURE, (times, times, 1)))
    (image.quantize(4) if mode == "P" else image.convert(mode)).save(stream, kind, **options)
    return stream.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    return exif


def pngs() -> list[bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_text("key", "value" * 20, zip=True)
    text.add_itxt("XML:com.adobe.xmp", '<a tiff:Orientation="6"/>', zip=True)
    modes = ("1", "L", "P", "LA", "RGB", "RGBA")
    return [
        *(saved("PNG", mode, compress_level=level) for mode in modes for level in (0, 9)),
        saved("PNG", "I;16", compress_level=0),
        saved("PNG", "P", transparency=b"\0\x80"),
        saved("PNG", "RGB", pnginfo=text, dpi=(72, 72), transparency=(1, 2, 3)),
        saved("PNG", "L", exif=turned(), icc_profile=bytes(200), transparency=3),
        saved("PNG", "RGB", save_all=True, append_images=[Image.new("RGB", (4, 4))]),
    ]


def jpegs() -> list[bytes]:
    return [
        *(saved("JPEG", mode, progressive=way, optimize=way) for mode in ("L", "RGB", "CMYK") for way in (False, True)),
        saved("JPEG", "RGB", exif=turned(), comment=b"note", icc_profile=bytes(200), dpi=(72, 72)),
        saved("JPEG", "RGB", 4, xmp=b'tiff:Orientation="6"', restart_marker_blocks=1, quality=9),
        saved("MPO", "RGB", save_all=True, append_images=[Image.new("RGB", (8, 8))]),
    ]


def webps() -> list[bytes]:
    return [
        *(saved("WEBP", mode, lossless=way) for mode in ("L", "RGB", "RGBA") for way in (False, True)),
        saved("WEBP", "RGB", exif=turned(), icc_profile=bytes(200), xmp=b'tiff:Orientation="6"'),
        saved("WEBP", "RGB", save_all=True, append_images=[Image.new("RGB", PICTURE.shape[1::-1])]),
    ]


def tiffs() -> list[bytes]:
    return [
        *(saved("TIFF", mode, 4, big_endian=way) for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK") for way in (0, 1)),
        saved("TIFF", "I;16"),
        saved("TIFF", "RGB", exif=turned(), icc_profile=bytes(200), dpi=(72, 72)),
        saved("TIFF", "L", 9, save_all=True, append_images=[Image.new("L", (8, 8))]),
    ]


def packed_tiffs() -> list[bytes]:
    codecs = ("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")
    return [
        *(saved("TIFF", mode, 4, compression=codec) for mode in ("1", "L", "P", "RGBA", "I;16") for codec in codecs),
        *(
            saved("TIFF", mode, 4, compression=codec, tiffinfo={317: 2, 278: rows}, strip_size=1, **kind)
            for mode in ("L", "RGB", "I;16")
            for codec in codecs[:2]
            for rows in (1, 9)
            for kind in ({"big_endian": True}, {"big_tiff": True})
        ),
    ]


def gifs() -> list[bytes]:
    return [
        saved("GIF", "L"),
        saved("GIF", "P", interlace=1, transparency=1, comment=b"note"),
        saved("GIF", "RGB", 9, save_all=True, append_images=[Image.new("P", (11, 9))], loop=2, disposal=2),
    ]


def bitmaps() -> list[bytes]:
    return [saved("BMP", mode) for mode in ("1", "L", "P", "RGB", "RGBA")]
