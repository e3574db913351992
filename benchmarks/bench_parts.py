"""Time per image of each kernel of the fused engine: nanoseconds on one thread, and share of the peak.

    python benchmarks/bench_parts.py            for the best instruction set of this processor
    python benchmarks/bench_parts.py avx2
    python benchmarks/bench_parts.py wasm       in Node, built by ziglang

Builds parts.cpp with the C++ compiler on the path. The share is the number of multiply-adds that the kernel needs (the
gradient of max pooling reaches one value in four), relative to those of a loop in registers in the same time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from lenscope import native

HERE = Path(__file__).parent
SOURCES = HERE.parent / "src" / "lenscope" / "native" / "kernels"
FLAGS = {
    "avx512": "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mavx2 -mfma -mf16c -mprefer-vector-width=512",
    "avx2": "-mavx2 -mfma",
    "baseline": "",
    "wasm": "-target wasm32-wasi -msimd128",
}
NODE = """
const { readFileSync } = require("node:fs"), { WASI } = require("node:wasi");
const wasi = new WASI({ version: "preview1", args: ["parts"] });
WebAssembly.instantiate(readFileSync(process.argv[1]), wasi.getImportObject()).then((it) => wasi.start(it.instance));
"""


def main() -> None:
    """Build, run, print."""
    isa = sys.argv[1] if len(sys.argv) > 1 else native.instruction_set()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "parts"
        flags = ["-O3", "-std=c++20", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-w"]
        name, compiler, command = isa, [os.environ.get("CXX", "c++")], [str(program)]
        if isa == "wasm":
            name, compiler = "baseline", [sys.executable, "-m", "ziglang", "c++"]
            command = ["node", "--no-warnings", "--no-liftoff", "-e", NODE, str(program)]
        source = [f"-I{SOURCES}", f"-DLENSCOPE_ISA={name}", str(HERE / "parts.cpp"), "-o", str(program)]
        subprocess.run([*compiler, *flags, *FLAGS[isa].split(), *source], check=True)
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [
        (part, float(nanoseconds), float(needed))
        for part, nanoseconds, needed, _ in (line.rsplit(",", 3) for line in lines)
    ]
    peak = rows[0][1] / 1e3  # GMAC/s, which is multiply-adds per nanosecond
    print(f"{isa}, one thread, peak {peak:.1f} GMAC/s\n")
    for part, nanoseconds, needed in rows[1:]:
        share = f"{needed / peak / nanoseconds:6.0%}" if needed else ""
        print(f"{part:<26}{nanoseconds:7.0f} ns {share}")
    print(f"{'sum':<26}{sum(row[1] for row in rows[1:]):7.0f} ns")


if __name__ == "__main__":
    main()
