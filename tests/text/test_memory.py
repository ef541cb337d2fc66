import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
import sys
from vastmax.text import encode_corpus
corpus = encode_corpus(sys.argv[1], threads=2, phrases=int(sys.argv[2]))
lines = open("/proc/self/status").read().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), corpus.num_words)
"""


@pytest.mark.parametrize("phrases", [0, 1])
def test_peak_does_not_grow_with_the_corpus(tmp_path: Path, phrases: int) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the system does not tell a process's peak memory")
    random = np.random.default_rng(3)
    words = random.zipf(1.4, 800_000) % 30_000
    text = " ".join(map(str, words.tolist())) + "\n"

    def peak(times: int) -> int:
        path = tmp_path / "text"
        with path.open("w") as file:
            for _ in range(times):
                file.write(text)
        command = [sys.executable, "-c", PROGRAM, str(path), str(phrases)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        kilobytes, num_words = map(int, run.stdout.split())
        assert num_words > 600_000 * times
        return kilobytes

    # 45 MB more text and ids; phrases add the documented two bytes per word (256 MB at most) for the bounds of pairs
    assert peak(20) - peak(4) < 12_000 + phrases * 2 * 16_000
