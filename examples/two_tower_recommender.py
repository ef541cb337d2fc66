"""A two-tower recommender on one or more processes: the negatives of each row are the items of all rows.

    python examples/two_tower_recommender.py
    torchrun --standalone --nproc-per-node 2 examples/two_tower_recommender.py
    torchrun --standalone --nproc-per-node 2 examples/two_tower_recommender.py --items table

Users are the functions of Python's standard library, and items are the names that they call. The last item of each user
is held out: recall@20 is how often it is among the best 20 items that the user has not had.

A "tower" computes an item's vector from its features: its id and the character trigrams of its name. A "table" has one
vector per item, sharded over the processes, for more items than fit on one machine. Yi et al., Sampling-Bias-Corrected
Neural Modeling for Large Corpus Item Recommendations, 2019, https://doi.org/10.1145/3298689.3346996.
"""

import argparse
import gc
import os
import zlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.rnn import pad_sequence

from next_item_recommender import called_names
from vastmax.distributed import all_rows, shard_classes
from vastmax.layers import build, in_batch_softmax
from vastmax.optimizers import SparseAwareOptimizer
from vastmax.proposals import UnigramProposal
from vastmax.vocabulary import Vocabulary

LENGTH, BEST, LETTERS = 20, 20, 4096


class ItemTower(nn.Module):
    """Item vectors from features, with the methods of an output layer that this example needs."""

    def __init__(self, items: Vocabulary, dim: int, mesh: DeviceMesh) -> None:
        super().__init__()
        parts = [{f"<{word}>"[i : i + 3] for i in range(len(word))} for word in items.words]
        letters = [sorted(1 + zlib.crc32(part.encode()) % LETTERS for part in of) for of in parts]
        features = [torch.tensor([LETTERS + 1 + item, *of]) for item, of in enumerate(letters)]
        self.features, self.mesh = pad_sequence(features, batch_first=True), mesh
        vectors = torch.rand(LETTERS + 1 + len(items), dim) * 0.25 - 0.125
        self.bag = DistributedDataParallel(nn.EmbeddingBag(*vectors.shape, _weight=vectors, mode="sum", padding_idx=0))
        self.log_prob = UnigramProposal(items.counts, power=1).log_prob  # of an item being drawn into a batch

    def forward(self, queries: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each query's item against the items of all processes, corrected for popularity."""
        vectors, own = all_rows(self.bag(self.features[target]), self.mesh)
        ids, _ = all_rows(target, self.mesh)  # the same item in another row is not a negative
        return in_batch_softmax(queries, vectors, self.log_prob(ids), ids, own=own)

    def topk(self, queries: Tensor, k: int, *, exclude: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and items (N, k), without those in `exclude` (N, length), which is padded with -1."""
        return best(queries @ self.bag(self.features).T, k, exclude)


def best(scores: Tensor, k: int, exclude: Tensor) -> tuple[Tensor, Tensor]:
    """Return the k largest of scores (N, V) and their items, both (N, k), without those in `exclude`."""
    scores = torch.cat([scores, scores[:, :1]], 1)  # a last column for -1
    return scores.scatter(1, exclude % scores.shape[1], -torch.inf).topk(k)


def read() -> tuple[Vocabulary, Tensor, Tensor]:
    """Return the vocabulary, each user's items (U, length), padded with -1, and the held-out items (U,)."""
    users = [list(dict.fromkeys(names)) for names in called_names()]
    items = Vocabulary.from_counts(Counter(name for names in users for name in names[:-1]))
    rows = [torch.tensor([items[name] for name in names if name in items][-LENGTH:]) for names in users]
    rows = [row for row in rows if len(row) >= 3]
    had = pad_sequence([row[:-1] for row in rows], batch_first=True, padding_value=-1)
    return items, had, torch.stack([row[-1] for row in rows])


def train(options: argparse.Namespace, mesh: DeviceMesh) -> tuple[float, float]:
    """Train; all processes draw the same rows, and process r of n takes rows r, r + n, r + 2n, …."""
    torch.manual_seed(0)
    mine = slice(mesh.get_local_rank(), None, mesh.size())
    items, had, wanted = read()
    bag = nn.EmbeddingBag(len(items) + 1, options.dim, padding_idx=0)  # of the user's items, by item + 1; 0 pads
    layers = nn.Linear(options.dim, 128), nn.ReLU(), nn.Linear(128, options.dim)
    users = DistributedDataParallel(nn.Sequential(bag, *layers))
    if options.items == "tower":
        output = ItemTower(items, options.dim, mesh)
    else:
        output = shard_classes(build("sampled", options.dim, items, in_batch=True), mesh)
    optimizer = SparseAwareOptimizer([users, output], "adam", 3e-3)

    popular = torch.tensor(items.counts, dtype=torch.float32).expand(len(had), -1)
    before = after = float((best(popular, BEST, had)[1] == wanted[:, None]).sum()) / len(wanted)
    say = print if mesh.get_local_rank() == 0 else lambda _: None
    say(f"{len(had):,} users, {len(items):,} items in a {options.items}; processes: {mesh.size()}")
    say(f"the most popular: recall@{BEST} {before:.3f}")
    for step in range(1, options.steps + 1):
        some = torch.randint(len(had), (options.rows,))
        place = (torch.rand(options.rows) * (had[some] >= 0).sum(1)).long()[:, None]
        target, others = had[some].gather(1, place).squeeze(1), had[some].scatter(1, place, -1)
        output(users(others[mine] + 1), target[mine]).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % max(options.steps // 4, 1) == 0 or step == options.steps:
            with torch.no_grad():
                _, found = output.topk(users(had[mine] + 1), BEST, exclude=had[mine])
            distributed.all_reduce(hits := (found == wanted[mine, None]).sum())
            say(f"step {step}: recall@{BEST} {(after := float(hits) / len(wanted)):.3f}")
    return before, after


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Train, and return recall@20 of the most popular items and of the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", choices=("tower", "table"), default="tower")
    for name, default in (("steps", 200), ("rows", 256), ("dim", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)
    alone = {} if "RANK" in os.environ else {"store": distributed.HashStore(), "rank": 0, "world_size": 1}
    distributed.init_process_group("gloo", **alone)  # "nccl" on GPUs
    found = train(options, init_device_mesh("cpu", (distributed.get_world_size(),)))
    gc.collect()  # a wrapper that still refers to the group would keep its threads alive
    distributed.destroy_process_group()
    return found


if __name__ == "__main__":
    main()
