"""`lenscope data`."""

from __future__ import annotations

import math
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import tyro
from pydantic import Field

from lenscope.cli.command import Command, DataDir, JsonFlag
from lenscope.cli.output import print_json, print_line, print_note, print_table
from lenscope.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Data(Command):
    """List, fetch, verify and locate the data sets known by name; pack a folder of pictures.

    list: what there is. fetch NAME: download what is not here yet. verify NAME: compare each file with its published
    hash. locate NAME: where its files are. pack FOLDER: decode its pictures into the cache, from where they are read in
    place; train does it itself where there are many.
    """

    action: tyro.conf.Positional[Literal["list", "fetch", "verify", "locate", "pack"]] = Field(description="what to do")
    name: tyro.conf.Positional[str] = Field("", description="data set, or a folder to pack")
    data_dir: DataDir = None
    skip_unreadable: bool = Field(default=False, description="pack without the pictures that cannot be read")
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Do it and print."""
        from lenscope.data.catalogue import find_entry

        if self.action != "list" and not self.name:
            raise UsageError(f"got no data set, expected a name; lenscope data {self.action} NAME")
        if self.name and self.action != "pack":
            find_entry(self.name)
        getattr(self, f"_{self.action}")()

    def _list(self) -> None:
        from lenscope.data.catalogue import CATALOGUE
        from lenscope.data.fetch import locate

        here = {name: locate(name, self.data_dir) is not None for name in CATALOGUE}
        if self.json_output:
            print_json([
                {"name": name, "title": entry.title, "here": here[name], "classes": len(entry.classes),
                 "licence": entry.licence, "home": entry.home}
                for name, entry in CATALOGUE.items()
            ])  # fmt: skip
            return
        rows = [
            (name, "here" if here[name] else "to fetch", str(len(entry.classes)), entry.licence)
            for name, entry in CATALOGUE.items()
        ]
        print_table([("name", "", "classes", "licence"), *rows])

    def _fetch(self) -> None:
        from lenscope.data.fetch import fetch

        print_note(f"fetching {self.name} …")
        self._print_paths(fetch(self.name, self.data_dir))

    def _locate(self) -> None:
        from lenscope.data.fetch import locate
        from lenscope.errors import DataError

        paths = locate(self.name, self.data_dir)
        if paths is None:
            raise DataError(f"{self.name}: not found here; fetch it with: lenscope data fetch {self.name}")
        self._print_paths(paths)

    def _verify(self) -> None:
        from lenscope.data.fetch import verify

        checks = verify(self.name, self.data_dir)
        if self.json_output:
            print_json([asdict(check) for check in checks])
        else:
            print_table([(check.name, check.state, str(check.path or ""), check.detail) for check in checks])
        if bad := [check.name for check in checks if check.state in {"wrong", "missing"}]:
            raise IntegrityError(f"{self.name}: wrong or missing: {', '.join(bad)}")

    def _pack(self) -> None:
        from lenscope import api

        begun = perf_counter()
        splits = api.load(
            self.name, data_dir=self.data_dir, skip_unreadable=self.skip_unreadable, pack=True, progress=True
        )
        seconds = perf_counter() - begun
        train, test, shape = len(splits.train), len(splits.test or ()), splits.train.images.shape[1:]
        total = (train + test) * math.prod(shape)
        if self.json_output:
            print_json(
                {"pack": str(splits.pack), "train": train, "test": test, "shape": shape, "bytes": total,
                 "skipped": dict(splits.skipped), "seconds": round(seconds, 2)}
            )  # fmt: skip
            return
        counted = f"{train:,} training and {test:,} test images of {'×'.join(map(str, shape))}"
        print_line(f"{splits.pack}: {counted}, {total:,} bytes, in {seconds:.1f} s")

    def _print_paths(self, paths: dict[str, Path]) -> None:
        if self.json_output:
            print_json({name: str(path) for name, path in paths.items()})
            return
        for path in paths.values():
            print_line(str(path))
