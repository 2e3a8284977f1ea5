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
    assert mask.tolist() == [[True, True, False], [False, True, True], [False, True, True]]
    assert torch.equal(roundelay.training(codes, "delay-1").mask, mask)
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


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_loop_is_as_long_as_it_says(folder, epochs):  # noqa: F811
    from roundelay.torch import DataLoader

    loader = DataLoader(folder, batch=2, split=None, epochs=epochs)
    steps = loader.loader.steps(0)
    assert len(loader) == len(list(loader)) == sum(map(loader.loader.steps, range(epochs))) > 1
    assert loader.dataset.place == (epochs, 0)
    next(iter(loader))
    assert (len(loader), len(list(loader))) == (epochs * steps - 1,) * 2


def test_wrong_options_are_refused_at_once(folder):  # noqa: F811
    from roundelay.torch import DECIDED, DataLoader, Dataset

    for make in (DataLoader, Dataset):
        with pytest.raises(ValueError, match="bach"):
            make(folder, bach=2)
        with pytest.raises(ValueError, match="epochs is 0, expected at least 1"):
            make(folder, epochs=0)
    for name in DECIDED:
        with pytest.raises(ValueError, match=f"^torch_options has {name}, expected none of what is decided here$"):
            DataLoader(folder, torch_options={name: None})
    with pytest.raises(TypeError, match="worker_numbers"):
        DataLoader(folder, torch_options={"worker_numbers": 2})


def test_a_worker_that_is_started_anew_gives_the_same(folder):  # noqa: F811
    from roundelay.torch import DataLoader

    delay = roundelay.Delay(roundelay.Dataset(folder).layout, "truncate", "initial")
    policy = roundelay.Policy("moshi", text_pad=0.3)
    make = lambda **torch_options: DataLoader(folder, delay, policy, batch=2, split=None, torch_options=torch_options)
    here, there = make(), make(num_workers=1, multiprocessing_context="spawn")
    for ours, theirs in zip(here, there, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert torch.equal(value, theirs[name]) if torch.is_tensor(value) else value == theirs[name]
