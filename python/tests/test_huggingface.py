"""A dataset folder as Hugging Face's `datasets` reads it."""

import numpy as np
import pytest
from conftest import BPE, FIXTURES
from numpy.testing import assert_array_equal

import roundelay

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module", params=[2, 256], ids=["three parts", "one part"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "dataset"
    options = {"window": 5.0, "valid": 0.3, "part_recordings": request.param}
    roundelay.prep(FIXTURES / "recordings" / "data.jsonl", folder, "moshi-7b", BPE, **options)
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)


def check(rows, folder):
    dataset = roundelay.Dataset(folder)
    assert list(rows["id"]) == dataset.ids and len(rows) > 5
    assert set(rows["split"]) == {"train", "valid"}
    for row, name in zip(rows, dataset.ids, strict=True):
        segment = dataset[name]
        assert_array_equal(np.array(row["codes"]), segment["codes"])
        assert row["split"] == segment["split"] and row["num_frames"] == segment["codes"].shape[1]
        assert row["words"] == segment["words"]


def test_parts_are_read_as_parquet(folder):
    parts = [str(part) for part in sorted(folder.glob("part-*.parquet"))]
    for files in (parts, str(folder / "part-*.parquet")):
        check(datasets.load_dataset("parquet", data_files=files, split="train"), folder)


def test_the_card_tells_a_folder_s_parts_from_its_other_files(folder):
    found = datasets.load_dataset(str(folder))
    assert list(found) == ["train"]
    check(found["train"], folder)


def test_a_stream_of_rows_is_the_same(folder):
    rows = datasets.load_dataset(str(folder), split="train", streaming=True)
    assert [row["id"] for row in rows] == roundelay.Dataset(folder).ids
