"""Words and sound into codes, as `finetune.data.interleaver` has it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import ABSENT, Layout, Tokenizer, Words, kyutai_window

if TYPE_CHECKING:
    from moshi.conditioners import ConditionAttributes

#: A word, or its ids, with its times in seconds and its speaker; lists will do, as JSON has them.
Alignment = tuple[str | Sequence[int], tuple[float, float], str]


@dataclass
class Sample:
    codes: torch.Tensor
    condition_attributes: ConditionAttributes | None = None


@dataclass
class Batch:
    codes: torch.Tensor
    condition_attributes: list[ConditionAttributes] | None = None

    @classmethod
    def collate(cls, batch: list[Sample]) -> Batch:
        """Samples `[1, stream, frame]` as one batch; either all have conditions or none."""
        conditions = [sample.condition_attributes for sample in batch if sample.condition_attributes is not None]
        without = len(batch) - len(conditions)
        if 0 < without < len(batch):
            raise ValueError(f"{without} of {len(batch)} samples have no text_conditions, expected all or none of them")
        return cls(torch.cat([sample.codes for sample in batch]), conditions or None)


class Interleaver:
    """Words with times into one token a frame, int64 `[1, 1, frame]`. Ids may stand in place of a word's text.

    `tokenizer` is a `roundelay.Tokenizer`, a SentencePieceProcessor, or a model's path. `proba` is unused, as there.
    """

    def __init__(
        self,
        tokenizer: Any,
        audio_frame_rate: float,
        text_padding: int,
        end_of_text_padding: int,
        zero_padding: int,
        in_word_padding: int | None = None,
        keep_main_only: bool = False,
        main_speaker_label: str = "SPEAKER_MAIN",
        use_bos_eos: bool = False,
        keep_and_shift: bool = False,
        audio_delay: float = 0.0,
        proba: float = 1.0,
        device: str | torch.device = "cuda",
    ) -> None:
        self.tokenizer = _tokenizer(tokenizer)
        self.audio_frame_rate, self.zero_padding, self.device = audio_frame_rate, zero_padding, device
        self.paddings = {"pad": text_padding, "end_pad": end_of_text_padding}
        self.main_speaker_label = main_speaker_label
        self.rule: dict[str, Any] = {
            "in_word_padding": in_word_padding,
            "keep_main_only": keep_main_only,
            "turn_markers": {"bos": self.tokenizer.bos, "eos": self.tokenizer.eos} if use_bos_eos else None,
            "keep_and_shift": keep_and_shift,
            "audio_delay": audio_delay,
        }

    def layout(self, channels: int = 0, codebooks: int = 0, cardinality: int = 0) -> Layout:
        """Text, then the codebooks of each channel, without delays: the model has its own."""
        text = {"name": "text", "kind": "text", "speaker": "0", **_vocabulary(len(self.tokenizer)), **self.paddings}
        audio = [
            {"name": f"{channel}.{level}", "kind": "acoustic" if level else "semantic", "level": level}
            | {"speaker": str(channel), **_vocabulary(cardinality)}
            for channel in range(channels)
            for level in range(codebooks)
        ]
        description = {"name": "moshi-finetune", "frame_rate": self.audio_frame_rate, "streams": [text, *audio]}
        return Layout.from_json(description)

    def prepare_item(
        self, alignments: Sequence[Alignment] | None, segment_duration: float, main_speaker: str | None = None
    ) -> torch.Tensor:
        if not 0 <= segment_duration < math.inf:
            raise ValueError(f"segment_duration is {segment_duration}, expected seconds, at least 0")
        frames = math.ceil(segment_duration * self.audio_frame_rate)
        words = Words(alignments, self.tokenizer, {"rule": "kyutai", **self.rule})
        row = words.align(frames, self.layout(), main_speaker or self.main_speaker_label).tokens
        return self.as_theirs(row[None, None])

    def as_theirs(self, ids: Any) -> torch.Tensor:
        """int64, where they want it, and with their id of what is absent."""
        tokens = torch.from_numpy(ids).to(self.device, torch.int64)
        return tokens.masked_fill_(tokens == ABSENT, self.zero_padding)


class InterleavedTokenizer:
    """A window's sound and the JSON beside its recording into codes `[1, stream, frame]`."""

    def __init__(self, mimi: Any, interleaver: Interleaver, duration_sec: float) -> None:
        self.mimi, self.interleaver, self.duration_sec = mimi, interleaver, duration_sec
        self.num_audio_frames = math.ceil(duration_sec * mimi.frame_rate)

    @torch.no_grad()
    def __call__(self, wav: Any, start_sec: float, path: str) -> Sample:
        ours = self.interleaver
        codes = self.mimi.encode(torch.as_tensor(wav, dtype=torch.float32, device=ours.device)[:, None]).cpu()
        said = json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8"))
        channels, codebooks, _ = codes.shape
        layout = ours.layout(channels, codebooks, self.mimi.cardinality)
        where = (start_sec, self.duration_sec, layout, ours.tokenizer, ours.main_speaker_label)
        rows = kyutai_window(codes, said["alignments"], *where, **ours.rule)
        return Sample(ours.as_theirs(rows[None]), conditions(said))


def conditions(said: dict[str, Any]) -> ConditionAttributes | None:
    """What moshi's conditioners take, of what is said beside a recording or in a segment's `meta`."""
    if said.get("text_conditions") is None:
        return None
    try:
        from moshi.conditioners import ConditionAttributes
    except ImportError as error:
        raise ImportError("text_conditions need moshi.conditioners: install Kyutai's package moshi") from error
    return ConditionAttributes(text=said["text_conditions"])


def _tokenizer(given: Any) -> Tokenizer:
    if isinstance(given, Tokenizer):
        return given
    model = getattr(given, "serialized_model_proto", None)
    return Tokenizer(model() if model else given)


def _vocabulary(cardinality: int) -> dict[str, int]:
    return {"cardinality": cardinality, "initial": cardinality, "pad": cardinality, "delay": 0, "trained": True}
