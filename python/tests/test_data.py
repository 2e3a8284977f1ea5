"""Dataset folders and their batches."""

import json

import numpy as np
import pytest
from conftest import BPE, FIXTURES
from numpy.testing import assert_array_equal

import roundelay
from roundelay import Dataset, Delay, Loader, Policy


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "dataset"
    info = roundelay.prep(FIXTURES / "recordings" / "data.jsonl", folder, "moshi-7b", BPE, window=5.0)
    assert info == json.loads((folder / "dataset.json").read_text())
    return folder


def test_segments_are_read(folder):
    dataset = Dataset(folder)
    assert len(dataset) == len(dataset.ids) == dataset.info["counts"]["segments"]
    for number, name in enumerate(dataset.ids):
        segment = dataset[number]
        assert segment["id"] == name and segment["codes"].shape[0] == len(dataset.layout)
        assert_array_equal(dataset[name]["codes"], segment["codes"])
    assert dataset[-1]["id"] == dataset.ids[-1]
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    with pytest.raises(KeyError, match="no-such"):
        dataset["no-such"]
    assert repr(dataset).endswith(f"{len(dataset)} segments, layout moshi-7b")


def test_a_batch_is_what_build_and_weigh_make_of_its_segments(folder):
    dataset, delay, policy = Dataset(folder), Delay("moshi-7b", "extend", "initial"), Policy("moshi", normalize="none")
    loader = Loader([folder], delay, policy, batch=3, split=None)
    seen = []
    for batch in loader.batches(epochs=1):
        for row, ids in enumerate(batch["rows"]):
            if not ids:
                assert (batch["input"][row] == -1).all() and not batch["weights"][row].any()
                continue
            training = policy.training(dataset[ids[0]]["codes"], delay)
            steps = training.input.shape[-1]
            for name in ("input", "target", "weights"):
                assert_array_equal(batch[name][row][:, :steps], getattr(training, name))
            assert (batch["input"][row][:, steps:] == -1).all() and not batch["weights"][row][:, steps:].any()
            seen += ids
    assert sorted(seen) == sorted(dataset.ids)


def test_batches_go_on_from_any_position(folder):
    loader = Loader(folder, batch=2, split=None, seed=5, crop={"random": {"frames": 20}})
    steps = loader.steps(0)
    whole = [batch["target"] for batch in loader.batches(epochs=2)]
    batches = loader.batches(epochs=2)
    for _ in range(steps // 2 + 1):
        next(batches)
    position = json.loads(json.dumps(batches.position()))
    rest = [batch["target"] for batch in loader.batches(*loader.seek(position), epochs=2)]
    assert len(whole) == loader.steps(0) + loader.steps(1)
    for ours, theirs in zip(rest, whole[steps // 2 + 1 :], strict=False):
        assert_array_equal(ours, theirs)
    assert_array_equal(loader.batch(0, 1)["target"], whole[1])
    with pytest.raises(ValueError, match="options"):
        Loader(folder, batch=2, split=None, seed=6).seek(position)


def test_ranks_share_a_batch(folder):
    one = Loader(folder, batch=4, split=None).batch(0, 0)
    ranks = [Loader(folder, batch=2, world=2, rank=rank, split=None).batch(0, 0) for rank in (0, 1)]
    rows = [(ids, target) for rank in ranks for ids, target in zip(rank["rows"], rank["target"], strict=True)]
    together = sorted(rows, key=lambda row: row[0])
    assert [ids for ids, _ in together] == sorted(one["rows"])
    targets = dict(zip(map(tuple, one["rows"]), one["target"], strict=True))
    for ids, target in together:
        assert_array_equal(target, targets[tuple(ids)])


def test_what_is_wrong_is_named(folder, tmp_path):
    with pytest.raises(ValueError, match="unknown field `bach`"):
        Loader(folder, bach=3)
    with pytest.raises(ValueError, match="rank"):
        Loader(folder, rank=1)
    with pytest.raises(OSError):
        Dataset(tmp_path / "none")
    with pytest.raises(ValueError, match="codec"):
        roundelay.prep(FIXTURES / "recordings" / "data.jsonl", tmp_path / "out", codec="mp3")


def test_shards_are_merged_into_what_one_run_writes(folder, tmp_path):
    make = lambda out, **options: roundelay.prep(
        FIXTURES / "recordings" / "data.jsonl", out, "moshi-7b", BPE, window=5.0, part_recordings=1, **options
    )
    make(tmp_path / "whole")
    shards = [tmp_path / f"shard-{n}" for n in range(2)]
    for n, shard in enumerate(shards):
        make(shard, shard=(n, 2))
    info = roundelay.merge(shards, tmp_path / "merged")
    assert info == Dataset(tmp_path / "merged").info
    for file in sorted((tmp_path / "whole").iterdir()):
        assert file.read_bytes() == (tmp_path / "merged" / file.name).read_bytes(), file.name
    with pytest.raises(ValueError, match="shard"):
        roundelay.merge(shards[:1], tmp_path / "half")


def test_a_run_that_was_broken_off_goes_on(folder, tmp_path):
    class Enough(Exception):
        pass

    def stop(done, recordings):
        if done * 2 > recordings:
            raise Enough(done)

    make = lambda **options: roundelay.prep(
        FIXTURES / "recordings" / "data.jsonl", tmp_path / "out", "moshi-7b", BPE, window=5.0, **options
    )
    with pytest.raises(Enough):
        make(progress=stop)
    assert not (tmp_path / "out" / "dataset.json").exists()
    told = []
    make(progress=lambda *now: told.append(now))
    assert told[-1][0] == told[-1][1] == Dataset(folder).info["counts"]["recordings"]
    for file in sorted(folder.iterdir()):
        if file.suffix == ".parquet" or file.name == "dataset.json":
            assert file.read_bytes() == (tmp_path / "out" / file.name).read_bytes(), file.name


def test_jmoshi_parquet_goes_out_and_in(folder, tmp_path):
    dataset = Dataset(folder)
    counts = dataset.export_jmoshi(tmp_path / "dialogues")
    assert counts["train"] + counts["valid"] == len(dataset)
    back = Dataset(tmp_path / "dialogues")
    assert back.layout.name == "j-moshi" and back.ids == dataset.ids
    for name in dataset.ids:
        assert_array_equal(back[name]["codes"], dataset[name]["codes"])


def test_codebooks_are_counted(folder):
    dataset = Dataset(folder)
    codebooks = dataset.codebooks(count=2)["codebooks"]
    streams = [stream for stream in dataset.layout.streams if stream.kind != "text"]
    assert len(codebooks) == len(streams)
    usage = roundelay.Usage(streams[0].cardinality)
    for name in dataset.ids:
        usage.add(dataset[name]["codes"][1])
    counted = codebooks[0]
    assert (counted["total"], counted["used"], counted["dead"]) == (usage.total, usage.used, len(usage.dead(count=2)))
    assert counted["perplexity"] == pytest.approx(usage.perplexity)


def test_batches_of_a_pattern(folder):
    dataset = Dataset(folder)
    frames = max(dataset[name]["codes"].shape[1] for name in dataset.ids)
    delay = Delay("moshi-7b", start="initial", pattern="delay", frames=frames)
    pattern, plain = Loader(folder, delay, batch=2, split=None), Loader(folder, batch=2, split=None)
    ours, theirs = pattern.batch(0, 0), plain.batch(0, 0)
    assert ours["rows"] == theirs["rows"]
    steps = theirs["target"].shape[-1]
    trained = theirs["weights"] > 0
    assert_array_equal(ours["target"][..., :steps][trained], theirs["target"][trained])


def test_several_segments_share_a_row(folder):
    batch = Loader(folder, batch=1, split=None, packing=200).batch(0, 0)
    assert batch["input"].shape[-1] <= 200 and len(batch["rows"][0]) > 1
    assert set(np.unique(batch["segment_ids"])) >= set(range(len(batch["rows"][0])))


def test_places_that_there_are_not_are_told(folder):
    loader = Loader(folder, batch=2, split=None)
    steps = loader.steps(0)
    with pytest.raises(ValueError, match=f"step is {steps}, expected one below {steps}, the steps of epoch 0"):
        loader.batches(0, steps)
    with pytest.raises(ValueError, match="number of steps is"):
        loader.after(0, 0, 2**63)
    with pytest.raises(ValueError, match="expected at most 4096"):
        loader.batches(depth=2**63)
    with pytest.raises(TypeError, match="datasets are 5, expected a folder, or a list"):
        Loader(5)
    one = Loader(((folder, 1.0),), batch=2, split=None).batch(0, 0)
    assert_array_equal(one["target"], loader.batch(0, 0)["target"])


def test_a_shard_that_lost_a_part_is_not_taken_for_finished(tmp_path):
    make = lambda: roundelay.prep(
        FIXTURES / "recordings" / "data.jsonl", tmp_path / "shard", "moshi-7b", BPE, part_recordings=1, shard=(0, 2)
    )
    info = make()
    assert make() == info
    (tmp_path / "shard" / info["parts"][-1]["name"]).unlink()
    with pytest.raises(ValueError, match="part is missing, or of another size, expected .* make the shard again"):
        make()


def test_what_could_not_be_used_is_told(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "data.jsonl").write_text('{"path": "text.wav", "duration": 1.0}\n')
    with pytest.raises(ValueError, match="none of the 1 recordings could be used; .*rejects.jsonl says why"):
        roundelay.prep(tmp_path / "data.jsonl", tmp_path / "none", "moshi-7b", BPE)
    good = json.loads((FIXTURES / "recordings" / "data.jsonl").read_text().splitlines()[0])
    good["path"] = str(FIXTURES / "recordings" / good["path"])
    with (tmp_path / "data.jsonl").open("a") as manifest:
        manifest.write(json.dumps(good) + "\n")
    with pytest.warns(UserWarning, match="1 recordings could not be used"):
        info = roundelay.prep(tmp_path / "data.jsonl", tmp_path / "some", "moshi-7b", BPE)
    assert info["counts"]["recordings"] == 1
    with pytest.warns(UserWarning, match="none of the 1 recordings could be used"):
        roundelay.prep(tmp_path / "data.jsonl", tmp_path / "shard", "moshi-7b", BPE, part_recordings=1, shard=(0, 2))
    with pytest.raises(ValueError, match="1 recordings could not be used"):
        roundelay.prep(tmp_path / "data.jsonl", tmp_path / "strict", "moshi-7b", BPE, strict=True)


def test_words_of_nobody_are_told(tmp_path):
    with pytest.warns(UserWarning, match='only words of other speakers: is no speaker called "Bob"?'):
        roundelay.prep(FIXTURES / "recordings" / "data.jsonl", tmp_path / "bob", "moshi-7b", BPE, main_speaker="Bob")
