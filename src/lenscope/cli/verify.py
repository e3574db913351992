"""`lenscope verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import tyro
from pydantic import Field

from lenscope.cli.command import Command, DataDir, JsonFlag, OwnData
from lenscope.cli.output import print_json, print_line, print_table
from lenscope.errors import RunError

VERDICTS = {True: "ok", False: "BROKEN", None: "unknown"}
UNKNOWN = "its files are sound; the replay cannot be compared to the bit here"


class Verify(Command):
    """Compare every file of a run with its manifest, and the files with one another; exit code 1 if one is broken."""

    run: tyro.conf.Positional[Path] = Field(description="run directory")
    replay: bool = Field(default=False, description="train it again as well, and compare to the last bit")
    from_checkpoint: bool = Field(
        default=False, description="replay from the oldest checkpoint that is kept, instead of from the beginning"
    )
    data: OwnData = None
    data_dir: DataDir = None
    quiet: bool = Field(default=False, description="show no progress of the replay")
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Verify, and print a line for each file."""
        from lenscope import api

        found = api.verify(
            self.run,
            data=self.data,
            replay=self.replay,
            from_checkpoint=self.from_checkpoint,
            progress=not self.quiet,
            data_dir=self.data_dir,
        )
        broken = [finding for finding in found if finding.sound is False]
        verdict = False if broken else None if any(finding.sound is None for finding in found) else True
        if self.json_output:
            print_json({"run": str(self.run), "sound": verdict, "findings": [asdict(finding) for finding in found]})
        else:
            rows = [(finding.part, VERDICTS[finding.sound], finding.says) for finding in found]
            print_table([("file", "is", "holds"), *rows])
        if broken:
            parts = ", ".join(dict.fromkeys(finding.part for finding in broken))
            raise RunError(f"{self.run}: not what it should be: {parts}; restore it from a copy, or train it again")
        if not self.json_output:
            print_line(f"{self.run}: {'sound' if verdict else UNKNOWN}")
