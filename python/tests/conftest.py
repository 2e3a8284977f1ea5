"""Recorded cases of the peers, and layouts as they had them."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import roundelay

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
BPE = FIXTURES / "tokenizers" / "mistral_v1_32k_bpe.model"
UNIGRAM = FIXTURES / "tokenizers" / "small_unigram_2000.model"


def recorded(name):
    """Cases and tensors of a family, by name; a case's tensors are under its own name."""
    path = FIXTURES / "reference" / name
    family = json.loads(path.with_suffix(".json").read_text())
    tensors = path.with_suffix(".safetensors")
    cases = family["cases"] if isinstance(family, dict) else family
    return cases, load_file(tensors) if tensors.exists() else {}


def stream(name, kind, cardinality, delay=0, *, pad=None, level=None, trained=True, speaker="main"):
    """A stream as a layout's JSON has it; ids outside the data are the cardinality, as with Kyutai."""
    text = kind == "text"
    row = {"name": name, "kind": kind, "speaker": speaker, "cardinality": cardinality, "delay": delay}
    row |= {"initial": cardinality, "pad": (3 if text else cardinality) if pad is None else pad, "trained": trained}
    return row | ({"end_pad": 0} if text else {"level": level})


def layout(streams, frame_rate=12.5):
    return roundelay.Layout.from_json({"name": "recorded", "frame_rate": frame_rate, "streams": streams})


def kind_of(level):
    return "semantic" if level == 0 else "acoustic"


@pytest.fixture(scope="session")
def bpe():
    return roundelay.Tokenizer(BPE)
