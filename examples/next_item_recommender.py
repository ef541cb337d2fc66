"""Next-item recommendation: a GRU over the items of a session, with any vastmax output layer over all items.

    python examples/next_item_recommender.py --output-layer full
    python examples/next_item_recommender.py --data ml-100k.inter --steps 2000

The data are RecBole's .inter files, or lines of "user item item …". Without --data, sessions are the functions of
Python's standard library, and items are the names that they call, as in code completion. The last item of each session
is held out: HR@10 is how often it is among the ten best; NDCG@10 counts 1/log2(1 + rank) for it.

After Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, 2016, https://arxiv.org/abs/1511.06939.
"""

from __future__ import annotations

import argparse
import ast
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vastmax.layers import LAYERS, OutputLayer, build
from vastmax.vocabulary import Vocabulary

LENGTH, NO_TARGET = 20, -100  # last items kept of a session; `ignore_index` of output layers


def called_names() -> list[list[str]]:
    """Return the names that each function of the standard library calls, in order."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    sessions = []
    for function in (node for node in nodes if isinstance(node, ast.FunctionDef)):
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        calls.sort(key=lambda call: (call.end_lineno or 0, call.end_col_offset or 0))
        sessions.append([ast.unparse(call.func).rpartition(".")[2] for call in calls])
    return sessions


def read(path: Path | None) -> list[list[str]]:
    """Return the items of each user or session, in order of time."""
    if path is None:
        return called_names()
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix != ".inter":
        return [row[1:] for row in rows]
    user, item, time = map(rows[0].index, ("user_id:token", "item_id:token", "timestamp:float"))
    users: dict[str, list[str]] = defaultdict(list)
    for row in sorted(rows[1:], key=lambda row: float(row[time])):
        users[row[user]].append(row[item])
    return list(users.values())


class Recommender(nn.Module):
    """A GRU that computes a hidden vector for each item, and an output layer that predicts the next one."""

    def __init__(self, dim: int, vocabulary: Vocabulary, output_layer: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(vocabulary), dim)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.output: OutputLayer = build(output_layer, dim, vocabulary)

    def forward(self, items: Tensor) -> Tensor:
        """Return the mean loss of items (sessions, length + 1), padded with NO_TARGET, each after the first."""
        hidden, _ = self.gru(self.embedding(items[:, :-1].clamp(min=0)))
        return self.output(hidden, items[:, 1:], ignore_index=NO_TARGET)

    @torch.no_grad()
    def evaluate(self, sessions: list[Tensor]) -> tuple[float, float]:
        """Return HR@10 and NDCG@10 of the last item of each session."""
        items = pad_sequence([session[:-1] for session in sessions], batch_first=True)
        hidden, _ = self.gru(self.embedding(items))
        last = hidden[range(len(sessions)), [len(session) - 2 for session in sessions]]
        _, best = self.output.topk(last, min(10, self.output.num_classes))
        hits = (best == torch.stack([session[-1] for session in sessions])[:, None]).float()
        return float(hits.sum(1).mean()), float((hits / torch.log2(torch.arange(best.shape[1]) + 2.0)).sum(1).mean())


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Train, and return HR@10 before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FILE")
    parser.add_argument("--output-layer", choices=LAYERS, default="full")
    for name, default in (("steps", 1000), ("rows", 32), ("dim", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    names = [session for session in read(options.data) if len(session) >= 3]
    vocabulary = Vocabulary.from_counts(Counter(name for session in names for name in session[:-1]))
    known = [[vocabulary[name] for name in session if name in vocabulary] for session in names]
    sessions = [torch.tensor(session[-LENGTH:]) for session in known if len(session) >= 3]
    model = Recommender(options.dim, vocabulary, options.output_layer)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)  # as in the paper; it accepts sparse gradients

    before = after = model.evaluate(sessions)
    print(f"{len(sessions):,} sessions, {len(vocabulary):,} items; {options.output_layer}")
    print(f"untrained: HR@10 {before[0]:.3f}, NDCG@10 {before[1]:.3f}")
    for step in range(1, options.steps + 1):
        chosen = [sessions[i][:-1] for i in torch.randint(len(sessions), (options.rows,)).tolist()]
        loss = model(pad_sequence(chosen, batch_first=True, padding_value=NO_TARGET))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % max(options.steps // 5, 1) == 0 or step == options.steps:
            after = model.evaluate(sessions)
            print(f"step {step}: loss {loss:.2f}, HR@10 {after[0]:.3f}, NDCG@10 {after[1]:.3f}")
    return before[0], after[0]


if __name__ == "__main__":
    main()
