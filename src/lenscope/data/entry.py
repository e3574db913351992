"""What is known of a data set before its files are opened: where they lie, what they hash to, who reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class DataFile:
    """One published file.

    Attributes:
        name: its name as published.
        packed: the hash of each known packing, `algorithm:hexadecimal`, the publisher's first.
        content: the hash of what is read, `sha256:hexadecimal`; empty where it is not known.
        gzipped: whether a gzip around it is taken off before it is read, so that it may lie here packed or not; other
            files are read as they are published, and have no packings.
    """

    name: str
    packed: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    gzipped: bool = True

    @property
    def published(self) -> tuple[str, ...]:
        """The hashes of which a download must have the first."""
        return self.packed if self.gzipped else self.content


class Opened(NamedTuple):
    """A file's verified content, mapped where it is large, and what to call it in an error."""

    content: bytes | memoryview
    source: str


OpenFile = Callable[[DataFile], Opened]


class Labelled(NamedTuple):
    """The images of a part, uint8 (N, C, H, W), and their labels, uint8 (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class Reader(Protocol):
    """How the files of a data set become arrays."""

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The files that it reads."""

    def read(self, open_file: OpenFile, classes: int) -> tuple[Labelled, Labelled]:
        """The training and the test part, each label below `classes`; raises DataError for content that is not so."""


@dataclass(frozen=True)
class Entry:
    """All that is known of a data set before its files are opened.

    Attributes:
        name: what users call it.
        title: what its authors call it.
        reader: its files, and how they are read.
        classes: the name of each class.
        mirrors: the addresses below which the files lie, or of the archive, the first one first; https, but where the
            only site has none, and then every file has a SHA-256.
        home: its authors' page.
        licence: the licence of the data.
        citation: how its authors are cited.
        torchvision: the folder in which torchvision keeps files of these names; empty where it keeps others.
        bundled: whether the files are in the package.
        system_folders: where packages of operating systems put it.
        archive: the zip archive that holds the files as `gzip/NAME`, if they are not published one by one.
    """

    name: str
    title: str
    reader: Reader
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]
    home: str
    licence: str
    citation: str
    torchvision: str = ""
    bundled: bool = False
    system_folders: tuple[Path, ...] = ()
    archive: DataFile | None = None

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The files that its reader reads."""
        return self.reader.files
