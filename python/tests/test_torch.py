"""PyTorch: tensors in and out, and a loop that was stopped."""

import random

import numpy as np
import pytest

import roundelay
from test_data import folder  # noqa: F401

torch = pytest.importorskip("torch")


def test_tensors_become_tensors():
    codes = torch.arange(6, dtype=torch.int32).reshape(3, 2) + 10
    tokens, mask = roundelay.build(codes, "delay-1")
    assert tokens.dtype == torch.int32 and mask.dtype == torch.bool
    assert torch.equal(roundelay.undo(tokens, "delay-1").codes, codes)
    plain = roundelay.build(codes.numpy(), "delay-1").tokens
    assert isinstance(plain, np.ndarray) and (tokens.numpy() == plain).all()
    # A view with strides of its own.
    assert torch.equal(roundelay.build(codes.T.contiguous().T, "delay-1").tokens, tokens)


def taken(loader, epochs):
    return [(batch["epoch"], batch["step"], batch["target"]) for _ in range(epochs) for batch in loader]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_loop_goes_on_with_the_same_batches(folder, workers):  # noqa: F811
    from roundelay.torch import DataLoader

    make = lambda workers: DataLoader(folder, batch=2, split=None, crop={"random": {"frames": 25}}, num_workers=workers)
    whole = taken(make(0), 3)
    steps = [(epoch, step) for epoch, step, _ in whole]
    assert steps == sorted(steps) and len(set(steps)) == len(steps)
    for seed in range(3):
        stop = random.Random(seed).randrange(1, len(whole) - 1)
        first, loader = [], make(workers)
        while len(first) < stop:
            for batch in loader:
                first.append((batch["epoch"], batch["step"], batch["target"]))
                if len(first) == stop:
                    break
        resumed = make(workers)
        resumed.load_state_dict(loader.state_dict())
        while len(first) < len(whole):
            first += taken(resumed, 1)
        for (*at, ours), (*expected, theirs) in zip(first, whole, strict=True):
            assert at == expected and torch.equal(ours, theirs)


def test_a_state_of_other_options_is_refused(folder):  # noqa: F811
    from roundelay.torch import DataLoader

    state = DataLoader(folder, batch=2, split=None).state_dict()
    with pytest.raises(ValueError, match="options"):
        DataLoader(folder, batch=2, split=None, seed=1).load_state_dict(state)
