"""The commands of a page of the documents, each shortened to a small run of the same command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

TRAIN = "--epochs 1 --train-images 50 --no-pictures --no-report --quiet"
FEW = "--seeds 2 --processes 1 --quiet"
# What is appended for each verb; an option that stands twice counts as it stands last.
RULES = {
    "train": TRAIN,
    "reproduce": f"--data DIGITS --epochs 1 --batch-size 20 --first-epoch-seeds 2 {FEW}",
    "race": f"--data DIGITS --epochs 1 --batch-size 20 --rates 1 --search-seeds 1 --validation 6 {FEW}",
    "initlab": f"--data DIGITS --labels 20 --pretrain-epochs 1 --batch-size 20 {FEW}",
    "longrun": f"--data DIGITS --epochs 1 --batch-size 20 --variants plain {FEW}",
    "sweep": f"--data DIGITS --set epochs=1 --set batch_size=20 {FEW}",
    "film": "--out film.gif",
    "report": "--out page.html",
    "bench": "--engines fused --images 100 --rounds 1 --batch-sizes 20 --threads 1",
} | dict.fromkeys(
    [
        "open",
        "insight",
        "plot",
        "evaluate",
        "predict",
        "runs",
        "verify",
        "compare",
        "summary",
        "data",
        "doctor",
        "lab",
    ],
    "",
)
EXPERIMENTS = {"reproduce", "race", "initlab", "longrun", "sweep"}
NOT_RUN = {  # the beginning of a command: why
    "lenscope train --data fashion-mnist": "downloads",
    "lenscope data fetch": "downloads",
    "lenscope sweep --backend ray": "needs Ray",
    "lenscope lab sweep --backend ray": "needs Ray",
    "py -m venv": "only on Windows",
    ".venv\\Scripts\\": "only on Windows",
    "make ": "tests/end_to_end/test_readme.py looks for its target",
    "pip install": "needs the network",
    "uvx ": "needs the network",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun": "tests/end_to_end/test_torchrun.py runs it",
}


class Shortened(NamedTuple):
    """A command as a test runs it: the arguments of `lenscope`, or the reason why it is not run."""

    arguments: list[str]
    reason: str = ""


def commands(page: str) -> list[str]:
    """The commands of a page without comments: in indented blocks, in fenced ones without a language, in tables."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(
        r"(?:^|\n\n)((?: {4}.*\n)+)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    in_table = re.findall(r"^\| `(lenscope .*?)` \|", text, re.MULTILINE)
    lines = "\n".join([*fenced, *indented, *in_table]).replace("\\\n", " ").splitlines()
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [line for line in stripped if line]


def shorten(command: str, names: dict[str, str]) -> Shortened:
    """A command with the rule of its verb, and with names such as RUN or DIGITS replaced.

    Raises:
        KeyError: no rule for the verb.
    """
    for start, reason in NOT_RUN.items():
        if command.startswith(start):
            return Shortened([], reason)
    program, verb, *rest = shlex.split(command.replace(".venv/bin/", ""))
    if program != "lenscope":
        raise KeyError(program)
    rule = RULES[rest[0] if verb == "lab" and rest and rest[0] in EXPERIMENTS else verb]
    if "--resume" in rest:
        rule = f"--epochs {3 if '--epochs' in rest else 2} --no-pictures --no-report --quiet"
    return Shortened([names.get(word, word) for word in (verb, *rest, *rule.split())])
