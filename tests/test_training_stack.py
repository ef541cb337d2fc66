"""The scripts of the page "In your training stack" run."""

import re
import socket
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "training-stack.md"
FIRST, *SECTIONS = PAGE.read_text(encoding="utf-8").split("\n## ")
HOSTS = {"Transformers Trainer", "Lightning", "Accelerate"}
SLOW = {*HOSTS, "Compilation"}


def scripts(text: str) -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def section(text: str):
    title = text.split("\n")[0]
    return pytest.param(title, text, id=title, marks=[pytest.mark.slow] if title in SLOW else [])


@pytest.mark.filterwarnings("ignore")  # warnings of the frameworks about each other
@pytest.mark.parametrize(("title", "text"), [section(each) for each in SECTIONS])
def test_scripts_run(title: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("accelerate", "lightning", "transformers") if title in HOSTS else ():
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    with socket.socket() as free:  # the variables that torchrun sets
        free.bind(("127.0.0.1", 0))
        told = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1]}
    for name, value in told.items() if "torchrun" in text else ():
        monkeypatch.setenv(name, str(value))
    script = scripts(text)
    assert script, "every section shows what it claims"
    exec(compile(scripts(FIRST) + script, title, "exec"), {"__name__": title})
