"""A trainer for roundelay in PyTorch: a small model of the Moshi kind, on processor or GPU.

    roundelay train DIR --trainer "python3 examples/train_torch.py" --set device=cuda --set bf16=true

    step s    inputs of all streams ─ embeddings, summed ─> temporal transformer ─> state ─> text head
                                                                                     │
              targets of the streams before k ─ embedding ─────────────────> depth transformer ─> head of stream k

An absent input (-1) embeds to zero; steps attend to earlier ones of their own segment. All logic of the loss is in
`measure`: sum of weight x cross-entropy over the positions with a weight. Needs torch and nothing else.
"""

import json
import math
import os
from dataclasses import asdict, dataclass

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or matrix products differ from run to run

import torch
import torch.nn.functional as F
from roundelay_trainer import number, read_safetensors, serve, write_safetensors
from torch import nn

DTYPES = {"I32": torch.int32, "F32": torch.float32, "U8": torch.uint8}
FORMAT = "roundelay train_torch 1"


@dataclass
class Options:
    seed: int = 0
    device: str = "auto"  # cuda if it is there
    bf16: bool = False  # matrix products in bfloat16, on CUDA
    threads: int = 0  # of the processor; 0: all cores
    width: int = 128
    layers: int = 2
    heads: int = 4
    depth_width: int = 64
    depth_layers: int = 2
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 1.0


def rotary(places, size):
    """Cosines and sines `[.., 1, time, size]`: how far pairs of numbers are turned at each place."""
    rates = 10000.0 ** (-torch.arange(0, size, 2, device=places.device) / size)
    angles = (places[..., None] * rates)[..., None, :, :].repeat(*[1] * (places.dim() + 1), 2)
    return angles.cos(), angles.sin()


def turn(x, rotary):
    half = torch.cat([-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]], -1)
    return x * rotary[0] + half * rotary[1]


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 8 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x, rotary, **seen):
        batch, time, width = x.shape
        split = self.qkv(self.norms[0](x)).view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k = (turn(part, rotary).to(x.dtype) for part in split[:2])
        heard = F.scaled_dot_product_attention(q, k, split[2].to(x.dtype), **seen)
        x = x + self.out(heard.transpose(1, 2).reshape(batch, time, width))
        gate, up = self.up(self.norms[1](x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def embed(table, ids):
    """Zero for ids that the table has not: -1 among them."""
    there = (ids >= 0) & (ids < table.num_embeddings)
    return table(ids.where(there, 0)) * there[..., None]


class Model(nn.Module):
    def __init__(self, spec, options):
        super().__init__()
        width, depth, heads = options.width, options.depth_width, options.heads
        streams = spec["streams"]
        self.trained = [k for k, stream in enumerate(streams) if stream["trained"]]
        # Text that comes first is said by the temporal transformer, all else by the depth transformer.
        self.text = self.trained[:1] if self.trained and streams[self.trained[0]]["kind"] == "text" else []
        self.audio = self.trained[len(self.text) :]
        self.inputs = nn.ModuleList(nn.Embedding(stream["inputs"], width) for stream in streams)
        self.temporal = nn.ModuleList(Block(width, heads) for _ in range(options.layers))
        self.norm = nn.RMSNorm(width)
        self.text_heads = nn.ModuleList(nn.Linear(width, streams[k]["outputs"]) for k in self.text)
        self.states = nn.ModuleList(nn.Linear(width, depth, bias=False) for _ in self.audio)
        self.said = nn.ModuleList(nn.Embedding(streams[k]["inputs"], depth) for k in self.trained[:-1])
        self.depth = nn.ModuleList(Block(depth, heads) for _ in range(options.depth_layers))
        self.depth_norm = nn.RMSNorm(depth)
        self.heads = nn.ModuleList(nn.Linear(depth, streams[k]["outputs"]) for k in self.audio)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02 if "heads" in name else parameter.shape[1] ** -0.5)

    def forward(self, batch):
        """For each trained stream its logits `[cells, outputs]`, where it has a weight."""
        x = sum(embed(table, batch["input"][:, k]) for k, table in enumerate(self.inputs))
        segments, steps = batch["segment_ids"], x.shape[1]
        seen = (segments[:, :, None] == segments[:, None, :]) & (segments >= 0)[:, :, None]
        # A step without a segment hears itself, or it would hear nothing: that is no number.
        seen = seen.tril() | torch.eye(steps, dtype=torch.bool, device=x.device)
        turned = rotary(batch["places"], x.shape[2] // self.temporal[0].heads)
        for block in self.temporal:
            x = block(x, turned, attn_mask=seen[:, None])
        x, weighs = self.norm(x), batch["weights"] > 0
        logits = {k: head(x[weighs[:, k]]) for k, head in zip(self.text, self.text_heads)}
        if self.audio:
            live = weighs[:, self.audio].any(1)
            depth = self.through_depth(x[live], batch["target"].transpose(1, 2)[live])
            for j, (k, head) in enumerate(zip(self.audio, self.heads)):
                logits[k] = head(depth[weighs[:, k][live], j])
        return logits

    def through_depth(self, state, target):
        """`[cells, streams, depth]`: each stream knows the state and what the trained streams before it should say."""
        x = torch.stack([linear(state) for linear in self.states], 1)
        before = self.trained[len(self.text) - 1 : -1] if self.text else self.trained[:-1]
        said = [embed(table, target[:, k]) for k, table in zip(before, self.said)]
        said = torch.stack(said, 1) if said else x[:, :0]
        # Without text nothing is said before the first stream.
        x = x + F.pad(said, (0, 0, x.shape[1] - said.shape[1], 0))
        turned = rotary(torch.arange(x.shape[1], device=x.device), x.shape[2] // self.depth[0].heads)
        for block in self.depth:
            x = block(x, turned, is_causal=True)
        return self.depth_norm(x)


def measure(batch, logits):
    """The loss, and for each stream loss, count and nats of its tokens, and of its pads."""
    rows = []
    for k in range(batch["input"].shape[1]):
        weight = batch["weights"][:, k]
        cells = weight > 0
        if k not in logits:
            rows.append(torch.zeros(5, dtype=torch.float64, device=weight.device))
            continue
        nats = F.cross_entropy(logits[k].float(), batch["target"][:, k][cells].long(), reduction="none").double()
        token = (batch["reasons"][:, k][cells] & 127) == 0
        kinds = [part for kind in (token, ~token) for part in (kind.sum().double(), nats[kind].sum())]
        rows.append(torch.stack([(weight[cells] * nats).sum(), *kinds]))
    table = torch.stack(rows)
    return table[:, 0].sum(), table.detach()


class Trainer:
    def __init__(self, spec, options):
        self.options = Options(**options)
        self.spec, device = spec, self.options.device
        there = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(there if device == "auto" else device)
        torch.use_deterministic_algorithms(True)
        if self.options.threads:
            torch.set_num_threads(self.options.threads)
        torch.manual_seed(self.options.seed)
        self.model = Model(spec, self.options).to(self.device)  # drawn on the processor: the same everywhere
        self.named = dict(self.model.named_parameters())
        rate, decay = self.options.learning_rate, self.options.weight_decay
        self.optimizer = torch.optim.AdamW(self.named.values(), rate, (0.9, 0.95), weight_decay=decay)
        for parameter in self.named.values():
            means = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {"step": torch.tensor(0.0), **means}
        self.steps = 0
        self.stream = torch.cuda.Stream() if self.device.type == "cuda" else None
        count = sum(parameter.numel() for parameter in self.named.values())
        self.about = {"trainer": FORMAT, "torch": torch.__version__, "device": str(self.device), "parameters": count}

    def batch(self, tensors, segments):
        host = {name: as_tensor(*tensor) for name, tensor in tensors.items()}
        if not self.stream:
            return host, None
        with torch.cuda.stream(self.stream):
            batch = {name: tensor.pin_memory().to(self.device, non_blocking=True) for name, tensor in host.items()}
            return batch, self.stream.record_event()

    def ready(self, batch):
        tensors, copied = batch
        if copied:
            torch.cuda.current_stream().wait_event(copied)
            for tensor in tensors.values():
                tensor.record_stream(torch.cuda.current_stream())
        return tensors

    def measured(self, batch):
        with torch.autocast("cuda", torch.bfloat16, enabled=self.options.bf16 and self.stream is not None):
            logits = self.model(batch)
        return measure(batch, logits)

    def report(self, tables, norm=None):
        table = sum(tables).tolist()
        labels = lambda count, nats: {"count": int(count), "nats": number(nats)}
        streams = [{"loss": number(row[0]), "tokens": labels(*row[1:3]), "pads": labels(*row[3:5])} for row in table]
        report = {"step": self.steps, "loss": number(sum(row[0] for row in table)), "streams": streams}
        return report if norm is None else report | {"gradient_norm": number(norm)}

    def step(self, batches):
        for parameter in self.named.values():
            parameter.grad = torch.zeros_like(parameter)
        tables = []
        for batch in batches:
            loss, table = self.measured(self.ready(batch))
            tables.append(table)
            if loss.requires_grad:
                loss.backward()
        norm = nn.utils.clip_grad_norm_(self.named.values(), self.options.clip).item()
        if math.isfinite(norm) and all(table.isfinite().all() for table in tables):
            self.optimizer.step()
            self.steps += 1
        return self.report(tables, norm)  # the host refuses what is not finite

    @torch.no_grad()
    def evaluate(self, batch):
        return self.report([self.measured(self.ready(batch))[1]])

    def score(self, batch, tensors):
        batch, logits = self.ready(batch), {}
        for k in self.model.trained:
            logits[k] = as_tensor(*tensors[f"logits.{k}"]).to(self.device)[batch["weights"][:, k] > 0]
        return self.report([measure(batch, logits)[1]])

    def state(self):
        """All tensors of a checkpoint, by name."""
        moments = {name: self.optimizer.state[parameter] for name, parameter in self.named.items()}
        mean = {f"mean.{name}": state["exp_avg"] for name, state in moments.items()}
        square = {f"square.{name}": state["exp_avg_sq"] for name, state in moments.items()}
        return {f"model.{name}": parameter.data for name, parameter in self.named.items()} | mean | square

    def save(self):
        streams, options = json.dumps(self.spec["streams"]), json.dumps(asdict(self.options))
        metadata = {"format": FORMAT, "steps": str(self.steps), "streams": streams, "options": options}
        lost = [name for name, tensor in self.state().items() if not torch.isfinite(tensor).all()]
        if lost:
            raise ValueError(f"tensor {lost[0]} is not finite: nothing is written over the checkpoint before")
        tensors = {name: ("F32", tensor.shape, as_bytes(tensor)) for name, tensor in self.state().items()}
        return write_safetensors(tensors, metadata)

    def load(self, data):
        metadata, tensors = read_safetensors(data)
        if metadata.get("format") != FORMAT or json.loads(metadata["streams"]) != self.spec["streams"]:
            raise ValueError("the checkpoint is of another trainer, or of other streams")
        state, steps = self.state(), int(metadata["steps"])
        if state.keys() != tensors.keys():
            raise ValueError(f"the checkpoint has other tensors: {sorted(state.keys() ^ tensors.keys())[:4]}")
        for name, tensor in state.items():
            if (found := tuple(tensors[name][:2])) != ("F32", list(tensor.shape)):
                raise ValueError(f"tensor {name} is {found}, expected {('F32', list(tensor.shape))}")
        for name, tensor in state.items():
            tensor.copy_(as_tensor(*tensors[name]))
        for parameter in self.named.values():
            self.optimizer.state[parameter]["step"].fill_(steps)
        self.steps = steps


def as_bytes(tensor):
    data = bytearray(tensor.nbytes)
    torch.frombuffer(data, dtype=tensor.dtype).copy_(tensor.flatten())
    return data


def as_tensor(dtype, shape, data):
    """Shares the memory, where there is any."""
    tensor = torch.frombuffer(data, dtype=DTYPES[dtype]) if len(data) else torch.empty(0, dtype=DTYPES[dtype])
    return tensor.view(shape)


if __name__ == "__main__":
    serve(Trainer)
