"""``import vastmax`` is instant and drags in nothing heavy."""

import json
import statistics
import subprocess
import sys

HEAVY = ["torch", "matplotlib", "typer", "click", "rich", "gensim", "scipy", "pandas"]
MEASURE = """
import json, sys, time
start = time.perf_counter()
import vastmax
print(json.dumps({"seconds": time.perf_counter() - start, "loaded": sorted(sys.modules)}))
"""


def run(program: str) -> dict:
    return json.loads(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    )


def test_import_takes_less_than_a_third_of_a_second() -> None:
    runs = [run(MEASURE) for _ in range(5)]
    assert statistics.median(run["seconds"] for run in runs) < 0.3
    assert [name for name in HEAVY if name in runs[0]["loaded"]] == []


def test_public_names_load_nothing_heavy() -> None:
    program = """
import json, sys, vastmax
names = [name for name in vastmax.__all__ if getattr(vastmax, name) is None]
print(json.dumps({"missing": names, "loaded": sorted(sys.modules)}))
"""
    outcome = run(program)
    assert outcome["missing"] == []
    assert [name for name in HEAVY if name in outcome["loaded"]] == []


def test_the_compiled_engine_loads_no_torch() -> None:
    program = """
import json, sys
from vastmax.cli.app import run
import tempfile
with tempfile.TemporaryDirectory() as folder:
    with open(f"{folder}/text.txt", "w") as text:
        text.write("some words and some more words\\n" * 20)
    code = run(["train", f"{folder}/text.txt", "-o", f"{folder}/model", "--dim", "4", "--threads", "1"])
print(json.dumps({"code": code, "torch": "torch" in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {"code": 0, "torch": False}


def test_public_names_are_listed() -> None:
    import vastmax

    assert set(vastmax.__all__) <= set(dir(vastmax))
