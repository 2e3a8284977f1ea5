"""J-Moshi's names: its recorded cases through them, and the parts of a dataset."""

import pickle

import numpy as np
import pytest
from conftest import BPE, FIXTURES, recorded
from numpy.testing import assert_array_equal
from test_golden import jmoshi_layout

import roundelay
from roundelay.jmoshi import DataCollator, Dataset, collate, examples

NAMES = {"input_ids": "batch_input_ids", "labels": "batch_labels", "text_attention_mask": "batch_attention"}


def parts(case, tensors):
    """All parts of a case's sequences, in order."""
    layout = jmoshi_layout(case, case["delays"])
    codes = [tensors[f"{case['id']}/codes{i}"] for i in range(len(case["lengths"]))]
    cut = case["max_length"], case["min_length"], case["zero"]
    return [part for sequence in codes for part in examples(sequence, layout, *cut)]


def test_parts_labels_and_batches_are_as_recorded():
    cases, tensors = recorded("jmoshi/jmoshi")
    sequences = chunks = 0
    for case in cases:
        ours = lambda name: tensors[f"{case['id']}/{name}"]
        made = parts(case, tensors)
        assert len(made) == case["chunks"]
        for number, part in enumerate(made):
            assert_array_equal(part["streams"], ours(f"chunk{number}"))
            assert_array_equal(part["labels"], ours(f"labels{number}"))
            assert (part["num_streams"], part["num_frames"]) == ours(f"chunk{number}").shape
        for name, array in collate(made, case["zero"]).items():
            assert array.dtype == np.int64
            assert_array_equal(array, ours(NAMES[name]))
        sequences, chunks = sequences + len(case["lengths"]), chunks + len(made)
    assert (len(cases), sequences, chunks) == (8, 24, 36)


def test_a_part_of_the_least_length_stays():
    codes = np.zeros((17, 9), "int16")
    # One step in front, one behind.
    assert [len(examples(codes, "j-moshi", min_length=steps)) for steps in (11, 12)] == [1, 0]


def test_batches_of_tensors_are_as_recorded():
    torch = pytest.importorskip("torch")
    cases, tensors = recorded("jmoshi/jmoshi")
    for case in cases:
        batch = DataCollator(zero_token_id=case["zero"])(parts(case, tensors)).to("cpu")
        for name, theirs in NAMES.items():
            assert torch.equal(getattr(batch, name), torch.from_numpy(tensors[f"{case['id']}/{theirs}"]))
        assert batch.example_ids is None
    assert len(cases) == 8


@pytest.fixture(scope="module", params=["dataset", "dialogues"])
def folder(request, tmp_path_factory):
    """As `prep` writes it, and as J-Moshi's Parquet."""
    folder = tmp_path_factory.mktemp("jmoshi") / "dataset"
    roundelay.prep(FIXTURES / "recordings" / "data.jsonl", folder, "j-moshi", BPE, valid=0.4, seed=2)
    if request.param == "dataset":
        return folder
    roundelay.Dataset(folder).export_jmoshi(folder.parent / "dialogues")
    return folder.parent / "dialogues"


@pytest.mark.parametrize("cut", [{}, {"max_length": 48, "min_length": 40}])
def test_a_dataset_has_the_parts_of_its_segments(folder, cut):
    segments, numbers = roundelay.Dataset(folder), {"train": 0, "valid": 0}
    for split in numbers:
        whole = [segments[i] for i in range(len(segments)) if segments[i]["split"] == split]
        twin = [part for segment in whole for part in examples(segment["codes"], segments.layout, **cut)]
        ours = Dataset(folder, split=split, **cut)
        for part, expected in zip(ours, twin, strict=True):
            for name in expected:
                assert_array_equal(part[name], expected[name])
        assert len(ours) == len(twin) > 0
        numbers[split] = len(whole)
        with pytest.raises(IndexError, match=f"example {len(twin)} of {len(twin)}"):
            ours[len(twin)]
    assert sum(numbers.values()) == len(segments) == 5


def test_their_loop_runs_over_it(folder):
    data = pytest.importorskip("torch.utils.data")
    dataset = Dataset(folder, max_length=48)
    loader = data.DataLoader(dataset, batch_size=2, collate_fn=DataCollator(-1), shuffle=True)
    batches = list(loader)
    assert len(batches) == len(loader) and sum(len(batch.input_ids) for batch in batches) == len(dataset)
    for batch in batches:
        assert batch.labels.shape == batch.input_ids.shape
        assert_array_equal(batch.text_attention_mask == -1, (batch.input_ids == -1).all(1))


def test_a_dataset_goes_to_workers(folder):
    ours = Dataset(folder, max_length=48)
    theirs = pickle.loads(pickle.dumps(ours))
    assert len(theirs) == len(ours)
    for name, value in ours[0].items():
        assert_array_equal(theirs[0][name], value)


def test_what_is_wrong_is_named(folder):
    for wrong in ({"max_length": -1}, {"max_length": 0}, {"max_length": 1.5}, {"min_length": -1}, {"split": "x"}):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=f"^{name} is {value!r}, expected "):
            Dataset(folder, **wrong)
    with pytest.raises(ValueError, match="the batch has no examples, expected at least 1"):
        collate([])
