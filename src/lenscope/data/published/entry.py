"""What is known about a published data set before its files are opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.data.formats.reader import Reader


@dataclass(frozen=True)
class DataFile:
    """One published file.

    Attributes:
        name: as published.
        packed: the hash of each known compressed form, `algorithm:hexadecimal`, the publisher's first.
        content: the hash of the uncompressed content, `sha256:hexadecimal`; empty where it is unknown.
        gzipped: whether the file is published as gzip, and may be here compressed or not; other files are read as they
            are published, and have no compressed forms.
    """

    name: str
    packed: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    gzipped: bool = True

    @property
    def published(self) -> tuple[str, ...]:
        """The hashes of the published file; a download must have the first one."""
        return self.packed if self.gzipped else self.content


@dataclass(frozen=True)
class Entry:
    """A published data set.

    Attributes:
        name: for users of Lenscope.
        title: the name that its authors use.
        files: in the order in which they are read.
        read: reads them.
        classes: the name of each class.
        mirrors: base URLs of the files, or URLs of the archive, in the order in which they are tried; https, except
            where the only site has none, and then every file has a SHA-256.
        home: its authors' web page.
        licence: the licence of the data.
        citation: of its authors.
        torchvision: the folder in which torchvision keeps files with these names; empty if it keeps others.
        bundled: whether the files are in the package.
        system_folders: the folders in which packages of operating systems install it.
        archive: the zip archive that contains the files as `gzip/NAME`, if they are not published one by one.
    """

    name: str
    title: str
    files: tuple[DataFile, ...]
    read: Reader
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]
    home: str
    licence: str
    citation: str
    torchvision: str = ""
    bundled: bool = False
    system_folders: tuple[Path, ...] = ()
    archive: DataFile | None = None
