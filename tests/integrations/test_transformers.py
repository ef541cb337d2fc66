"""Layers inside a transformers model: saved in one process, they load unchanged in another."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vastmax.layers import LAYERS, build
from vastmax.vocabulary import Vocabulary

transformers = pytest.importorskip("transformers")

V, D = 120, 8
COUNTS = torch.randperm(V, generator=torch.Generator().manual_seed(0)) + 1
WORDS = Vocabulary([f"w{i}" for i in range(V)], range(V, 0, -1))  # for layers that read spelling


class Config(transformers.PretrainedConfig):
    model_type = "holder"


class Holder(transformers.PreTrainedModel):
    """Every layer of LAYERS behind one linear layer."""

    config_class = Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.body = torch.nn.Linear(D, D)
        self.layers = torch.nn.ModuleDict({name: build(name, D, WORDS if name == "cnn" else COUNTS) for name in LAYERS})
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Keep the initialisation from the constructor."""

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: layer.log_prob(self.body(inputs)) for name, layer in self.layers.items()}  # type: ignore[operator]


def inputs() -> torch.Tensor:
    return torch.randn(5, D, generator=torch.Generator().manual_seed(1))


def compare(folder: str) -> None:
    """In the other process, check every layer's log-probabilities and one training step."""
    model, wanted = Holder.from_pretrained(folder).eval(), torch.load(Path(folder) / "wanted.pt")
    for name, found in model(inputs()).items():
        torch.testing.assert_close(found, wanted[name], rtol=1e-6, atol=1e-6, msg=name)
        loss = model.layers[name](model.body(inputs()), torch.arange(5))
        loss.backward()
        assert loss.isfinite(), name


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_from_pretrained_in_another_process(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Holder(Config()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
        wanted = model(inputs())
    model.save_pretrained(tmp_path)
    torch.save(wanted, tmp_path / "wanted.pt")
    call = f"from tests.integrations.test_transformers import compare; compare({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
