"""Runs a command under the instruction sets that this processor has, from the plainest to the best.

    python tools/instruction_sets.py                        list them
    python tools/instruction_sets.py plain avx2 -- COMMAND  run a command under some of them
    python tools/instruction_sets.py all -- COMMAND         run it under each; lesser: under each but the best

Libraries choose their instructions when they are loaded. The environment holds them to fewer: ATen, oneDNN and MKL in
torch, OpenBLAS in NumPy and SciPy, NumPy's own loops, and the functions of glibc. ONNX Runtime cannot be held.
"""

import os
import platform
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

SETS = {
    # Name: flags of processors that have it, first letters of NumPy's features that go beyond it, settings.
    "plain": (
        {"sse4_2"},
        ("",),
        "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem "
        "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-AVX512F,-AVX512VL",
    ),
    "avx2": (
        {"avx2", "fma"},
        ("AVX512", "X86_V4"),
        "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell "
        "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL",
    ),
    "avx512": (
        {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
        ("AVX512_CLX", "AVX512_CNL", "AVX512_ICL", "AVX512_SPR"),
        "ATEN_CPU_CAPABILITY=avx512 ONEDNN_MAX_CPU_ISA=AVX512_CORE MKL_ENABLE_INSTRUCTIONS=AVX512 "
        "OPENBLAS_CORETYPE=SkylakeX",
    ),
    "best": (set[str](), (), ""),
}


def find_sets() -> list[str]:
    """Return the names of the sets that this processor has; `best`, what libraries choose themselves, is the last."""
    flags = set()
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() == "x86_64" and cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        flags = set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
    return [name for name, (needed, _, _) in SETS.items() if needed <= flags]


def settings(name: str) -> dict[str, str]:
    """Return the variables of the environment that hold libraries to a set."""
    _, beyond, text = SETS[name]
    values = dict(item.split("=", 1) for item in text.split())
    if beyond:
        numpy_core = import_module("numpy._core._multiarray_umath")
        features = [one for one in numpy_core.__cpu_dispatch__ if numpy_core.__cpu_features__[one]]
        values["NPY_DISABLE_CPU_FEATURES"] = " ".join(one for one in features if one.startswith(beyond))
    return values


def main(arguments: list[str]) -> int:
    """List the sets, or run a command under those that are named; return the first exit status that is not 0."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    found, named, command = find_sets(), arguments[:cut], arguments[cut + 1 :]
    if not {*found, "all", "lesser"}.issuperset(named) or bool(named) != bool(command):
        print(__doc__, f"This processor has {', '.join(found)}.", sep="\n")
        return 2
    chosen = [name for name in found if not {name, "all", "best" if name == "best" else "lesser"}.isdisjoint(named)]
    for name in chosen if command else found:
        values = settings(name)
        print(f"{name}:", *(f"{key}={shlex.quote(value)}" for key, value in values.items()), flush=True)
        if command and (status := subprocess.run(command, env=os.environ | values, check=False).returncode):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
