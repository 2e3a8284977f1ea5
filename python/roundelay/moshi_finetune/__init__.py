"""For those who train with Kyutai's moshi-finetune: its batches from a dataset folder, and its interleaver.

    from roundelay.moshi_finetune import build_data_loader      # in train.py, in place of finetune.data.data_loader's

Names and arguments are its own. `build_data_loader` needs no codec: codes are read. `Interleaver` and
`InterleavedTokenizer` take the places of theirs where sound is still encoded during training. docs/trainers.md says
what is the same and what is not.
"""

from .data_loader import DataLoader, build_data_loader
from .interleaver import Batch, InterleavedTokenizer, Interleaver, Sample

__all__ = ["Batch", "DataLoader", "InterleavedTokenizer", "Interleaver", "Sample", "build_data_loader"]
