"""Batches for PyTorch: the same for any number of workers, and exactly those that are left after a checkpoint.

    loader = roundelay.torch.DataLoader("dataset", batch=16, num_workers=2, pin_memory=True)
    for batch in loader:                    # one epoch; the next loop is the next one
        loss = model(batch["input"], batch["target"], batch["weights"])
        checkpoint = {"model": model.state_dict(), "data": loader.state_dict()}
"""

import torch
from torch.utils import data

from . import Loader

__all__ = ["DataLoader", "Dataset"]

#: What of a batch becomes a tensor; all but the last two are `[row, stream, step]`.
TENSORS = ("input", "target", "weights", "reasons", "segment_ids", "places")


class Dataset(data.IterableDataset):
    """The batches of some epochs from a place on, for a `torch.utils.data.DataLoader` with `batch_size=None`.

    A worker makes every n-th of them, and PyTorch takes from its workers in turn: so they come in order. Each opens the
    files by itself. Arguments and options are those of `roundelay.Loader`; without `rank` and `world` they are those of
    `torch.distributed` where that is set up.
    """

    def __init__(self, *arguments, place=(0, 0), epochs=1, **options):
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            options.setdefault("rank", torch.distributed.get_rank())
            options.setdefault("world", torch.distributed.get_world_size())
        self.arguments, self.options = arguments, options
        self.place, self.epochs = place, epochs

    def loader(self):
        return Loader(*self.arguments, **self.options)

    def __iter__(self):
        worker = data.get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        loader, place = self.loader(), self.place
        end = place[0] + self.epochs
        place = loader.after(*place, number)
        while place[0] < end:
            yield _tensors(loader.batch(*place))
            place = loader.after(*place, workers)


class DataLoader:
    """The batches of a corpus, an epoch for each loop, with what PyTorch's own loader does: workers, pinned memory.

    `state_dict` is where to go on once all batches that were taken so far have been trained on; `load_state_dict` refuses
    one of another corpus or of other options. What PyTorch's loader is to be told comes with its own names (`num_workers`,
    `pin_memory`, `prefetch_factor`, ...) in `torch_options`, the most used ones also by themselves.
    """

    def __init__(self, *arguments, num_workers=0, pin_memory=False, torch_options=None, **options):
        self.dataset = Dataset(*arguments, **options)
        self.torch_options = {"num_workers": num_workers, "pin_memory": pin_memory, **(torch_options or {})}
        self.loader = self.dataset.loader()

    def __len__(self):
        """Steps that are left of the epoch."""
        epoch, step = self.dataset.place
        return self.loader.steps(epoch) - step

    def __iter__(self):
        for batch in data.DataLoader(self.dataset, batch_size=None, **self.torch_options):
            self.dataset.place = self.loader.after(batch["epoch"], batch["step"])
            yield batch

    def state_dict(self):
        return self.loader.position(*self.dataset.place)

    def load_state_dict(self, state):
        self.dataset.place = self.loader.seek(state)


def _tensors(batch):
    return {name: torch.from_numpy(value) if name in TENSORS else value for name, value in batch.items()}
