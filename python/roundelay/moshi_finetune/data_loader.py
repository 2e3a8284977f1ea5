"""Batches from dataset folders, as `finetune.data.data_loader` has them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch

from .. import ABSENT, Dataset, Delay, Layout, Loader
from .interleaver import Batch, Sample, conditions

if TYPE_CHECKING:
    from moshi.conditioners import ConditionAttributes

#: Dataset folders with their weights.
Folders = Sequence[tuple[str | PathLike[str], float]]

#: How often an epoch may go through a folder.
MOST_PASSES = 1 << 20


class DataLoader:
    """Batches of a dataset's windows, without delays: codes int64 `[row, stream, frame]`, absent behind a short window.

    Training never ends and goes on from `place`, an epoch and a step, on all ranks alike; each loop over an evaluation
    begins anew and ends with the data. Every batch is full: rows that a step lacks are this rank's first ones of the
    epoch again.
    """

    def __init__(
        self,
        folders: Folders,
        frames: int,
        *,
        batch: int = 1,
        is_eval: bool = False,
        zero_padding: int = ABSENT,
        device: str | torch.device = "cpu",
        **order: Any,
    ) -> None:
        self.frames, self.batch_size, self.is_eval = frames, batch, is_eval
        self.zero_padding, self.device, self.place = zero_padding, device, (0, 0)
        datasets = [Dataset(folder) for folder, _ in folders]
        # Without delays, and with a step in front, what is to be said at each step is the codes themselves.
        still = json.loads(datasets[0].layout.to_json())
        still["streams"] = [stream | {"delay": 0} for stream in still["streams"]]
        delay = Delay(Layout.from_json(still), "truncate", "initial")
        passes = [(folder, 1.0) for folder, _ in folders] if is_eval else _passes(folders)
        self.loader = Loader(passes, delay, split="valid" if is_eval else "train", batch=batch, pooling=False, **order)
        # Conditioners want every sample's: so a folder's first segment speaks for all of them.
        conditioned = any("text_conditions" in json.loads(dataset[0]["meta"]) for dataset in datasets)
        self.segments = _by_id(datasets) if conditioned else {}

    def __iter__(self) -> DataLoader:
        if self.is_eval:
            self.place = (0, 0)
        return self

    def __next__(self) -> Batch:
        epoch, step = self.place
        if self.is_eval and epoch > 0:
            raise StopIteration
        rows = self._rows(epoch, step)
        if len(rows) < self.batch_size:
            # The order mixes batches, so the one that lacks rows may be any of the epoch's, also the first.
            again = next(filter(None, (self._rows(epoch, at) for at in range(self.loader.steps(epoch)))), None)
            if again is None:
                raise ValueError(f"no window of epoch {epoch} is left for this rank, expected at least one for each")
            rows += itertools.islice(itertools.cycle(again), self.batch_size - len(rows))
        self.place = self.loader.after(epoch, step)
        return Batch.collate(rows)

    def _rows(self, epoch: int, step: int) -> list[Sample]:
        loaded = self.loader.batch(epoch, step)
        codes = torch.from_numpy(loaded["target"])
        missing = self.frames - codes.shape[-1]
        if missing < 0:
            ids = [row[0] for row in loaded["rows"] if row]
            raise ValueError(f"a window among {ids} has {codes.shape[-1]} frames, expected at most {self.frames}")
        codes = torch.nn.functional.pad(codes, (0, missing), value=ABSENT).to(self.device, torch.int64)
        codes.masked_fill_(codes == ABSENT, self.zero_padding)
        # A row has one segment, or none where the corpus gives out.
        filled = [(row[None], *ids) for row, ids in zip(codes, loaded["rows"], strict=True) if ids]
        return [Sample(row, self._conditions(id)) for row, id in filled]

    def _conditions(self, id: str) -> ConditionAttributes | None:
        return conditions(json.loads(self.segments[id][id]["meta"])) if self.segments else None

    def state_dict(self) -> dict[str, Any]:
        """Where to go on once all batches that were taken so far have been trained on; the same for all ranks."""
        return self.loader.position(*self.place)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.place = self.loader.seek(state)


def build_data_loader(
    instruct_tokenizer: Any,
    args: Any,
    batch_size: int,
    seed: int | None,
    rank: int,
    world_size: int,
    is_eval: bool,
) -> DataLoader:
    """Batches of the folders in `args.train_data` or `args.eval_data`: `folder`, or `folder:weight,folder:weight`.

    Weights are positive: a folder without any is left out of the list.

    Training reads the segments of the side "train", evaluation those of "valid". Of `instruct_tokenizer`, which may be
    theirs, only the window's frames, the device and the id of what is absent are asked.
    """
    said = args.eval_data if is_eval else args.train_data
    what = f"{'eval_data' if is_eval else 'train_data'} is {said!r}"
    folders = [_weighted(source.strip(), what) for source in said.split(",") if source.strip()]
    if not folders:
        raise ValueError(f"{what}, expected at least one folder")
    interleaver = instruct_tokenizer.interleaver
    return DataLoader(
        folders,
        instruct_tokenizer.num_audio_frames,
        batch=batch_size,
        is_eval=is_eval,
        zero_padding=interleaver.zero_padding,
        device=interleaver.device,
        seed=seed or 0,
        rank=rank,
        world=world_size,
        shuffle="blocks" if args.shuffle and not is_eval else "stored",
    )


def _weighted(source: str, what: str) -> tuple[str, float]:
    folder, colon, text = source.partition(":")
    try:
        weight = float(text) if colon else 1.0
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(f"{what}: the weight of {folder!r} is {text!r}, expected a positive number")
    return folder, weight


def _passes(folders: Folders) -> list[tuple[str | PathLike[str], float]]:
    """How often an epoch goes through each folder, so that windows come as their weights say and none is left out."""
    sizes = [Loader(folder, batch=1, pooling=False).steps(0) for folder, _ in folders]
    passes = [weight / size for (_, weight), size in zip(folders, sizes, strict=True)]
    (most, least), weights = (max(passes), min(passes)), [weight for _, weight in folders]
    if most > least * MOST_PASSES:
        folder, other = (folders[passes.index(share)][0] for share in (most, least))
        expected = f"expected such that {folder} comes at most {MOST_PASSES} times while {other} comes once"
        raise ValueError(f"weights are {weights}, {expected}")
    return [(folder, share / min(passes)) for (folder, _), share in zip(folders, passes, strict=True)]


def _by_id(datasets: list[Dataset]) -> dict[str, Dataset]:
    found: dict[str, Dataset] = {}
    for dataset in datasets:
        for id in dataset.ids:
            if found.setdefault(id, dataset) is not dataset:
                raise ValueError(f"segment {id!r} is in {found[id]!r} and in {dataset!r}, expected in one of them")
    return found
