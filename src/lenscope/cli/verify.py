"""`lenscope verify`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import tyro
from pydantic import Field

import lenscope
from lenscope.cli.command import DataDir, OfRun
from lenscope.cli.output import table
from lenscope.errors import RunError

VERDICTS = {True: "ok", False: "BROKEN", None: "unknown"}
UNKNOWN = "its files are sound; the replay cannot be compared bit for bit on this machine"


class Verify(OfRun):
    """Compare every file of a run with its manifest and check that the files are consistent; exit code 1 if not."""

    replay: bool = Field(default=False, description="also train the run again and compare it bit for bit")
    from_checkpoint: bool = Field(
        default=False, description="replay from the oldest checkpoint in the run instead of from the start"
    )
    data: Annotated[str | None, tyro.conf.arg(metavar="NAME|DIR")] = Field(
        None, description="where the run's training data are now, if they were moved"
    )
    data_dir: DataDir = None
    quiet: bool = Field(default=False, description="do not show the progress of the replay")

    def execute(self) -> None:
        """Verify, and print one line per file."""
        found = lenscope.verify(
            self.run,
            data=self.data,
            replay=self.replay,
            from_checkpoint=self.from_checkpoint,
            progress=not self.quiet,
            data_dir=self.data_dir,
        )
        broken = dict.fromkeys(finding.part for finding in found if finding.sound is False)
        # The files that a replay compares are listed once more.
        replayed = len({finding.part for finding in found}) < len(found)
        verdict = False if broken else None if any(finding.sound is None for finding in found) else True
        rows = [(finding.part, VERDICTS[finding.sound], finding.says) for finding in found]
        conclusion = [] if broken else [f"{self.run}: {'sound' if verdict else UNKNOWN}"]
        self.show(
            {"run": str(self.run), "sound": verdict, "findings": [asdict(finding) for finding in found]},
            *table(("file", "state", "content"), *rows),
            *conclusion,
        )
        if broken:
            without = "not replayed; " if (self.replay or self.from_checkpoint) and not replayed else ""
            raise RunError(
                f"{self.run}: broken: {', '.join(broken)}; {without}restore it from a copy, or train it again"
            )
