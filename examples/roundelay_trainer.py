"""The trainer's side of roundelay's pipe, in Python: docs/format.md, "Trainers behind a pipe".

Copy this file beside a trainer of your own and call `serve(make)`, where `make(spec, options)` builds an object with

    batch(tensors, segments)    what a batch becomes on the device; called on a thread of its own, ahead of its use
    step(batches)               one optimisation step on the sum of their losses; returns a report
    evaluate(batch)             a report, and the model stays as it is
    save(), load(data)          a checkpoint, as the bytes of a safetensors file; load leaves the model alone if it fails
    score(batch, tensors)       for roundelay's tests: the report that these logits give
    about                       a dict of what may be told of the trainer

What they raise is told to the host. Whatever is printed goes to standard error. Only the standard library is needed.
"""

import io
import json
import math
import os
import queue
import struct
import sys
import threading
import traceback

PROTOCOL = 1
SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "I64": 8, "F64": 8}


def read_safetensors(data):
    """Metadata, and `{name: (dtype, shape, bytes)}`; everything is checked, nothing is copied."""
    data = memoryview(data)
    if len(data) < 8 or (length := struct.unpack("<Q", data[:8])[0]) > len(data) - 8:
        raise ValueError(f"no safetensors file: {len(data)} bytes, cut short within its header")
    header, body = json.loads(bytes(data[8 : 8 + length])), data[8 + length :]
    metadata, tensors, end = header.pop("__metadata__", {}), {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        (dtype, shape, offsets), begin = (entry["dtype"], entry["shape"], entry["data_offsets"]), end
        if min(shape, default=1) < 0:
            raise ValueError(f"tensor {name} has the shape {shape}")
        end += math.prod(shape) * SIZES[dtype]
        if offsets != [begin, end] or end > len(body):
            raise ValueError(f"tensor {name} is at {offsets}, expected {[begin, end]} of {len(body)} bytes")
        tensors[name] = (dtype, shape, body[begin:end])
    if end != len(body):
        raise ValueError(f"{len(body) - end} bytes behind the last tensor")
    return metadata, tensors


def write_safetensors(tensors, metadata):
    """A file of `{name: (dtype, shape, bytes)}`; the same tensors give the same bytes."""
    header, end = {"__metadata__": metadata}, 0
    names = sorted(tensors, key=lambda name: (-SIZES[tensors[name][0]], name))
    for name in names:
        dtype, shape, data = tensors[name]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(tensors[name][2] for name in names)])


def read_exactly(file, count):
    """So many bytes, in memory that can be written to; none where the file has ended."""
    data, at = bytearray(count), 0
    with memoryview(data) as view:
        while at < count and (read := file.readinto(view[at:])):
            at += read
    if 0 < at < count:
        raise ValueError(f"a message ends after {at} bytes of {count}")
    return data if at == count else None


def read_message(file):
    """A message and its tensors; none at the end."""
    length = read_exactly(file, 8)
    if length is None:
        return None
    data = read_exactly(file, struct.unpack("<Q", length)[0])
    if data is None:
        raise ValueError("a message ends behind its length")
    metadata, tensors = read_safetensors(data)
    return json.loads(metadata["message"]), tensors


def number(value):
    """JSON has no NaN and no infinity: both are null."""
    return value if math.isfinite(value) else None


class Served:
    def __init__(self, trainer, answers):
        self.trainer, self.answers, self.batches = trainer, answers, {}

    def say(self, answer, data=b""):
        self.answers.write(json.dumps(answer, allow_nan=False).encode() + b"\n" + data)
        self.answers.flush()

    def named(self, number):
        batch = self.batches[number]
        if isinstance(batch, Exception):
            raise batch
        return batch

    def do(self, message, tensors, batch):
        for old in message.get("forget", []):
            self.batches.pop(old, None)
        match message["do"]:
            case "batch":
                self.batches[message["number"]] = batch
            case "step":
                self.say({"report": self.trainer.step([self.named(number) for number in message["batches"]])})
            case "evaluate":
                self.say({"report": self.trainer.evaluate(self.named(message["batch"]))})
            case "score":
                self.say({"report": self.trainer.score(self.named(message["batch"]), tensors)})
            case "save":
                data = self.trainer.save()
                self.say({"bytes": len(data)}, data)
            case "load":
                self.trainer.load(tensors["checkpoint"][2])
                self.say({"loaded": True})
            case other:
                raise ValueError(f"no message of protocol {PROTOCOL}: {other}")

    def answer(self, asked):
        """Does what a message says; what goes wrong is the answer, and the trainer goes on."""
        try:
            self.do(*asked)
        except Exception as error:
            traceback.print_exc()
            self.say({"error": f"{type(error).__name__}: {error}"})


def read_ahead(messages, trainer, asked):
    """Takes batches to the device while the device works on others. The host never has more than a few under way."""
    try:
        while (read := read_message(messages)) is not None:
            (message, tensors), batch = read, None
            if message["do"] == "batch":
                try:
                    batch = trainer.batch(tensors, message["segments"])
                except Exception as error:  # told once the batch is to be used
                    batch = error
            asked.put((message, tensors, batch))
        asked.put(None)
    except Exception as error:
        asked.put(error)


def serve(make):
    """Does what the messages on standard input say until there are no more."""
    messages = io.FileIO(0, closefd=False)
    # Only answers may reach the host: what anybody prints, C++ included, goes to standard error.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    first = read_message(messages)
    if first is None:
        return
    served = Served(None, answers)
    try:
        message = first[0]
        if (message["do"], message["protocol"]) != ("start", PROTOCOL):
            raise ValueError(f"the first message is {message['do']}, expected start of protocol {PROTOCOL}")
        served.trainer = make(message["spec"], message["options"])
    except Exception as error:
        traceback.print_exc()
        served.say({"error": f"{type(error).__name__}: {error}"})
        sys.exit(1)
    served.say({"protocol": PROTOCOL, "about": getattr(served.trainer, "about", None)})
    asked = queue.Queue(2)
    threading.Thread(target=read_ahead, args=(messages, served.trainer, asked), daemon=True).start()
    while (next_asked := asked.get()) is not None:
        if isinstance(next_asked, Exception):
            raise next_asked
        served.answer(next_asked)
