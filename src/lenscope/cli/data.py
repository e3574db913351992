"""`lenscope data`."""

from __future__ import annotations

import math
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import Field

import lenscope
from lenscope.cli.command import Command, DataDir
from lenscope.cli.output import print_note, table
from lenscope.config import FitName
from lenscope.errors import DataError, IntegrityError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Data(Command):
    """List, download, verify and locate data sets by name; pack a folder of pictures.

    list: all data sets. fetch NAME: download missing files. verify NAME: compare each file with its published hash.
    locate NAME: print the paths of the files. pack FOLDER: decode the pictures into the cache, which train does by
    itself for a large folder.
    """

    action: tyro.conf.Positional[Literal["list", "fetch", "verify", "locate", "pack"]] = Field(description="what to do")
    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[NAME|DIR]")] = Field(
        "", description="name of a data set, or a folder to pack"
    )
    data_dir: DataDir = None
    skip_unreadable: bool = Field(default=False, description="skip unreadable pictures when packing")
    fit: FitName = Field("squeeze", description="how pictures become square when packing: as for train")

    def execute(self) -> None:
        """Run the action and print its result."""
        from lenscope.data.published.catalogue import find_entry

        if self.action != "list" and not self.name:
            raise UsageError(f"got no data set, expected a name; lenscope data {self.action} NAME")
        if self.name and self.action != "pack":
            find_entry(self.name)
        getattr(self, f"_{self.action}")()

    def _list(self) -> None:
        from lenscope.data.published.catalogue import CATALOGUE
        from lenscope.data.published.locate import locate

        facts = [
            {
                "name": name,
                "title": entry.title,
                "here": locate(name, self.data_dir) is not None,
                "classes": len(entry.classes),
                "licence": entry.licence,
                "home": entry.home,
            }
            for name, entry in CATALOGUE.items()
        ]
        rows = [
            (
                str(one["name"]),
                "available" if one["here"] else "not downloaded",
                str(one["classes"]),
                str(one["licence"]),
            )
            for one in facts
        ]
        self.show(facts, *table(("name", "here", "classes", "licence"), *rows))

    def _fetch(self) -> None:
        from lenscope.data.published.fetch import fetch

        print_note(f"fetching {self.name} …")
        self._show_paths(fetch(self.name, self.data_dir))

    def _locate(self) -> None:
        from lenscope.data.published.locate import locate

        paths = locate(self.name, self.data_dir)
        if paths is None:
            raise DataError(f"{self.name}: not found; download it with: lenscope data fetch {self.name}")
        self._show_paths(paths)

    def _verify(self) -> None:
        from lenscope.data.published.verify import verify

        checks = verify(self.name, self.data_dir)
        rows = [(check.name, check.state, str(check.path or ""), check.detail) for check in checks]
        self.show([asdict(check) for check in checks], *table(*rows))
        if bad := [check.name for check in checks if check.state in {"wrong", "missing"}]:
            raise IntegrityError(f"{self.name}: wrong or missing: {', '.join(bad)}")

    def _pack(self) -> None:
        start = perf_counter()
        splits = lenscope.load(
            self.name,
            data_dir=self.data_dir,
            skip_unreadable=self.skip_unreadable,
            fit=self.fit,
            pack=True,
            progress=True,
        )
        seconds = perf_counter() - start
        train, test, shape = len(splits.train), len(splits.test or ()), splits.train.images.shape[1:]
        total = (train + test) * math.prod(shape)
        facts = {
            "pack": str(splits.pack),
            "train": train,
            "test": test,
            "shape": shape,
            "bytes": total,
            "skipped": dict(splits.skipped),
            "seconds": round(seconds, 2),
        }
        images = f"{train:,} training and {test:,} test images of {'×'.join(map(str, shape))}"
        self.show(facts, f"{splits.pack}: {images}, {total:,} bytes, in {seconds:.1f} s")

    def _show_paths(self, paths: dict[str, Path]) -> None:
        found = {name: str(path) for name, path in paths.items()}
        self.show(found, *found.values())
