"""moshi-finetune's names: its recorded cases through them, and its batches against a slow, obvious twin."""

import itertools
import json
import math
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from conftest import BPE, FIXTURES, recorded
from numpy.testing import assert_array_equal

import roundelay
from roundelay import Dataset

torch = pytest.importorskip("torch")
from roundelay.moshi_finetune import Batch, InterleavedTokenizer, Interleaver, Sample, build_data_loader  # noqa: E402

DURATION, FRAMES = 4.0, 50
RECORDINGS = FIXTURES / "recordings"


@pytest.fixture
def moshi(monkeypatch):
    """Stands for Kyutai's package, which is large."""
    stub = ModuleType("moshi.conditioners")
    stub.ConditionAttributes = SimpleNamespace
    monkeypatch.setitem(sys.modules, "moshi", ModuleType("moshi"))
    monkeypatch.setitem(sys.modules, "moshi.conditioners", stub)


def interleaver(tokenizer=BPE, **options):
    given = {"audio_frame_rate": 12.5, "text_padding": 3, "end_of_text_padding": 0, "zero_padding": -1, "device": "cpu"}
    return Interleaver(tokenizer, **given | options)


class Mimi:
    """Gives the codes it was handed."""

    frame_rate, cardinality = 12.5, 2048

    def __init__(self, codes=None):
        self.codes = codes

    def encode(self, wav):
        assert wav.shape[:2] == (len(self.codes), 1)
        return torch.from_numpy(self.codes)


def test_words_are_interleaved_as_recorded(bpe):
    cases, _ = recorded("moshi/interleave")
    for case in cases:
        params = case["params"]
        words = params.get("alignments")
        if params.get("tokenized") is not None:
            # Short words were left out before this step: a duration too small for any frame to tell keeps them in.
            after = lambda start: math.nextafter(start, math.inf)
            words = [(ids, (start, max(end, after(start))), who) for ids, (start, end), who in params["tokenized"]]
        ours = interleaver(bpe, **params["options"])
        made = ours.prepare_item(words, params["segment_duration"], params.get("main_speaker"))
        assert made.shape == (1, 1, case["expect"]["length"]) and made.dtype == torch.int64
        assert made[0, 0].tolist() == case["expect"]["tokens"], case["name"]
    assert len(cases) == 83


def test_windows_are_made_as_recorded(bpe, tmp_path, moshi):
    cases, tensors = recorded("moshi/window")
    files = json.loads((FIXTURES / "reference/moshi/window.json").read_text())["files"]
    for name, file in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(file))
    run = conditioned = 0
    for case in cases:
        if case["kind"] != "window":
            continue
        params, mimi = case["params"], Mimi(tensors[f"{case['name']}/mimi_codes"])
        ours = InterleavedTokenizer(mimi, interleaver(bpe, **params["options"]), params["duration_sec"])
        assert ours.num_audio_frames == case["expect"]["num_audio_frames"]
        wav = np.zeros((params["channels"], params["wav_samples"]), "float32")
        sample = ours(wav, params["start_sec"], str(tmp_path / f"{params['file']}.wav"))
        assert sample.codes.dtype == torch.int64
        assert_array_equal(sample.codes, tensors[f"{case['name']}/codes"])
        expected = case["expect"]["condition_attributes"]
        assert getattr(sample.condition_attributes, "text", None) == expected
        run, conditioned = run + 1, conditioned + (expected is not None)
    assert (run, conditioned) == (17, 6)


def test_samples_are_collated_as_recorded():
    cases, tensors = recorded("moshi/window")
    (case,) = [case for case in cases if case["kind"] == "collate"]
    samples = [Sample(torch.from_numpy(tensors[f"{case['name']}/in{i}"])) for i in range(case["params"]["n"])]
    batch = Batch.collate(samples)
    assert_array_equal(batch.codes, tensors[f"{case['name']}/codes"])
    assert batch.condition_attributes is None
    with pytest.raises(ValueError, match="1 of 2 samples have no text_conditions"):
        Batch.collate([samples[0], Sample(samples[1].codes, "conditions")])


def test_a_tokenizer_is_taken_in_any_form(bpe):
    sentencepiece = pytest.importorskip("sentencepiece")
    words = [("Hello", (0.2, 0.5), "SPEAKER_MAIN"), ("there", (0.6, 0.9), "SPEAKER_OTHER")]
    rows = [
        interleaver(tokenizer, use_bos_eos=True).prepare_item(words, 2.0).tolist()
        for tokenizer in (bpe, BPE, sentencepiece.SentencePieceProcessor(model_file=str(BPE)))
    ]
    assert rows[0] == rows[1] == rows[2]


def test_what_is_absent_has_their_id():
    assert interleaver(zero_padding=-7).prepare_item(None, 0.3).tolist() == [[[-7] * 4]]


def prepared(folder, manifest="data.jsonl", dataset=None):
    dataset, rule = dataset or folder / "dataset", {"rule": "kyutai", "keep_main_only": True}
    options = {"codec": "codes", "codes_suffix": ".mimi_synthetic.npy", "window": DURATION, "rule": rule}
    roundelay.prep(folder / manifest, dataset, "moshi-7b", BPE, **options)
    return dataset


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Each recording with its words and codes beside it; two of them are held out."""
    folder = tmp_path_factory.mktemp("recordings")
    lines = [json.loads(line) for line in (RECORDINGS / "data.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        wav = RECORDINGS / line["path"]
        line |= {"path": wav.name, "split": "train" if number < 3 else "valid"}
        (folder / wav.name).write_bytes(wav.read_bytes())
        (folder / f"{wav.stem}.json").write_bytes(wav.with_suffix(".json").read_bytes())
        codes = f"{wav.stem}.mimi_synthetic.npy"
        (folder / codes).write_bytes((RECORDINGS / "codes" / codes).read_bytes())
    (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    prepared(folder)
    return folder


def build(folders, batch_size=2, *, is_eval=False, shuffle=True, rank=0, world_size=1, seed=3):
    args = SimpleNamespace(train_data=str(folders), eval_data=str(folders), shuffle=shuffle)
    tokenizer = InterleavedTokenizer(Mimi(), interleaver(), DURATION)
    ranks = {"rank": rank, "world_size": world_size, "seed": None if is_eval else seed}
    return build_data_loader(instruct_tokenizer=tokenizer, args=args, batch_size=batch_size, is_eval=is_eval, **ranks)


def rows(loader, batches):
    return [row.tolist() for _ in range(batches) for row in next(loader).codes]


def segments(folder, split):
    """The twin: a dataset's segments one by one, each filled up."""
    found = []
    for segment in map(Dataset(folder).__getitem__, range(len(Dataset(folder)))):
        if segment["split"] == split:
            codes = segment["codes"]
            found.append(np.pad(codes, [(0, 0), (0, FRAMES - codes.shape[1])], constant_values=-1).tolist())
    return found


def test_windows_of_a_dataset_are_theirs_up_to_the_end_of_the_sound(recordings):
    dataset, compared, short = Dataset(recordings / "dataset"), 0, 0
    for id in dataset.ids:
        segment, name = dataset[id], id.split(".")[0]
        codes = np.load(recordings / f"{name}.mimi_synthetic.npy").astype("int64")
        if len(codes) == 1:
            continue
        first = round(segment["start"] * 12.5)
        mimi = Mimi(codes[..., first : first + FRAMES])
        ours = InterleavedTokenizer(mimi, interleaver(keep_main_only=True), DURATION)
        theirs = ours(np.zeros((len(codes), 1)), segment["start"], str(recordings / f"{name}.wav")).codes[0]
        frames = segment["codes"].shape[1]
        assert_array_equal(segment["codes"], theirs[:, :frames])
        assert (theirs[1:, frames:] == -1).all() and (theirs[0, frames:] != -1).all()
        compared, short = compared + 1, short + (frames < FRAMES)
    assert (compared, short) == (10, 3)


@pytest.mark.parametrize(("starts", "moved"), [((8.3, 9.21, 10.5), 0), ((8.3, 9.2, 10.5), 1)])
def test_only_words_on_a_frames_edge_stand_elsewhere(recordings, tmp_path, starts, moved):
    for name in ("espeak_dialogue_stereo.wav", "espeak_dialogue_stereo.mimi_synthetic.npy"):
        (tmp_path / name).write_bytes((recordings / name).read_bytes())
    (tmp_path / "data.jsonl").write_text('{"path": "espeak_dialogue_stereo.wav"}')
    words = [["yes", [start, start + 0.3], "SPEAKER_MAIN"] for start in starts]
    (tmp_path / "espeak_dialogue_stereo.json").write_text(json.dumps({"alignments": words}))
    codes = np.load(tmp_path / "espeak_dialogue_stereo.mimi_synthetic.npy")[..., 2 * FRAMES : 3 * FRAMES]
    theirs = InterleavedTokenizer(Mimi(codes.astype("int64")), interleaver(keep_main_only=True), DURATION)
    row = theirs(np.zeros((2, 1)), 8.0, str(tmp_path / "espeak_dialogue_stereo.wav")).codes[0, 0]
    ours = Dataset(prepared(tmp_path))[2]["codes"][0]
    # 9.2 - 8.0 is less than 1.2 in doubles, where frame 15 begins.
    assert np.flatnonzero(ours > 3).tolist() == [3, 15, 31]
    assert np.flatnonzero(row > 3).tolist() == [3, 15 - moved, 31]


def test_batches_are_the_segments_in_order(recordings):
    twin = segments(recordings / "dataset", "train")
    loader = build(recordings / "dataset", shuffle=False)
    first = next(loader)
    assert first.codes.dtype == torch.int64 and first.codes.shape == (2, 17, FRAMES)
    assert first.codes.tolist() == twin[:2] and first.condition_attributes is None
    # Seven windows in batches of two: the eighth row is the epoch's first again, and then all begins anew.
    assert len(twin) == 7
    assert rows(loader, 5) == [*twin[2:], twin[0], *twin[:4]]


def test_ranks_share_an_epoch(recordings):
    twin = segments(recordings / "dataset", "train")
    shuffled = {seed: rows(build(recordings / "dataset", 1, seed=seed), 7) for seed in (3, 4)}
    assert sorted(shuffled[3]) == sorted(shuffled[4]) == sorted(twin) and shuffled[3] != shuffled[4]
    for seed, batch, world_size in itertools.product(range(8), (1, 2), (1, 2, 3)):
        of = lambda rank: build(recordings / "dataset", batch, rank=rank, world_size=world_size, seed=seed)
        ranks = [of(rank) for rank in range(world_size)]
        steps = -(-len(twin) // (batch * world_size))
        for _ in range(2):
            seen = [[json.dumps(row) for row in rows(rank, steps)] for rank in ranks]
            own = [set(rank) for rank in seen]
            assert sum(map(len, own)) == len(set.union(*own)) == len(twin)
            for rank in seen:
                assert len(rank) == steps * batch
                assert {row for row in rank if rank.count(row) > 1} <= set(rank[: 2 * batch])
    with pytest.raises(ValueError, match="no window of epoch 0 is left for this rank"):
        next(build(recordings / "dataset", 4, rank=7, world_size=8))


def test_a_stopped_run_goes_on_with_the_same_batches(recordings):
    whole = rows(build(recordings / "dataset"), 12)
    for stop in range(1, 12):
        stopped, resumed = build(recordings / "dataset"), build(recordings / "dataset")
        before = rows(stopped, stop)
        resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
        assert before + rows(resumed, 12 - stop) == whole
    with pytest.raises(ValueError, match="options"):
        build(recordings / "dataset", seed=4).load_state_dict(stopped.state_dict())


def test_an_evaluation_sees_the_held_out_windows_each_time(recordings):
    loader, twin = build(recordings / "dataset", is_eval=True), segments(recordings / "dataset", "valid")
    assert len(twin) == 9
    for _ in range(2):
        assert [row for batch in loader for row in batch.codes.tolist()] == [*twin, twin[0]]
    next(iter(loader))
    assert next(iter(loader)).codes.tolist() == twin[:2]


def test_folders_come_by_their_weights(recordings, tmp_path):
    lines = (recordings / "data.jsonl").read_text().splitlines()
    (recordings / "one.jsonl").write_text(lines[2] + "\n")
    one = prepared(recordings, manifest="one.jsonl", dataset=tmp_path / "one")
    (single,) = segments(one, "train")
    loader = build(f"{recordings / 'dataset'}:1,{one}:3", 1)
    # Of 28 windows, seven are those of one folder, which has the other's single one too.
    assert (rows(loader, 28).count(single), loader.place) == (22, (1, 0))


def test_conditions_come_from_beside_the_recording(recordings, tmp_path, moshi):
    for path in recordings.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    for path in tmp_path.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"text_conditions": {"description": path.stem}}))
    dataset = Dataset(prepared(tmp_path))
    names = {json.dumps(dataset[id]["codes"][1:, :8].tolist()): id.split(".")[0] for id in dataset.ids}
    batch = next(build(tmp_path / "dataset", 7))
    expected = [names[json.dumps(row[1:, :8].tolist())] for row in batch.codes]
    assert [condition.text["description"] for condition in batch.condition_attributes] == expected
    with pytest.raises(ValueError, match="expected in one of them"):
        build(f"{tmp_path / 'dataset'},{recordings / 'dataset'}")


def test_conditions_without_moshi_are_refused(monkeypatch):
    from roundelay.moshi_finetune.interleaver import conditions

    monkeypatch.setitem(sys.modules, "moshi.conditioners", None)
    assert conditions({}) is None
    with pytest.raises(ImportError, match="text_conditions need moshi.conditioners"):
        conditions({"text_conditions": {"description": "good"}})


def test_their_conditioners_take_ours():
    conditioners = pytest.importorskip("moshi.conditioners")
    from roundelay.moshi_finetune.interleaver import conditions

    class Names(conditioners.base._BaseTextConditioner):
        def prepare(self, texts):
            return texts

    provider = conditioners.base.ConditionProvider({"description": Names(4, 4, "cpu")})
    batch = [conditions({"text_conditions": {"description": text}}) for text in ("good", "bad")]
    assert provider.prepare(batch) == {"description": ["good", "bad"]}
    with pytest.raises(AssertionError):
        provider.prepare([{"description": "good"}])


@pytest.mark.parametrize("weight", ["0", "-1", "abc", "", "inf", "nan", "1:2"])
def test_a_weight_is_a_positive_number(recordings, weight):
    said = f"one:1,{recordings / 'dataset'}:{weight}"
    for is_eval in (False, True):
        with pytest.raises(ValueError) as error:
            build(said, is_eval=is_eval)
        found = f"the weight of {str(recordings / 'dataset')!r} is {weight!r}, expected a positive number"
        assert str(error.value) == f"{'eval_data' if is_eval else 'train_data'} is {said!r}: {found}"


def test_weights_that_are_too_far_apart_are_refused(recordings, tmp_path):
    (tmp_path / "other").symlink_to(recordings / "dataset")
    one, other = recordings / "dataset", tmp_path / "other"
    for weight in ("1e9", "1e308"):
        with pytest.raises(ValueError) as error:
            build(f"{one},{other}:{weight}")
        expected = f"expected such that {other} comes at most 1048576 times while {one} comes once"
        assert str(error.value) == f"weights are [1.0, {float(weight)}], {expected}"


def test_what_is_wrong_is_named(recordings):
    for duration in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"^segment_duration is {duration}, expected seconds, at least 0$"):
            interleaver().prepare_item([], duration)
    with pytest.raises(ValueError, match="train_data is '', expected at least one folder"):
        build("")
    args = SimpleNamespace(train_data=str(recordings / "dataset"), shuffle=False)
    tokenizer = InterleavedTokenizer(Mimi(), interleaver(), 2.0)
    with pytest.raises(ValueError, match="has 50 frames, expected at most 25"):
        next(build_data_loader(tokenizer, args, 1, 0, 0, 1, False))
