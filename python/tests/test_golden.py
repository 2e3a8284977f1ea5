"""Results against what the peers' own code gave for the same inputs (`fixtures/README.md` says how it was recorded)."""

import json
import math

import numpy as np
import pytest
from conftest import BPE, FIXTURES, UNIGRAM, kind_of, layout, recorded, stream
from numpy.testing import assert_array_equal

import roundelay
from roundelay import Delay, KyutaiLine, Policy, Tokenizer, Words


def test_moshi_delay():
    cases, tensors = recorded("moshi/delay")
    logits = 0
    for case in cases:
        params, ours = case["params"], lambda name: tensors[f"{case['name']}/{name}"]
        ids = [params["text_initial"], params["audio_initial"]]
        rows = [
            stream(f"s{k}", "text" if k == 0 else kind_of(k - 1), ids[min(k, 1)], delay, level=k - 1, trained=k <= params["dep_q"])
            for k, delay in enumerate(params["delays"])
        ]
        grid, codes = layout(rows), ours("codes")
        plain, initial = Delay(grid, "truncate"), Delay(grid, "truncate", "initial")
        assert_array_equal(plain.build(codes).tokens, ours("delayed"))
        full = initial.build(codes).tokens
        assert_array_equal(full, ours("delayed_full"))
        training = Policy().training(codes, initial)
        assert_array_equal(training.input, ours("model_input"))
        assert_array_equal(training.target, ours("target"))
        undone = plain.undo(ours("target"), missing=-7)
        assert_array_equal(undone.codes, ours("undelayed_target"))
        assert_array_equal(undone.mask, ours("undelayed_mask"))
        assert_array_equal(plain.unshift(ours("payload"), stream_axis=1), ours("undelayed_payload"))
        counts = Policy(text_pad=1.0, semantic=1.0, acoustic=1.0, normalize="none").weigh(codes, plain).frames > 0
        trained = 1 + params["dep_q"]
        assert_array_equal(counts[:, :1], ours("text_mask"))
        assert_array_equal(counts[:, 1:trained], ours("audio_mask"))
        assert not counts[:, trained:].any()
        if "logits" in case["tensors"]:
            for raw, known, part in [("logits_raw", "logits", rows[1:]), ("text_logits_raw", "text_logits", rows[:1])]:
                part = layout(part[: ours(raw).shape[1]])
                assert_array_equal(Delay(part, "truncate").unshift(ours(raw), stream_axis=1), ours(known))
            logits += 1
    assert (len(cases), logits) == (20, 7)


def kyutai(params):
    """The peer's options as a policy; none if it has no ids for text."""
    changes = {"semantic": params["first_codebook_weight_multiplier"], "normalize": "none"}
    if params.get("mode") == "audio":
        return Policy("kyutai", **changes)
    ids = params["text_padding_ids"]
    if ids is None:
        return None
    pads = {(0, 3): "pad_and_end_pad", (3,): "pad", (): "pad"}[tuple(ids)]
    return Policy("kyutai", **changes, pad_ids=pads, text_pad=params["text_padding_weight"] if ids else 1.0)


def loss(weights, logits, targets):
    """Weights times cross-entropies, by sums; what weighs nothing is not looked at."""
    logits = logits.astype("float64")
    chosen = np.take_along_axis(logits, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    entropies = np.log(np.exp(logits).sum(axis=-1)) - chosen
    return np.where(weights > 0, weights * entropies, 0).sum()


def test_moshi_loss_weights_and_losses():
    cases, tensors = recorded("moshi/loss")
    run = {"loss": 0, "end_to_end": 0, "refused": 0}
    for case in cases:
        params, ours = case["params"], lambda name: tensors[f"{case['name']}/{name}"]
        policy = kyutai(params)
        if policy is None:
            assert case["expect"]["error"] == "AssertionError"
            with pytest.raises(ValueError, match="policy is ill-formed"):
                Policy("kyutai", pad_ids=None)
            run["refused"] += 1
        elif case["kind"] == "loss":
            check_loss(case, policy, ours)
            run["loss"] += 1
        else:
            check_end_to_end(case, policy, ours)
            run["end_to_end"] += 1
    assert run == {"loss": 13, "end_to_end": 2, "refused": 1}


def check_loss(case, policy, ours):
    params = case["params"]
    if params["mode"] == "text":
        grid = layout([stream("text", "text", params["card"])])
    else:
        grid = layout([stream(f"s{k}", kind_of(k), params["card"], level=k) for k in range(params["K"])])
    codes = np.where(ours("mask") != 0, ours("target"), -1)
    weights = policy.weigh(codes, Delay(grid, "truncate"))
    if "error" in case["expect"]:
        # The peer gives a target of -1 a weight and fails on it; here it is absent.
        assert_array_equal(weights.frames, np.where(codes < 0, 0, ours("weights")))
        return
    assert_array_equal(weights.frames, ours("weights"))
    total = weights.sums["text"] + weights.sums["audio"]
    assert total == ours("weight_sum")[0]
    ours_loss = loss(weights.frames, ours("logits"), codes)
    if total > 0:
        assert ours_loss / total == pytest.approx(case["expect"]["loss"], rel=1e-5)
    else:
        # Nothing to learn: NaN there, nothing here.
        assert case["expect"]["loss_is_nan"] and ours_loss == 0


def check_end_to_end(case, policy, ours):
    params, expect = case["params"], case["expect"]
    rows = [
        stream(f"s{k}", "text" if k == 0 else kind_of(k - 1), params["text_card" if k == 0 else "card"], delay, level=k - 1,
               trained=k <= params["dep_q"])
        for k, delay in enumerate(params["delays"])
    ]
    for batch in range(params["num_microbatches"]):
        codes = ours(f"mb{batch}_codes")
        weighed = policy.weigh(codes, Delay(layout(rows), "truncate"))
        weights = weighed.frames
        trained = slice(1, 1 + params["dep_q"])
        # Of what the logits cannot tell, as truncation cut it off, the weights are 0.
        text = loss(weights[:, :1], ours(f"mb{batch}_text_logits"), codes[:, :1]) / weighed.sums["text"]
        audio = loss(weights[:, trained], ours(f"mb{batch}_logits"), codes[:, trained]) / weighed.sums["audio"]
        for name, value in {"text_loss": text, "audio_loss": audio, "loss": text + audio}.items():
            assert value == pytest.approx(expect["microbatches"][batch][name], rel=1e-5), (case["name"], name)
        assert_array_equal(weights[:, :1], ours(f"mb{batch}_text_weights"))
        assert_array_equal(weights[:, 1 : 1 + params["dep_q"]], ours(f"mb{batch}_audio_weights"))
        assert not weights[:, 1 + params["dep_q"] :].any()


@pytest.mark.parametrize(("family", "model"), [("tokenize", BPE), ("tokenize_unigram", UNIGRAM)])
def test_moshi_tokenize(family, model):
    cases, _ = recorded(f"moshi/{family}")
    tokenizer = Tokenizer(model.read_bytes())
    for case in cases:
        text, expect = case["params"]["text"], case["expect"]
        assert tokenizer.encode(text) == expect["ids"], text
        assert [tokenizer.bos, *tokenizer.encode(text)] == expect["ids_bos"]
        word = Words([(text, (0.0, 1.0), "")], tokenizer).align(0, "moshi-7b", "").words
        assert word[0].tokens == expect["stripped_ids"], text
    assert len(cases) == 75


def rule_options(options, tokenizer):
    rule = {name: options[name] for name in ("in_word_padding", "keep_main_only", "keep_and_shift", "audio_delay")}
    markers = {"bos": tokenizer.bos, "eos": tokenizer.eos} if options["use_bos_eos"] else None
    return rule | {"turn_markers": markers}


def test_moshi_interleave(bpe):
    cases, _ = recorded("moshi/interleave")
    for case in cases:
        params, expect = case["params"], case["expect"]
        options = params["options"]
        rule = {"rule": "kyutai", **rule_options(options, bpe)}
        words = params.get("alignments")
        if params.get("tokenized") is not None:
            # Short words were left out before this step: a duration too small for any frame to tell keeps them in.
            words = [(ids, (start, max(end, math.nextafter(start, math.inf))), who) for ids, (start, end), who in params["tokenized"]]
        elif words is not None:
            words = [(text, tuple(times), who) for text, times, who in words]
        text = stream("text", "text", 32_000, pad=options["text_padding"]) | {"end_pad": options["end_of_text_padding"]}
        grid = layout([text], options["audio_frame_rate"])
        speaker = options["main_speaker_label"] if params.get("main_speaker") is None else params["main_speaker"]
        frames = math.ceil(params["segment_duration"] * options["audio_frame_rate"])
        row = Words(words, bpe, rule).align(frames, grid, speaker)
        assert [options["zero_padding"] if id == -1 else id for id in row.tokens.tolist()] == expect["tokens"], case["name"]
        if expect.get("tokenized_sorted") is not None:
            assert [(word.tokens, word.start) for word in row.words] == [(ids, start) for ids, (start, _), _ in expect["tokenized_sorted"]]
    assert len(cases) == 83


def window_layout(params, channels, codebooks, delays=None):
    """Text, then the codebooks of each channel."""
    options, delays = params["options"], delays or [0] * (1 + channels * codebooks)
    card = params.get("text_card") or 32_000
    rows = [stream("text", "text", card, delays[0], pad=options["text_padding"]) | {"end_pad": options["end_of_text_padding"]}]
    for k in range(channels * codebooks):
        speaker, level = ["main", "other"][k // codebooks], k % codebooks
        rows.append(stream(f"{speaker}.{level}", kind_of(level), 2048, delays[k + 1], level=level, speaker=speaker, trained=k < codebooks))
    return layout(rows, params["frame_rate"])


def window(codes, file, params, start, grid, tokenizer):
    label, rule = params["options"]["main_speaker_label"], rule_options(params["options"], tokenizer)
    return roundelay.kyutai_window(codes, file["alignments"], start, params["duration_sec"], grid, tokenizer, label, **rule)


def test_moshi_windows(bpe):
    cases, tensors = recorded("moshi/window")
    files = json.loads((FIXTURES / "reference/moshi/window.json").read_text())["files"]
    run = {"window": 0, "chunking": 0, "dicho": 0}
    for case in cases:
        params, name = case["params"], case["name"]
        if case["kind"] == "window":
            grid = window_layout(params, params["channels"], params["num_codebooks"])
            rows = window(tensors[f"{name}/mimi_codes"], files[params["file"]], params, params["start_sec"], grid, bpe)
            assert_array_equal(rows[None], tensors[f"{name}/codes"])
        elif case["kind"] == "chunking":
            own = params["rows"][params["rank"] :: params["world_size"]]
            starts = [[row["path"], start] for row in own for start in roundelay.kyutai_windows(row["duration"], params["duration_sec"])]
            assert starts == [chunk[:2] for chunk in case["expect"]["chunks"]]
        elif case["kind"] == "dicho":
            found = [roundelay.first_not_before(params["starts"], value) for value in params["values"]]
            assert found == case["expect"]["indices"]
        else:
            # test_moshi_finetune has it.
            assert case["kind"] == "collate"
            continue
        run[case["kind"]] += 1
    assert run == {"window": 17, "chunking": 3, "dicho": 1}


def test_moshi_pipeline(bpe):
    cases, tensors = recorded("moshi/pipeline")
    files = json.loads((FIXTURES / "reference/moshi/pipeline.json").read_text())["files"]
    windows = 0
    for case in cases:
        params, ours = case["params"], lambda name: tensors[f"{case['name']}/{name}"]
        grid = window_layout(params, 2, params["dep_q"], params["delays"])
        batch = [window(ours(f"mimi_codes{i}"), files[name], params, start, grid, bpe) for i, (name, start, *_) in enumerate(params["windows"])]
        codes, windows = np.stack(batch), windows + len(batch)
        assert_array_equal(codes, ours("codes"))
        sequence = Delay(grid, "truncate", "initial").build(codes).tokens
        assert_array_equal(sequence[..., :-1], ours("model_input"))
        assert_array_equal(sequence[..., 1:], ours("target"))
        changes = {"text_pad": params["text_padding_weight"], "semantic": params["first_codebook_weight_multiplier"]}
        weights = Policy("kyutai", acoustic=1.0, normalize="none", **changes).weigh(codes, Delay(grid, "truncate")).frames
        assert_array_equal(weights[:, :1], ours("text_weights"))
        assert_array_equal(weights[:, 1 : 1 + params["dep_q"]], ours("audio_weights"))
        assert not weights[:, 1 + params["dep_q"] :].any()
    assert (len(cases), windows) == (3, 4)


def test_moshi_stream():
    cases, tensors = recorded("moshi/stream")
    checked = {"input": 0, "frames": 0, "none": 0, "depth": 0}
    for case in cases:
        params, name = case["params"], case["name"]
        ours = lambda tensor: tensors.get(f"{name}/{tensor}")
        cards = [params["text_card"]] + [params["card"]] * (len(params["delays"]) - 1)
        rows = [stream(f"s{k}", "text" if k == 0 else kind_of(k - 1), cards[k], delay, level=k - 1) for k, delay in enumerate(params["delays"])]
        line = KyutaiLine(layout(rows), params["B"], dep_q=params["dep_q"], out_of_sync=params["support_out_of_sync"])
        assert line.user_streams == params["user_streams_needed"]
        user, audio, depth = (ours(tensor) for tensor in ("user", "audio", "dep_input"))
        none = np.zeros((params["B"], 0), "int64")
        for s in range(params["steps"]):
            if ours("exec_mask") is not None:
                line.set_active((ours("exec_mask")[s] != 0).tolist())
            if ours("reset_before") is not None:
                for row in np.flatnonzero(ours("reset_before")[s]):
                    line.reset(row)
            read = line.input(none if user is None else user[s].reshape(params["B"], -1))
            assert_array_equal(read, ours("input")[s].reshape(read.shape))
            checked["input"] += 1
            if depth is not None and depth[s].size and (depth[s] != -99).any():
                sampled = ours("audio_sampled")[s].reshape(params["B"], -1)
                found = line.depth_input(ours("text")[s].ravel(), sampled)
                assert_array_equal(found, depth[s].reshape(found.shape))
                checked["depth"] += 1
            frame = line.output(ours("text")[s].ravel(), none if audio is None else audio[s].reshape(params["B"], -1))
            assert (frame is None) == bool(ours("out_none")[s])
            if frame is None:
                checked["none"] += 1
            else:
                assert_array_equal(frame, ours("out")[s].reshape(frame.shape))
                checked["frames"] += 1
            assert line.offsets == ours("offsets")[s].ravel().tolist()
    assert len(cases) == 13
    assert checked == {"input": 294, "frames": 273, "none": 21, "depth": 270}


def test_jmoshi_text(bpe):
    cases, _ = recorded("jmoshi/text")
    cut = 0
    for case in cases:
        words = [(word["word"], (word["start"], word["end"]), word["speaker"]) for word in case["words"]]
        rule = {"rule": "jmoshi", "whitespace_before_word": not case["no_whitespace_before_word"]}
        text = stream("text", "text", 32_000, pad=case["text_padding_id"]) | {"end_pad": case["end_of_text_padding_id"]}
        grid = layout([text], case["frame_rate"])
        row = Words(words, bpe, rule).align(len(case["ids"]), grid, "A")
        assert row.tokens.tolist() == case["ids"]
        warned = any(kind == "cut" for kind, _, _ in row.events)
        assert warned == case["warning"]
        cut += warned
    assert (len(cases), cut) == (40, 1)


def jmoshi_layout(case, delays):
    """A speaker's first codebook is the semantic one."""
    levels = case["codebooks_per_speaker"]
    rows = []
    for k, delay in enumerate(delays):
        speaker, level = max(k - 1, 0) // levels, (k - 1) % levels
        rows.append(stream(f"s{k}", kind_of(level) if k else "text", case["initial"][k], delay, level=level, pad=case["pad"][k],
                           speaker=["main", "other"][speaker], trained=speaker == 0 or case["model_user_stream"]))
    return layout(rows)


def test_jmoshi_sequences_labels_weights_and_losses():
    cases, tensors = recorded("jmoshi/jmoshi")
    sequences = chunks = losses = 0
    for case in cases:
        ours = lambda name: tensors[f"{case['id']}/{name}"]
        grid, ignore = jmoshi_layout(case, case["delays"]), case["zero"]
        delay = Delay(grid, "extend", "initial")
        for i in range(len(case["lengths"])):
            codes = ours(f"codes{i}")
            built = delay.build(codes)
            assert_array_equal(built.tokens, ours(f"delayed{i}"))
            assert_array_equal(Delay(grid).undo(built.tokens[:, 1:]).codes, ours(f"undelayed{i}")[0])
            assert_array_equal(delay.undo(built.tokens).codes, codes)
            sequences += 1
        for i in range(case["chunks"]):
            assert_array_equal(roundelay.jmoshi_labels(ours(f"chunk{i}"), grid, ignore), ours(f"labels{i}"))
            chunks += 1
        # Labels stand for themselves: what is ignored is absent, and nothing is left to shift.
        still = Delay(jmoshi_layout(case, [0] * len(grid)), "truncate")
        weights = Policy("jmoshi").weigh(ours("batch_labels")[:, :, 1:], still).frames
        assert_array_equal(weights[:, 0], ours("weights_text").astype("float32"))
        audio = ours("weights_audio").astype("float32").transpose(0, 2, 1)
        assert_array_equal(weights[:, 1 : 1 + audio.shape[1]], audio)
        assert not weights[:, 1 + audio.shape[1] :].any()
        if case["loss"] is not None:
            folded = np.concatenate([ours("loss_text_labels")[:, None], ours("loss_audio_labels").transpose(0, 2, 1)], axis=1)
            text = loss(weights[:, 0], ours("loss_text_logits"), folded[:, 0])
            audio = loss(weights[:, 1 : folded.shape[1]], ours("loss_audio_logits").transpose(0, 2, 1, 3), folded[:, 1:])
            assert text + audio == pytest.approx(case["loss"], rel=1e-5)
            losses += 1
    assert (len(cases), sequences, chunks, losses) == (8, 24, 36, 8)
