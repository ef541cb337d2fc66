"""Run the tests marked ``numerics`` at each SIMD level below the processor's best: ``make numerics``.

This finds failures that occur only on older processors. The whole suite covers the best level. ``--next`` runs only the
level just below it.
"""

import os
import subprocess
import sys

from vastmax import _core

LEVELS = {
    "avx512": {},
    "avx2": {"VASTMAX_SIMD": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "plain": {"VASTMAX_SIMD": "plain", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}


def main(arguments: list[str]) -> int:
    best, *below = _core.simd_levels()
    left = []
    if arguments[:1] == ["--next"]:
        below, left, arguments = below[:1], below[1:], arguments[1:]
    skipped = [f"{level}, left to make nightly" for level in left]
    skipped += [f"{best}, the best here, at which the whole suite runs"]
    skipped += [f"{level}, which this processor lacks" for level in LEVELS if level not in _core.simd_levels()]
    print(f"levels: {', '.join(below) or 'none'}; skipped: {'; '.join(skipped)}", flush=True)
    red = []
    for level in below:
        print(f"-- {level}: {' '.join(f'{name}={value}' for name, value in LEVELS[level].items())}", flush=True)
        # one thread per worker: with two torch threads in each of two workers they would compete for the cores
        environment = {**os.environ, **LEVELS[level], "OMP_NUM_THREADS": "1"}
        pytest = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "numerics", *arguments]
        if subprocess.run(pytest, env=environment).returncode:
            red.append(level)
    if red:
        print(f"red: {', '.join(red)}")
    return bool(red)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
