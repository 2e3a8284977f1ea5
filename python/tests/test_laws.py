"""What holds for any codes."""

import doctest
import pickle
import re
from pathlib import Path

import conftest
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_array_equal

import roundelay
from roundelay import Delay, Layout, Words

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


@given(built())
def test_training_is_build_and_weigh(case):
    delay, codes = case
    if not fits(delay, codes):
        return
    policy = roundelay.Policy("moshi", normalize="none")
    tokens, weights = delay.build(codes).tokens, policy.weigh(codes, delay)
    if tokens.shape[-1] == 0:
        return
    training = policy.training(codes, delay)
    assert_array_equal(training.input, tokens[..., :-1])
    assert_array_equal(training.target, tokens[..., 1:])
    assert_array_equal(training.weights, weights.steps[..., 1:])


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
    with pytest.raises(TypeError, match="the ids are float64, expected int64"):
        roundelay.build(np.zeros((3, 4)), "delay-1")
    with pytest.raises(ValueError, match="extent is \"long\", expected \"extend\" or \"truncate\""):
        roundelay.build(np.zeros((3, 4), "int64"), "delay-1", extent="long")
    with pytest.raises(ValueError, match="no-such"):
        Layout("no-such")
    with pytest.raises(OSError, match="no-such.model"):
        roundelay.Tokenizer("no-such.model")
    with pytest.raises(ValueError, match="missing is -1"):
        roundelay.undo(np.zeros((3, 4), "uint16"), "delay-1", extent="truncate")
