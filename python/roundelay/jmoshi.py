"""For those who train with nu-dialogue's moshi-finetune (J-Moshi): its examples and batches from a dataset folder.

    from roundelay.jmoshi import DataCollator, Dataset          # in finetune.py, in place of utils'

    train_dataset = Dataset("dataset", max_length=args.max_length, min_length=args.min_length)

A folder is one of `prep`, or of J-Moshi's Parquet. docs/trainers.md says what is the same and what is not.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import ABSENT, Delay, Layout, jmoshi_labels
from . import Dataset as Segments

if TYPE_CHECKING:
    import torch

__all__ = ["Batch", "DataCollator", "Dataset", "collate", "examples"]

#: What their collator reads of a part of a dialogue: `streams`, `labels`, `num_streams`, `num_frames`.
Example = dict[str, Any]


def examples(
    codes: NDArray[np.integer],
    layout: Layout | str,
    max_length: int | None = None,
    min_length: int | None = None,
    zero_token_id: int = ABSENT,
) -> list[Example]:
    """Codes `[stream, frame]` delayed, then cut into nearly equal parts of at most `max_length` steps, with labels.

    A later part begins mid-stream, without initial ids; parts of fewer than `min_length` steps are left out.
    """
    for name, steps in (("max_length", max_length), ("min_length", min_length)):
        least = 1 if name == "max_length" else 0
        if steps is not None and (not isinstance(steps, Integral) or steps < least):
            raise ValueError(f"{name} is {steps!r}, expected a whole number, at least {least}, or None")
    tokens = Delay(layout, "extend", "initial").build(codes).tokens
    parts = -(-tokens.shape[-1] // max_length) if max_length else 1
    return [
        {"streams": part, "labels": jmoshi_labels(part, layout, zero_token_id)}
        | {"num_streams": part.shape[0], "num_frames": part.shape[1]}
        for part in np.array_split(tokens, parts, axis=-1)
        if part.shape[1] >= (min_length or 0)
    ]


def collate(batch: Sequence[Example], zero_token_id: int = ABSENT) -> dict[str, NDArray[np.int64]]:
    """`input_ids` and `labels` `[row, stream, step]`, filled on the right, and `text_attention_mask` `[row, step]`.

    As there, the mask is 1 on steps and the fill, not 0, behind them.
    """
    if not batch:
        raise ValueError("the batch has no examples, expected at least 1")
    shape = len(batch), batch[0]["num_streams"], max(example["num_frames"] for example in batch)
    filled = {name: np.full(shape, zero_token_id, np.int64) for name in ("input_ids", "labels")}
    filled["text_attention_mask"] = np.full((shape[0], shape[2]), zero_token_id, np.int64)
    for row, example in enumerate(batch):
        steps = slice(example["num_frames"])
        filled["input_ids"][row, :, steps] = example["streams"]
        filled["labels"][row, :, steps] = example["labels"]
        filled["text_attention_mask"][row, steps] = 1
    return filled


@dataclass
class Batch:
    example_ids: list[Any] | None
    input_ids: torch.Tensor
    text_attention_mask: torch.Tensor
    labels: torch.Tensor

    def to(self, device: Any) -> Batch:
        tensors = self.input_ids, self.text_attention_mask, self.labels
        return Batch(self.example_ids, *(tensor.to(device) for tensor in tensors))


class DataCollator:
    """`collate` for a `torch.utils.data.DataLoader`."""

    def __init__(self, zero_token_id: int = ABSENT) -> None:
        self.zero_token_id = zero_token_id

    def __call__(self, batch: Sequence[Example]) -> Batch:
        import torch

        arrays = collate(batch, self.zero_token_id)
        ids = [example["example_id"] for example in batch] if "example_id" in batch[0] else None
        return Batch(ids, **{name: torch.from_numpy(array) for name, array in arrays.items()})


class Dataset:
    """The parts of all segments of one side of the split, in order, as a dataset of `torch.utils.data`.

    The segments are gone through once to know their lengths; after that, each is read when it is asked for.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        max_length: int | None = None,
        min_length: int | None = None,
        zero_token_id: int = ABSENT,
        split: str | None = "train",
    ) -> None:
        if split not in ("train", "valid", None):
            raise ValueError(f"split is {split!r}, expected 'train', 'valid' or None for both")
        self.segments = Segments(folder)
        self.cut = max_length, min_length, zero_token_id
        self.numbers, counts = [], []
        for number in range(len(self.segments)):
            segment = self.segments[number]
            if split in (None, segment["split"]):
                self.numbers.append(number)
                counts.append(len(examples(segment["codes"], self.segments.layout, *self.cut)))
        self.ends = list(itertools.accumulate(counts))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, number: int) -> Example:
        if not 0 <= number < len(self):
            raise IndexError(f"example {number} of {len(self)}")
        at = bisect.bisect_right(self.ends, number)
        first = self.ends[at - 1] if at else 0
        segment = self.segments[self.numbers[at]]
        return examples(segment["codes"], self.segments.layout, *self.cut)[number - first]
