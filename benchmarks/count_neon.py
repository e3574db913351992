"""The instructions that each kernel of the fused engine executes on 64-bit ARM (NEON), per image.

    python benchmarks/count_neon.py

Builds parts.cpp with Debian's cross compiler (g++-aarch64-linux-gnu) and calls each part once and twice in the emulator
(qemu-user), which logs every block of instructions that is executed; the difference is one call. `fma` are vector
multiply-adds of four lanes, `other` the other vector instructions, `loads` and `stores` the vector registers moved (a
pair is two), `scalar` the loads of offsets and pointers, `spills` the vector registers moved from and to the stack in
innermost loops.

No time is measured. A core that starts four vector instructions, three loads and eight instructions per cycle cannot
take fewer cycles than the largest of their quotients; `share` is the part of its peak that this leaves, an upper bound.
Apple's M1 is such a core (Dougall Johnson's measurements, https://dougallj.github.io/applecpu/firestorm.html).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
KERNELS = HERE.parent / "src" / "lenscope" / "native" / "kernels"
COMPILER, OBJDUMP, EMULATOR = "aarch64-linux-gnu-g++", "aarch64-linux-gnu-objdump", "qemu-aarch64"
VECTOR_STARTS, LOAD_STARTS, ALL_STARTS, LANES = 4, 3, 8, 4
VECTOR = re.compile(r"\b[vqds]\d+\b")
CONDITIONAL = re.compile(r"b\.|cbn?z|tbn?z")
PARTS = {  # and the images that a call takes
    "conv1 forward": 1,
    "conv2 forward": 1,
    "conv2 weight gradient": 1,
    "conv2 input gradient": 1,
    "conv1 weight gradient": 1,
    "fc1 forward": 8,
    "fc1 input gradient": 8,
    "fc1 weight gradient, Adam": 100,
}
NEEDED = dict(zip(PARTS, (117_600, 240_000, 60_000, 60_000, 29_400, 48_000, 48_000, 48_000), strict=True))


class Counts(NamedTuple):
    """Instructions per image; of loads, stores and spills the registers."""

    all: float
    fma: float
    other: float
    loads: float
    stores: float
    scalar: float
    spills: float

    @property
    def cycles(self) -> float:
        """At least."""
        loads = self.loads + self.scalar
        return max((self.fma + self.other) / VECTOR_STARTS, loads / LOAD_STARTS, self.all / ALL_STARTS)


Kinds = dict[int, Counter[str]]


def build(folder: Path) -> tuple[Path, Kinds]:
    """The program, and what each of the kernels' instructions counts as, by address."""
    cmake = (HERE.parent / "CMakeLists.txt").read_text()
    flags = re.findall(r"^set\(flags (.*)\)", cmake, re.MULTILINE)[0].split()
    program = folder / "parts"
    own = ["-std=c++20", "-static", "-w", "-DLENSCOPE_ISA=baseline", f"-I{KERNELS}"]
    subprocess.run([COMPILER, *flags, *own, HERE / "parts.cpp", "-o", program], check=True)
    listing = subprocess.run([OBJDUMP, "-d", "--no-show-raw-insn", program], check=True, capture_output=True, text=True)
    kinds: Kinds = {}
    for function in listing.stdout.split("\n\n"):
        if "lenscope" in function.partition("\n")[0]:
            lines = re.findall(r"^ +([0-9a-f]+):\t(\S+)\t?(.*)$", function, re.MULTILINE)
            code = {int(address, 16): (name, operands) for address, name, operands in lines}
            loops = innermost_loops(code)
            for address, (name, operands) in code.items():
                kinds[address] = count_as(name, operands, inner=any(address in loop for loop in loops))
    return program, kinds


def innermost_loops(code: dict[int, tuple[str, str]]) -> list[range]:
    """From where a conditional branch goes back to, up to it, if neither another loop nor a return is between.

    >>> innermost_loops({4: ("ldr", "q0, [x0]"), 8: ("b.ne", "4 <f+0x4>"), 12: ("cbz", "x1, 0 <f>")})
    [range(4, 9)]
    """
    loops = []
    for address, (name, operands) in code.items():
        target = re.search(r"([0-9a-f]+) <", operands)
        if CONDITIONAL.match(name) and target and int(target[1], 16) <= address:
            loops.append(range(int(target[1], 16), address + 1))
    returns = [address for address, (name, _) in code.items() if name == "ret"]  # a branch back to a shared ending
    loops = [loop for loop in loops if not any(address in loop for address in returns)]
    return [own for own in loops if not any(other != own and other[0] in own and other[-1] in own for other in loops)]


def count_as(name: str, operands: str, *, inner: bool) -> Counter[str]:
    """What an instruction counts as, in an innermost loop or outside.

    >>> count_as("fmla", "v0.4s, v1.4s, v2.s[0]", inner=True)
    Counter({'all': 1, 'fma': 1})
    >>> count_as("ldp", "q0, q1, [sp, #16]", inner=True)
    Counter({'loads': 2, 'spills': 2, 'all': 1})
    >>> count_as("ldrsw", "x0, [x1]", inner=True)
    Counter({'all': 1, 'scalar': 1})
    """
    counts = Counter(all=1)
    moves = name.startswith(("ld", "st", "prfm"))
    vectors = len(VECTOR.findall(operands.partition("[")[0] if moves else operands))
    if moves and vectors:
        counts["loads" if name.startswith("ld") else "stores"] = vectors
        if "[sp" in operands and inner:
            counts["spills"] = vectors
    elif moves and not name.startswith("st"):
        counts["scalar"] = 1
    elif vectors:
        counts["fma" if name in {"fmla", "fmls"} else "other"] = 1
    return counts


def count(program: Path, kinds: Kinds, part: str, calls: int, folder: Path) -> Counter[str]:
    """The instructions of a run that calls a part so many times."""
    log = folder / "log"
    own = f"{min(kinds):#x}..{max(kinds):#x}"
    options = ("-d", "in_asm,exec,nochain", "-dfilter", own, "-D", log)
    subprocess.run([EMULATOR, *options, program, part, str(calls)], check=True)
    blocks: dict[int, list[int]] = {}
    executed, start = Counter[int](), None
    with log.open(errors="replace") as lines:
        for line in lines:
            if line.startswith("0x"):
                address = int(line.partition(":")[0], 16)
                if start is None:
                    start = address
                    blocks[start] = []
                blocks[start].append(address)
            elif line.startswith("IN:"):
                start = None
            elif line.startswith("Trace"):
                executed[int(line.split("/")[1], 16)] += 1
    found = Counter[str]()
    for first, times in executed.items():
        for address in blocks.get(first, ()):
            for name, number in kinds.get(address, {}).items():
                found[name] += number * times
    return found


def measure(part: str, program: Path, kinds: Kinds, folder: Path) -> Counts:
    """The instructions of a part, per image."""
    one, two = (count(program, kinds, part, calls, folder) for calls in (1, 2))
    return Counts(*((two[name] - one[name]) / PARTS[part] for name in Counts._fields))


def share_of_peak(part: str, counts: Counts) -> float:
    """At most."""
    return NEEDED[part] / LANES / VECTOR_STARTS / counts.cycles


def main() -> None:
    """Build, count, print."""
    heads = ("needed", "fma × 4", "other", "loads", "stores", "scalar", "spills", "needed/load", "share")
    print(f"{'part':<26}", *(f"{head:>8}" for head in heads))
    with tempfile.TemporaryDirectory() as name:
        program, kinds = build(Path(name))
        for part in sys.argv[1:] or PARTS:
            own = measure(part, program, kinds, Path(name))
            numbers = (NEEDED[part], own.fma * LANES, own.other, own.loads, own.stores, own.scalar, own.spills)
            ratios = f"{NEEDED[part] / own.loads:11.1f}", f"{share_of_peak(part, own):8.0%}"
            print(f"{part:<26}", *(f"{number:8,.0f}" for number in numbers), *ratios, flush=True)


if __name__ == "__main__":
    main()
