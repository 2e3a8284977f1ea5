"""What holds for any codes."""

import doctest
import math
import pickle
import re
import threading
from pathlib import Path

import conftest
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_array_equal

import roundelay
from roundelay import Delay, Layout, Policy, Words

DTYPES = ["int64", "int32", "int16", "uint32", "uint16"]


@st.composite
def built(draw):
    grid = Layout(draw(st.sampled_from(["delay-1", "moshi-7b", "musicgen"])))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = (len(grid), draw(st.integers(0, 12)))
    if draw(st.booleans()):
        shape = (draw(st.integers(0, 3)), *shape)
    ids = st.integers(0, 2047) if dtype.kind == "u" else st.integers(-2, 2047)
    codes = draw(arrays.arrays(dtype, shape, elements=ids))
    if draw(st.booleans()):
        # Laid out in memory another way.
        codes = np.asfortranarray(codes)
    return Delay(grid, "extend", draw(st.sampled_from(["none", "initial"]))), codes


def fits(delay, codes):
    return all(max(stream.initial, stream.pad) <= np.iinfo(codes.dtype).max for stream in delay.layout.streams)


@given(built())
def test_undo_is_the_inverse_of_build(case):
    delay, codes = case
    if not fits(delay, codes):
        with pytest.raises(ValueError, match="fits"):
            delay.build(codes)
        return
    tokens, mask = delay.build(codes)
    assert tokens.dtype == codes.dtype and mask.dtype == bool
    assert tokens.shape == mask.shape == (*codes.shape[:-1], delay.steps(codes.shape[-1]))
    undone = delay.undo(tokens)
    assert_array_equal(undone.codes, codes)
    assert undone.mask.all()
    assert mask.sum() == codes.size


@given(
    built(),
    st.sampled_from(["extend", "truncate"]),
    st.sampled_from(["none", "initial"]),
    st.sampled_from([None, "flatten", "coarse-first"]),
)
def test_training_is_build_and_weigh(case, extent, start, pattern):
    delay, codes = case
    if not fits(delay, codes):
        return
    options = {} if pattern is None else {"pattern": pattern, "frames": codes.shape[-1]}
    delay = Delay(delay.layout, extent, start, **options)
    policy = Policy("moshi", normalize="none")
    (tokens, mask), weights = delay.build(codes), policy.weigh(codes, delay)
    assert_array_equal(mask, held(delay, codes.shape))
    if tokens.shape[-1] == 0:
        return
    training = policy.training(codes, delay)
    assert_array_equal(training.input, tokens[..., :-1])
    assert_array_equal(training.target, tokens[..., 1:])
    assert_array_equal(training.weights, weights.steps[..., 1:])
    assert_array_equal(training.mask, mask[..., 1:])
    assert training.mask is training.mask


def held(delay, shape):
    """Which steps come from codes: no fill is below 0."""
    return delay.build(np.full(shape, roundelay.UNGENERATED)).tokens == roundelay.UNGENERATED


@pytest.mark.parametrize("extent", ["extend", "truncate"])
def test_ends_are_no_codes(extent):
    delay = Delay("dia", extent, "initial", bos=True, eos=True)
    for shape in [(9, 5), (2, 9, 5), (2, 9, 0), (0, 9, 5)]:
        built = delay.build(np.zeros(shape, "int64"))
        assert built.mask.shape == built.tokens.shape
        assert_array_equal(built.mask, held(delay, shape))
    # In no example, however long they are, nothing lies.
    assert delay.build(np.empty((0, 9, 2**40), "int64")).mask.shape == (0, 9, delay.steps(2**40))


def test_ends_weigh_in_steps_alone():
    weights = Policy("moshi", normalize="none").weigh(np.zeros((9, 5), "int64"), Delay("dia", bos=True, eos=True))
    assert weights.frames.sum() == 9 * 5 and weights.steps.sum() == weights.sums["audio"] == 9 * 6


@given(built(), st.sampled_from(["both", "frames", "steps"]), st.booleans())
def test_parts_of_the_weights_are_those_of_the_whole(case, over, reasons):
    delay, codes = case
    parts = ["frames", "frame_reasons", "steps", "step_reasons"]
    wanted = {"both": parts, "frames": parts[:2], "steps": parts[2:]}[over]
    wanted = [part for part in wanted if reasons or not part.endswith("reasons")]
    policy = Policy("kyutai")
    whole, weights = policy.weigh(codes, delay), policy.weigh(codes, delay, over, reasons)
    for part in parts:
        if part in wanted:
            assert_array_equal(getattr(weights, part), getattr(whole, part))
        else:
            assert getattr(weights, part) is None
    assert weights.sums == whole.sums


def test_the_examples_run():
    assert doctest.testmod(roundelay).failed == 0
    for readme in [Path(__file__).parents[1] / "README.md", Path(__file__).parents[2] / "README.md"]:
        blocks = re.findall(r"^```python\n(.*?)^```$", readme.read_text(), re.DOTALL | re.MULTILINE)
        assert blocks, readme
        for block in blocks:
            exec(block, {})


def test_layouts_are_read_drawn_compared_and_pickled():
    for name in Layout.presets():
        grid = Layout(name)
        assert Layout.from_json(grid.to_json()) == pickle.loads(pickle.dumps(grid)) == grid
        assert hash(Layout(name)) == hash(grid)
        assert len(grid) == len(grid.streams) == len(grid.delays)
    assert repr(Layout("delay-1")).splitlines() == [
        "Layout delay-1: 3 streams at 12.5 Hz",
        "step   0     1     2     3     4",
        "text   w10   w11   w12   w13   p3",
        "main.0 i2048 s10   s11   s12   s13",
        "main.1 i2048 a10   a11   a12   a13",
        "",
        "letter and id:  w word  s semantic  a acoustic  i head fill  p tail fill",
    ]
    tokens = roundelay.build(np.arange(6).reshape(3, 2) + 10, "delay-1")
    assert repr(tokens).splitlines()[:3] == ["Built [3, 3]", "step   0     1     2", "text   w10   w11   p3"]


def test_words_are_placed_any_number_of_times(bpe):
    spoken = [("later", (1.2, 1.5), "A"), ("one", (0.3, 0.6), "A"), ("other", (0.4, 0.5), "B"), ("two", (0.35, 0.7), "A")]
    small = conftest.layout([conftest.stream("text", "text", 100)])

    def told(words, frames):
        row = words.align(frames, "delay-1", "A")
        return row.tokens.tolist(), row.words, row.events

    for rule in ("moshi", "kyutai", "jmoshi"):
        words = Words(spoken, bpe, rule)
        for frames in (20, 5, 20):
            assert told(words, frames) == told(Words(spoken, bpe, rule), frames)
            with pytest.raises(ValueError, match="a token of the word \"one\" at 0.3"):
                words.align(frames, small, "A")
    row = Words(spoken, bpe).align(20, "delay-1", "A")
    assert [(word.text, word.frame) for word in row.words][:1] == [("one", 3)]
    assert ("other_speaker", 0, "other") in row.events
    assert Words(None, bpe).align(3, "delay-1").tokens.tolist() == [-1, -1, -1]
    as_json = [[text, list(times), speaker] for text, times, speaker in spoken]
    assert told(Words(as_json, bpe), 20) == told(Words(spoken, bpe), 20)
    with pytest.raises(ValueError, match="a word is \\('a', \\(0, 1\\)\\), expected"):
        Words([("a", (0, 1))], bpe)
    assert Words([], bpe).align(3, "delay-1").tokens.tolist() == [3, 3, 3]


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="the grid has 2 streams, expected 3"):
        roundelay.build(np.zeros((2, 4), "int64"), "delay-1")
    with pytest.raises(TypeError, match="the ids are float64, expected integers"):
        roundelay.build(np.zeros((3, 4)), "delay-1")
    with pytest.raises(ValueError, match="extent is \"long\", expected \"extend\" or \"truncate\""):
        roundelay.build(np.zeros((3, 4), "int64"), "delay-1", extent="long")
    with pytest.raises(ValueError, match="no-such"):
        Layout("no-such")
    with pytest.raises(OSError, match="no-such.model"):
        roundelay.Tokenizer("no-such.model")
    with pytest.raises(ValueError, match="missing is -1"):
        roundelay.undo(np.zeros((3, 4), "uint16"), "delay-1", extent="truncate")


PATTERNS = ["parallel", "flatten", "partial-flatten", "coarse-first", "delay:flatten-first=1", {"pattern": "musiclm", "group_by": 2}]


@given(pattern=st.sampled_from(PATTERNS), frames=st.integers(1, 9), start=st.sampled_from(["none", "initial"]), seed=st.integers(0, 99))
def test_patterns_are_undone(pattern, frames, start, seed):
    name = "higgs" if "higgs" in Layout.presets() else "musicgen"
    grid = Layout(name)
    codes = np.random.default_rng(seed).integers(0, 1000, (2, len(grid), frames))
    options = {"pattern": pattern, "start": start}
    tokens, mask = roundelay.build(codes, grid, **options)
    assert (mask.sum(axis=-1) == frames).all()
    undone = roundelay.undo(tokens, grid, frames=frames, **options)
    assert undone.mask.all()
    np.testing.assert_array_equal(undone.codes, codes)
    weights = roundelay.weigh(codes, grid, Policy("moshi", normalize="none"), **options)
    assert weights.steps.sum() == weights.frames.sum()
    training = roundelay.training(codes, grid, **options)
    np.testing.assert_array_equal(training.target, tokens[..., 1:])


def test_a_pattern_is_as_it_was_published():
    codes = np.array([[11, 12], [21, 22], [31, 32]])
    built = roundelay.build(codes, "delay-1", pattern="partial-flatten")
    assert built.tokens.tolist() == [[11, 3, 12, 3], [2048, 21, 2048, 22], [2048, 31, 2048, 32]]
    assert repr(built).startswith("Built [3, 4]\n")
    for options in ({"pattern": "flatten"}, {"frames": 3}):
        with pytest.raises(ValueError, match="missing"):
            roundelay.Delay("delay-1", **options)
    with pytest.raises(ValueError, match="zigzag"):
        roundelay.build(codes, "delay-1", pattern="zigzag")


@given(
    extent=st.sampled_from(["extend", "truncate"]),
    start=st.sampled_from(["none", "initial"]),
    name=st.sampled_from(["delay-1", "moshi-7b", "musicgen"]),
    frames=st.integers(0, 12),
    prompt=st.integers(0, 12),
)
def test_lines_give_what_build_and_undo_give(extent, start, name, frames, prompt):
    grid, prompt = Layout(name), min(prompt, frames)
    codes = np.random.default_rng(frames).integers(0, 1000, (2, len(grid), frames))
    delay, line = roundelay.Delay(grid, extent, start), roundelay.DelayLine(grid, 2, extent, start)
    whole = delay.build(codes).tokens
    steps = [*np.moveaxis(line.prefill(codes[..., :prompt]), -1, 0)]
    steps += [line.step(codes[..., t]) for t in range(prompt, frames)] + [line.flush() for _ in range(line.tail)]
    assert len(steps) == whole.shape[-1]
    for ours, theirs in zip(steps, np.moveaxis(whole, -1, 0), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    back = roundelay.UndelayLine(grid, 2, extent, start)
    found = [back.step(step) for step in steps] + [back.flush() for _ in range(back.tail)]
    undone = delay.undo(whole).codes
    found = [frame for frame in found if frame is not None]
    # Of truncated sequences shorter than the delay nothing comes.
    assert len(found) == frames or frames < grid.max_delay
    for ours, theirs in zip(found, np.moveaxis(undone, -1, 0), strict=False):
        np.testing.assert_array_equal(ours, theirs)


def test_rows_of_a_line_pause_and_start_anew():
    line = roundelay.DelayLine("delay-1", 2)
    both = np.array([[1, 2, 3], [4, 5, 6]])
    assert line.step(both).tolist() == [[1, 2048, 2048], [4, 2048, 2048]]
    assert line.step(both, active=[True, False]).tolist() == [[1, 2, 3], [-1, -1, -1]]
    line.reset(0)
    assert line.step(both).tolist() == [[1, 2048, 2048], [4, 5, 6]]
    back = roundelay.UndelayLine("delay-1", 2, missing=-7)
    assert back.wait == [2, 2] and back.step(both) is None and back.wait == [1, 1]
    assert back.step(both, active=[True, False]).tolist() == [[1, 2, 3], [-7, -7, -7]]
    with pytest.raises(ValueError, match="3"):
        line.step(both[:, :2])


@given(codes=st.lists(st.integers(-1, 5)), others=st.lists(st.integers(0, 5)))
def test_usage_is_what_is_counted(codes, others):
    usage, other = roundelay.Usage(6), roundelay.Usage(6)
    usage.add(np.array(codes, "int32"))
    other.add(np.array(others, "int64").reshape(-1, 1))
    usage.merge(other)
    counts = np.bincount([code for code in codes + others if code >= 0], minlength=6)
    np.testing.assert_array_equal(usage.counts, counts)
    assert (usage.total, usage.used) == (counts.sum(), (counts > 0).sum())
    assert usage.dead() == [code for code in range(6) if counts[code] == 0]
    assert usage.dead(count=2) == [code for code in range(6) if counts[code] < 2]
    shares = counts[counts > 0] / max(counts.sum(), 1)
    assert usage.perplexity == pytest.approx(2 ** -(shares * np.log2(shares)).sum()) or not usage.total


def test_what_is_no_code_is_not_counted():
    usage = roundelay.Usage(4)
    with pytest.raises(ValueError, match="the code at position 2 is 4, expected one below 4"):
        usage.add(np.array([1, -1, 4]))
    assert usage.total == 0
    with pytest.raises(ValueError, match="5 codes, expected 4"):
        usage.merge(roundelay.Usage(5))
    with pytest.raises(ValueError, match="threshold of dead codes"):
        usage.dead(fraction=2)


def test_joint_vocabularies_are_encoded_and_decoded():
    joint = roundelay.Joint.disjoint({"text": 32000, "audio": 2048})
    assert (joint.size, joint.parts) == (34048, {"text": 32000, "audio": 2048})
    ids = np.array([[0, 2047], [-1, 5]], "int32")
    encoded = joint.encode("audio", ids)
    assert encoded.tolist() == [[32000, 34047], [-1, 32005]]
    assert joint.decode("audio", encoded).tolist() == ids.tolist()
    assert joint.mask("audio").nonzero()[0].tolist() == list(range(32000, 34048))
    assert roundelay.Joint.shared({"a": 3, "b": 5}).shared_ids("a", "b") == [0, 1, 2]
    assert list(roundelay.Joint.of_layout("delay-1", {"words": 10}).parts) == ["words", "text", "main.0", "main.1"]
    assert roundelay.Joint.from_json(joint.to_json()) == joint
    assert all(roundelay.Joint.preset(name).size for name in roundelay.Joint.presets())
    with pytest.raises(ValueError, match="position 1"):
        joint.decode("audio", np.array([32000, 7]))
    with pytest.raises(ValueError, match="one of text, audio"):
        joint.mask("video")


def test_the_codec_hears_what_it_says():
    codec = roundelay.Codec()
    time = np.arange(codec.sample_rate, dtype="float32") / codec.sample_rate
    codes = codec.encode(0.3 * np.sin(2 * np.pi * 150 * time))
    assert codes.shape == (codec.codebooks, 13) and codes.dtype == np.int32
    assert 0 <= codes.min() and codes.max() < codec.cardinality
    samples = codec.decode(codes)
    assert samples.shape == (13 * codec.sample_rate * 2 // 25,) and np.abs(samples).max() > 0.05
    with pytest.raises(ValueError, match="the samples have 2 axes, expected 1"):
        codec.encode(np.zeros((2, 9), "float32"))
    with pytest.raises(ValueError, match="mp3"):
        roundelay.Codec("mp3")


AWKWARD = {
    "a field of a record": lambda codes: np.rec.fromarrays([codes, codes.astype("int8")], names="x,y")["x"],
    "big-endian": lambda codes: codes.astype(">i8"),
    "reversed": lambda codes: np.ascontiguousarray(codes[::-1, ::-1])[::-1, ::-1],
    "unaligned": lambda codes: np.frombuffer(b"0" + codes.tobytes(), "uint8")[1:].view("int64").reshape(codes.shape),
    "unsigned": lambda codes: codes.astype("uint64"),
    "a list": lambda codes: codes.tolist(),
    "read only": lambda codes: np.broadcast_to(codes, (1, *codes.shape))[0],
}


@pytest.mark.parametrize("awkward", AWKWARD)
def test_ids_are_seen_however_they_lie(awkward):
    codes = np.arange(12).reshape(3, 4) + 10
    given = AWKWARD[awkward](codes)
    assert_array_equal(roundelay.build(given, "delay-1").tokens, roundelay.build(codes, "delay-1").tokens)
    usage = roundelay.Usage(30)
    usage.add(given)
    assert_array_equal(usage.counts, np.bincount(codes.ravel(), minlength=30))


def test_small_ids_and_none_are_seen():
    tokens = roundelay.build(np.array([[1, 2], [3, 4], [5, 6]], "int8"), "delay-1", extent="truncate").tokens
    assert tokens.dtype == np.int16 and tokens.tolist() == [[1, 2], [2048, 3], [2048, 5]]
    usage = roundelay.Usage(4)
    usage.add([])
    assert usage.total == 0


COPIED = [
    Layout("moshi-7b"),
    Delay("delay-1", "truncate", "initial"),
    Delay("delay-1", pattern={"pattern": "flatten", "delays": [0, 1, 1]}, frames=5),
    Policy("kyutai", text_pad=0.3, normalize="none"),
    roundelay.Joint.disjoint({"text": 5, "audio": 7}),
]


@pytest.mark.parametrize("made", COPIED, ids=repr)
def test_what_workers_are_told_is_pickled(made):
    assert pickle.loads(pickle.dumps(made)) == made
    assert repr(pickle.loads(pickle.dumps(made))) == repr(made)


WRONG = {
    "cardinality is 4611686018427387904": lambda: roundelay.Usage(2**62),
    "number of frames is 4611686018427387904": lambda: Words(None, conftest_bpe()).align(2**62, "delay-1"),
    "number of windows": lambda: roundelay.kyutai_windows(1e18, 1e-9),
    "length of the recording is inf": lambda: roundelay.kyutai_windows(math.inf, 1),
    'over is "step", expected "both", "frames" or "steps"': lambda: roundelay.weigh(np.zeros((3, 4), "int64"), "delay-1", over="step"),
    "stream_axis is 18446744073709551615 of 3": lambda: Delay("delay-1").unshift(np.zeros((3, 4, 5), "float32"), 2**64 - 1),
    "the array has 33 axes, expected at most 32": lambda: roundelay.build(np.zeros((1,) * 31 + (3, 4), "int64"), "delay-1"),
    "layout is 5, expected a Layout or the name of a preset": lambda: roundelay.build(np.zeros((3, 4), "int64"), 5),
    "a column of ids is .3, 2., expected .2, 3.": lambda: roundelay.DelayLine("delay-1", 2).step(np.zeros((3, 2), "int64")),
    "the ids of a row have 2 axes, expected 1": lambda: roundelay.words_from_row(np.zeros((1, 5), "int64"), "delay-1", conftest_bpe()),
    "an id is 9223372036854775808": lambda: roundelay.build(np.full((3, 4), 2**63, "uint64"), "delay-1"),
    "the array has a mask": lambda: roundelay.build(np.ma.masked_array(np.zeros((3, 4), "int64"), mask=True), "delay-1"),
    "not JSON compliant": lambda: Policy(text_pad=math.nan),
}


def conftest_bpe():
    return roundelay.Tokenizer(conftest.BPE)


@pytest.mark.parametrize("message", WRONG)
def test_wrong_values_are_told_and_do_not_panic(message):
    with pytest.raises((ValueError, TypeError), match=message):
        WRONG[message]()


def test_others_go_on_during_long_calls():
    """A thread counts while the library works: where that held the interpreter's lock, it could count at the ends alone."""
    codes = np.random.default_rng(0).integers(0, 2048, (64, 17, 4000))
    text, joint = "a b c " * 200_000, roundelay.Joint.disjoint({"text": 32000, "audio": 2_000_000})
    usage, tokenizer, line = roundelay.Usage(2048), conftest_bpe(), roundelay.DelayLine("moshi-7b", 64)
    calls = {
        "build": lambda: roundelay.build(codes, "moshi-7b"),
        "weigh": lambda: roundelay.weigh(codes, "moshi-7b"),
        "usage": lambda: usage.add(codes),
        "encode": lambda: tokenizer.encode(text),
        "joint": lambda: joint.encode("audio", codes),
        "prefill": lambda: line.prefill(codes),
    }
    for name, call in calls.items():
        # A busy machine may not let the thread run at once.
        assert any(beats_during(call) > 2 for _ in range(20)), name


def beats_during(call):
    beats, over = [], threading.Event()

    def beat():
        while not over.wait(0.0005):
            beats.append(None)

    thread = threading.Thread(target=beat)
    thread.start()
    before = len(beats)
    call()
    during = len(beats) - before
    over.set()
    thread.join()
    return during


def test_long_sequences_are_not_drawn():
    assert repr(roundelay.build(np.zeros((17, 6000), "int64"), "moshi-7b")) == "Built [17, 6001]"
    assert repr(roundelay.training(np.zeros((2, 3, 4), "int64"), "delay-1")) == "Training (2, 3, 6)"
    built = roundelay.build(np.zeros((3, 3), "int64"), "delay-1")
    built.tokens.shape = (12,)
    assert repr(built) == "Built [12]"
