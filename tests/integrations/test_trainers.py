"""Every layer in third-party trainers with AdamW and gradient clipping; sparse gradients raise one-sentence errors."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vastmax.errors import InputError
from vastmax.layers import LAYERS, build
from vastmax.vocabulary import Vocabulary

# the libraries import slowly and emit warnings about each other
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

D, V, STEPS = 8, 40, 30
WORDS = Vocabulary([f"w{i}" for i in range(V)], range(V, 0, -1))


class Heads(nn.Module):
    """Every layer of LAYERS behind one linear layer; the loss is the sum of their losses."""

    def __init__(self, **options: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(D, D)
        layers = {name: build(name, D, WORDS) for name in LAYERS}
        taking = {name: options if layer.sparse_parameters else {} for name, layer in layers.items()}
        self.layers = nn.ModuleDict({name: build(name, D, WORDS, **taking[name]) for name in LAYERS})

    def losses(self, inputs: Tensor, labels: Tensor) -> list[Tensor]:
        return [layer(self.body(inputs), labels) for layer in self.layers.values()]

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": torch.stack(self.losses(inputs, labels)).sum()}


class Pairs(Dataset):
    """64 hidden vectors and the classes they encode."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.labels = torch.randint(V, (64,), generator=generator)
        self.inputs = torch.randn(V, D, generator=generator)[self.labels]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return {"inputs": self.inputs[place], "labels": self.labels[place]}


def by_transformers(model: Heads, folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
    arguments = transformers.TrainingArguments(
        str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=32,
        learning_rate=0.03,
        optim="adamw_torch",
        max_grad_norm=1.0,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=Pairs())
    trainer.train()
    assert all(entry["grad_norm"] > 0 for entry in trainer.state.log_history if "grad_norm" in entry)


def by_lightning(model: Heads, folder: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.heads = model

        def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
            return self.heads(**batch)["loss"]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.03)

    trainer = lightning.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(Module(), DataLoader(Pairs(), batch_size=32))


def by_accelerate(model: Heads, folder: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.03)
    model, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(Pairs(), batch_size=32))
    for _ in range(STEPS // 2):
        for batch in loader:
            optimizer.zero_grad()
            accelerator.backward(model(**batch)["loss"])
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()


every_trainer = pytest.mark.parametrize("train", [by_transformers, by_lightning, by_accelerate])


@every_trainer
def test_every_layer_learns(train: Callable[[Heads, Path], None], tmp_path: Path) -> None:
    model, pairs = Heads(sparse=False), Pairs()

    def likelihoods() -> Tensor:
        hidden = model.body(pairs.inputs)
        layers = model.layers.values()
        return torch.stack([layer.target_log_prob(hidden, pairs.labels).mean() for layer in layers])  # type: ignore

    before = likelihoods().detach()
    train(model, tmp_path)
    risen = dict(zip(LAYERS, (likelihoods().detach() - before).tolist(), strict=True))
    assert min(risen.values()) > 0.1, risen


@every_trainer
def test_sparse_gradients_are_refused_in_a_sentence(train: Callable[[Heads, Path], None], tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^(torch does not clip|AdamW does not support) sparse gradients: build .*sparse=False, or "
    ):
        train(Heads(), tmp_path)
