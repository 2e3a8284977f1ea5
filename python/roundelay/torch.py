"""Batches for PyTorch: the same for any number of workers, and exactly those that are left after a checkpoint.

    loader = roundelay.torch.DataLoader("dataset", batch=16, num_workers=2, pin_memory=True)
    for batch in loader:                    # one epoch; the next loop is the next one
        loss = model(batch["input"], batch["target"], batch["weights"])
        checkpoint = {"model": model.state_dict(), "data": loader.state_dict()}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils import data

from . import Loader

__all__ = ["DataLoader", "Dataset"]

#: What `roundelay.Loader` says a batch is, with tensors for arrays.
Batch = dict[str, Any]

#: What of a batch becomes a tensor; all but the last two are `[row, stream, step]`.
TENSORS = ("input", "target", "weights", "reasons", "segment_ids", "places")

#: What of PyTorch's loader is decided here. Workers that persist would begin where the epoch before began.
DECIDED = ("batch_size", "batch_sampler", "collate_fn", "drop_last", "persistent_workers", "sampler", "shuffle")


class Dataset(data.IterableDataset[Batch]):
    """The batches of some epochs from a place on, for a `torch.utils.data.DataLoader` with `batch_size=None`.

    A worker makes every n-th of them, and PyTorch takes from its workers in turn: so they come in order. Each opens the
    files by itself. Arguments and options are those of `roundelay.Loader`; without `rank` and `world` they are those of
    `torch.distributed` where that is set up.
    """

    def __init__(self, *arguments: Any, place: tuple[int, int] = (0, 0), epochs: int = 1, **options: Any) -> None:
        if epochs < 1:
            raise ValueError(f"epochs is {epochs}, expected at least 1")
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            options.setdefault("rank", torch.distributed.get_rank())
            options.setdefault("world", torch.distributed.get_world_size())
        self.arguments, self.options = arguments, options
        self.place, self.epochs = place, epochs
        self.loader()  # What is wrong is said here, not in a worker.

    def loader(self) -> Loader:
        return Loader(*self.arguments, **self.options)

    def __iter__(self) -> Iterator[Batch]:
        worker = data.get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        loader, place = self.loader(), self.place
        end = place[0] + self.epochs
        place = loader.after(*place, number)
        while place[0] < end:
            yield _tensors(loader.batch(*place))
            place = loader.after(*place, workers)


class DataLoader:
    """The batches of a corpus, with what PyTorch's own loader does: workers, pinned memory.

    Each loop has the next epoch, or so many as `epochs` says; the rest of one that was begun counts as one.

    `state_dict` is where to go on once all batches that were taken so far have been trained on; `load_state_dict`
    refuses one of another corpus or of other options. What PyTorch's loader is to be told comes with its own names
    (`num_workers`, `pin_memory`, `prefetch_factor`, ...) in `torch_options`, the most used ones also by themselves.
    """

    def __init__(
        self,
        *arguments: Any,
        num_workers: int = 0,
        pin_memory: bool = False,
        torch_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        torch_options = {"num_workers": num_workers, "pin_memory": pin_memory} | (torch_options or {})
        if decided := [name for name in DECIDED if name in torch_options]:
            raise ValueError(f"torch_options has {', '.join(decided)}, expected none of what is decided here")
        self.dataset = Dataset(*arguments, **options)
        self.loader = self.dataset.loader()
        # Each loop makes its workers anew, and they begin at the dataset's place of that moment.
        self.batches: data.DataLoader[Batch] = data.DataLoader(self.dataset, batch_size=None, **torch_options)

    def __len__(self) -> int:
        """Steps that the next loop has."""
        epoch, step = self.dataset.place
        return sum(map(self.loader.steps, range(epoch, epoch + self.dataset.epochs))) - step

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            self.dataset.place = self.loader.after(batch["epoch"], batch["step"])
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return self.loader.position(*self.dataset.place)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.dataset.place = self.loader.seek(state)


def _tensors(batch: Batch) -> Batch:
    return {name: torch.from_numpy(value) if name in TENSORS else value for name, value in batch.items()}
