"""Multi-stream codec data into training sequences for Moshi-like speech models, and back, exactly.

    >>> import numpy as np, roundelay
    >>> codes = np.array([[0, 650, 3], [417, 23, 1001], [12, 99, 7]])
    >>> built = roundelay.build(codes, "delay-1")
    >>> built.tokens.tolist()
    [[0, 650, 3, 3], [2048, 417, 23, 1001], [2048, 12, 99, 7]]
    >>> roundelay.undo(built.tokens, "delay-1").codes.tolist() == codes.tolist()
    True
    >>> roundelay.weigh(codes, "delay-1").steps.shape
    (3, 4)

Axes are `[batch, stream, time]`, with T frames before the delay and S steps after it. Arrays may be numpy's, or PyTorch
tensors on the processor: what comes back is of the same kind, without copies on the way.
"""

import numpy as _numpy

from ._roundelay import (
    ABSENT,
    UNGENERATED,
    Batches,
    Built,
    Codec,
    Dataset,
    Delay,
    DelayLine,
    Joint,
    KyutaiLine,
    Layout,
    Loader,
    Policy,
    Stream,
    TextRow,
    Tokenizer,
    Training,
    UndelayLine,
    Undone,
    Usage,
    Weights,
    Word,
    Words,
    __version__,
    first_not_before,
    jmoshi_labels,
    kyutai_window,
    kyutai_windows,
    merge,
    prep,
    reason_names,
    words_from_row,
)

__all__ = [
    "ABSENT",
    "UNGENERATED",
    "Batches",
    "Built",
    "Codec",
    "Dataset",
    "Delay",
    "DelayLine",
    "Joint",
    "KyutaiLine",
    "Layout",
    "Loader",
    "Policy",
    "Stream",
    "TextRow",
    "Tokenizer",
    "Training",
    "UndelayLine",
    "Undone",
    "Usage",
    "Weights",
    "Word",
    "Words",
    "__version__",
    "build",
    "first_not_before",
    "jmoshi_labels",
    "kyutai_window",
    "kyutai_windows",
    "merge",
    "prep",
    "reason_names",
    "training",
    "undo",
    "weigh",
    "words_from_row",
]


def build(codes, layout, **options):
    """`Delay(layout, **options).build(codes)`: codes `[..., stream, frame]` as a sequence `[..., stream, step]`."""
    return _delay(codes, layout, options).build(codes)


def undo(tokens, layout, missing=None, **options):
    """`Delay(layout, **options).undo(tokens, missing)`: the exact inverse of `build` with the same options."""
    return Delay(layout, **options).undo(tokens, missing)


def weigh(codes, layout, policy="moshi", over="both", reasons=True, **options):
    """`policy.weigh(codes, Delay(layout, **options), over, reasons)`: what each position weighs in the loss, and why."""
    return _policy(policy).weigh(codes, _delay(codes, layout, options), over, reasons)


def training(codes, layout, policy="moshi", start="initial", **options):
    """`policy.training(codes, Delay(layout, start=start, **options))`: input, target, mask and weights of a step."""
    return _policy(policy).training(codes, _delay(codes, layout, {"start": start, **options}))


def _delay(codes, layout, options):
    # A pattern is for a number of frames, which codes have.
    frames = {"frames": _numpy.shape(codes)[-1]} if options.get("pattern") is not None else {}
    return Delay(layout, **{**frames, **options})


def _policy(policy):
    return Policy(policy) if isinstance(policy, str) else policy
