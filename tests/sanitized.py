"""Run the core's tests on a core built with sanitizers.

    python -m tests.sanitized address,undefined [pytest's arguments]
    python -m tests.sanitized thread [pytest's arguments]

Python itself is built without sanitizers, so the sanitizer's library is preloaded. Leak detection is off: Python's own
leaks at exit cannot be distinguished from ours.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE = "VASTMAX_SANITIZED_CORE"
LIBRARIES = {"address,undefined": ("libasan.so", "libubsan.so"), "thread": ("libtsan.so",)}
OPS = [
    f"tests/ops/test_{name}.py"
    for name in (
        "adagrad_rows",
        "adam_rows",
        "bigrams",
        "coalesced",
        "guarded_draws",
        "log_sums",
        "ragged_logits",
        "row_estimates",
        "row_losses",
        "sum_tree",
    )
]
TESTS = {
    "address,undefined": ["tests/text", "tests/trees", "tests/vocabulary", "tests/embeddings", *OPS],
    "thread": [
        "tests/text",
        "tests/embeddings/trainers/test_compiled.py",
        "tests/embeddings/trainers/test_subwords.py",
        "tests/embeddings/tables",
        "tests/trees",
        *OPS,
    ],
}
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=2048",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": f"suppressions={ROOT / 'tests' / 'races.txt'}:halt_on_error=1:ignore_noninstrumented_modules=1",
}


def build(sanitizers: str) -> Path:
    """Build the core with these sanitizers and return its path."""
    folder = ROOT / "build" / sanitizers.replace(",", "-")
    nanobind = subprocess.run(
        [sys.executable, "-m", "nanobind", "--cmake_dir"], check=True, capture_output=True, text=True
    ).stdout.strip()
    given = [f"-DVASTMAX_SANITIZE={sanitizers}", f"-DPython_EXECUTABLE={sys.executable}", f"-Dnanobind_DIR={nanobind}"]
    subprocess.run(["cmake", "-S", ROOT, "-B", folder, "-DCMAKE_BUILD_TYPE=Release", *given], check=True)
    subprocess.run(["cmake", "--build", folder, "--parallel", "2"], check=True)
    (core,) = folder.glob("_core*.so")
    return core


def library(name: str) -> str:
    """Return the path of the compiler's sanitizer library."""
    compiler = os.environ.get("CXX", "c++")
    return subprocess.run(
        [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
    ).stdout.strip()


def load(core: str) -> None:
    """Load this core instead of the installed one, once."""
    if "vastmax._core" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location("vastmax._core", core)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["vastmax._core"] = module
    spec.loader.exec_module(module)


def main(arguments: list[str]) -> int:
    if CORE in os.environ:
        import pytest

        load(os.environ[CORE])
        del os.environ["LD_PRELOAD"]  # subprocesses of tests run without it
        return pytest.main(arguments)
    sanitizers, *more = arguments
    environment = {
        **OPTIONS,
        **os.environ,
        CORE: str(build(sanitizers)),
        "LD_PRELOAD": " ".join(map(library, LIBRARIES[sanitizers])),
        "OMP_NUM_THREADS": "1",
    }
    tests = [] if any(not each.startswith("-") for each in more) else TESTS[sanitizers]
    command = [sys.executable, "-m", "tests.sanitized", "-q", "-x", *tests, *more]
    return subprocess.run(command, env=environment, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
