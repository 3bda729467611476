#!/usr/bin/env python3
"""An independent computation of what `redline quality` prints: perplexity, KL divergence and same-top share of the number
formats beside a baseline, with a Llama forward pass in PyTorch that shares no line with Redline.

    redline tokenize --file models/demo/eval.txt --no-special-tokens --json > ids.json
    python3 tools/reference/quality_reference.py models/demo ids.json -o tests/data/quality_reference.json

Needs torch and safetensors; runs on the CPU. Not part of the build. The ids are those of the
text alone, without a begin token. Between the places where a format rounds, all sums are in double.

No two programs get the same figures: where a sum ends close to the middle of two codes, another order of the same float
additions tips the rounding, and every later layer sees it. How far that goes is measured here instead of guessed: the
figures are computed --runs times, each time with random errors of the size that float arithmetic may make. A product is
off by up to 2^-22 of itself (some units in the last place of float); with 16-bit activations attention's probabilities by
up to 2^-9 too, as a kernel may round them to bf16 before it multiplies them with V (src/ops/tolerance.cpp). The file
holds mean and standard deviation over the runs, and `exact`, the figures without any such error.

The formats, as docs/cli.md ("Number formats"), src/num/int8.h and src/num/fp8.h state them:
  - Residual stream and logits are fp32. Values between the operations (normed input, q k v, rotated q and k, attention's
    output, gate and up, their product) and the cache are rounded to the activations' type once each.
  - Embedding and head keep 16 bits (fp32 in fp32). q, k and v are one matrix, gate and up another.
  - W8A8: codes of the weights per output channel (one scale of the whole matrix in fp8-tensor, of 128 x 128 blocks in
    fp8-block), codes of the input per token (128 columns of a token in fp8-block); scale = absmax / 127 or / 448 and
    code = round(x / scale), all in fp32, to nearest even, clamped.
"""
import argparse, json, math, platform, statistics
from pathlib import Path

import safetensors
import safetensors.torch
import torch

BLOCK = 128
ACTIVATIONS = {"fp32": torch.float32, "fp16": torch.float16}  # all others: bf16
FORMATS = ["fp32", "fp16", "int8", "fp8", "fp8-tensor", "fp8-block", "int8-wo", "fp8-wo"]


def codes_of(x, scale, kind):
    """The values of the codes of x (fp32), as double; scale (fp32) has x's shape or broadcasts to it."""
    ratio = torch.where(scale > 0, x / scale, torch.zeros_like(x))
    if kind == "int8":
        return torch.round(ratio).clamp(-127, 127).double()  # torch.round: ties to even
    return ratio.clamp(-448, 448).to(torch.float8_e4m3fn).double()


def scale_of(absmax, kind):
    return absmax / (127.0 if kind == "int8" else 448.0)  # fp32


class Matrix:
    """A weight [rows, cols] of a layer in a format, and the product with it."""

    def __init__(self, weight, fmt):
        weight = weight.float()
        self.kind = fmt.split("-")[0] if fmt.startswith(("int8", "fp8")) else None
        self.quantises_input = self.kind is not None and not fmt.endswith("-wo")
        self.blocks = fmt == "fp8-block"
        if self.kind is None:
            self.values = (weight if fmt == "fp32" else weight.to(activation_type(fmt))).double()
        elif self.blocks:
            rows, cols = weight.shape
            self.scale = torch.stack([torch.stack([scale_of(weight[r:r + BLOCK, c:c + BLOCK].abs().max(), "fp8")
                                                   for c in range(0, cols, BLOCK)]) for r in range(0, rows, BLOCK)])
            spread = self.scale.repeat_interleave(BLOCK, 0)[:rows].repeat_interleave(BLOCK, 1)[:, :cols]
            self.scale_rows = self.scale.repeat_interleave(BLOCK, 0)[:rows]  # [rows, blocks of columns]
            self.values = codes_of(weight, spread, "fp8")
        else:
            absmax = weight.abs().max() if fmt == "fp8-tensor" else weight.abs().amax(1, keepdim=True)
            self.scale = scale_of(absmax, self.kind).expand(weight.shape[0], 1)
            self.values = codes_of(weight, self.scale, self.kind)

    def __call__(self, x):
        """x W^T in double; x: values of the activations' type, as double."""
        if self.kind is None:
            return x @ self.values.T
        if not self.quantises_input:
            return (x @ self.values.T) * self.scale.double().T
        x = x.float()
        if self.blocks:
            total = 0
            for b, c in enumerate(range(0, x.shape[1], BLOCK)):
                part = x[:, c:c + BLOCK]
                scale = scale_of(part.abs().amax(1, keepdim=True), "fp8")
                product = codes_of(part, scale, "fp8") @ self.values[:, c:c + BLOCK].T
                total = total + product * (scale * self.scale_rows[:, b]).double()
            return total
        scale = scale_of(x.abs().amax(1, keepdim=True), self.kind)
        product = codes_of(x, scale, self.kind) @ self.values.T  # int8: exact
        if self.kind == "int8":
            return (product.float() * scale * self.scale.T).double()  # num/int8.h, to the bit
        return product * scale.double() * self.scale.double().T


def activation_type(fmt):
    return ACTIVATIONS.get(fmt, torch.bfloat16)


class Llama:
    def __init__(self, folder, fmt, seed=None):
        self.errors = None if seed is None else torch.Generator().manual_seed(seed)
        config = json.loads((folder / "config.json").read_text())
        tensors = safetensors.torch.load_file(str(folder / "model.safetensors"))
        self.type = activation_type(fmt)
        self.layers = config["num_hidden_layers"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.dim = config["head_dim"]
        self.eps = config["rms_norm_eps"]
        self.theta = config["rope_parameters"]["rope_theta"]
        self.bos = config["bos_token_id"]
        table = tensors["model.embed_tokens.weight"]
        self.embedding = (table.float() if fmt == "fp32" else table.to(self.type).float()).double()
        assert config["tie_word_embeddings"] and not config["attention_bias"] and not config["mlp_bias"]
        self.final_norm = tensors["model.norm.weight"].double()
        self.layer = []
        for i in range(self.layers):
            get = lambda name: tensors[f"model.layers.{i}.{name}.weight"]
            self.layer.append({
                "attention_norm": get("input_layernorm").double(),
                "ffn_norm": get("post_attention_layernorm").double(),
                "qkv": Matrix(torch.cat([get(f"self_attn.{p}_proj") for p in "qkv"]), fmt),
                "out": Matrix(get("self_attn.o_proj"), fmt),
                "gate_up": Matrix(torch.cat([get("mlp.gate_proj"), get("mlp.up_proj")]), fmt),
                "down": Matrix(get("mlp.down_proj"), fmt)})

    def inexact(self, x, size=2.0 ** -22):
        """With relative errors of up to `size`; as it is without a seed."""
        if self.errors is None:
            return x
        return x * (1 + size * (2 * torch.rand(x.shape, generator=self.errors, dtype=torch.float64) - 1))

    def round(self, x):
        """To the activations' type, by way of fp32 as sums are."""
        return x.float().to(self.type).double()

    def norm(self, x, weight):
        return self.round(x / torch.sqrt(x.pow(2).mean(1, keepdim=True) + self.eps) * weight)

    def rotate(self, x, cos, sin):  # [tokens, heads, dim]; pairs i, i + dim / 2
        a, b = x[..., :self.dim // 2], x[..., self.dim // 2:]
        return self.round(torch.cat([a * cos - b * sin, b * cos + a * sin], -1))

    def attention(self, q, k, v):
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(self.dim)
        later = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
        weights = torch.softmax(self.inexact(scores).masked_fill(later, -math.inf), -1)
        if self.type != torch.float32:
            weights = self.inexact(weights, 2.0 ** -9)
            weights = weights / weights.sum(-1, keepdim=True)
        return self.round(self.inexact(torch.einsum("hqk,khd->qhd", weights, v)).reshape(q.shape[0], -1))

    def logits(self, ids):
        n, kv = len(ids), self.kv_heads * self.dim
        steps = torch.arange(0, self.dim, 2, dtype=torch.float64)
        angle = torch.arange(n, dtype=torch.float64)[:, None] * self.theta ** (-steps / self.dim)
        cos, sin = angle.cos().float().double()[:, None], angle.sin().float().double()[:, None]
        x = self.embedding[ids]
        add = lambda x, change: (x + change).float().double()  # the residual stream is fp32
        for w in self.layer:
            qkv = self.round(self.inexact(w["qkv"](self.norm(x, w["attention_norm"]))))
            q, k, v = qkv.split([self.heads * self.dim, kv, kv], 1)
            q = self.rotate(q.reshape(n, self.heads, self.dim), cos, sin)
            k = self.rotate(k.reshape(n, self.kv_heads, self.dim), cos, sin)
            x = add(x, self.inexact(w["out"](self.attention(q, k, v.reshape(n, self.kv_heads, self.dim)))))
            gate, up = self.round(self.inexact(w["gate_up"](self.norm(x, w["ffn_norm"])))).chunk(2, 1)
            x = add(x, self.inexact(w["down"](self.round(gate / (1 + torch.exp(-gate)) * up))))
        return self.inexact(self.norm(x, self.final_norm) @ self.embedding.T).float().double()


def windows_of(ids, window, bos):
    """Every window begins with the begin token; every token of the text is scored once."""
    for begin in range(0, len(ids), window - 1):
        yield [bos] + ids[begin:begin + window - 1]


def log_probabilities(model, ids, window):
    result = []
    for tokens in windows_of(ids, window, model.bos):
        logits = model.logits(torch.tensor(tokens[:-1]))
        result.append((torch.log_softmax(logits, 1), logits.argmax(1), torch.tensor(tokens[1:])))
    return result


def figures(base, candidate):
    kld, nll_base, nll, same = [], [], [], []
    for (p, top_p, true), (q, top_q, _) in zip(base, candidate):
        kld.append((p.exp() * (p - q)).sum(1))
        nll_base.append(-p.gather(1, true[:, None])[:, 0])
        nll.append(-q.gather(1, true[:, None])[:, 0])
        same.append((top_p == top_q).double())
    kld, nll_base, nll, same = (torch.cat(x) for x in (kld, nll_base, nll, same))
    ordered = kld.sort().values
    quantile = lambda share: ordered[max(0, math.ceil(share * len(ordered)) - 1)].item()
    change = (-nll).exp() - (-nll_base).exp()
    return {"mean_ppl_base": nll_base.mean().exp().item(), "mean_ppl_q": nll.mean().exp().item(),
            "mean_ln_ppl_ratio": (nll - nll_base).mean().item(), "mean_kld": kld.mean().item(),
            "median_kld": quantile(0.5), "p99_kld": quantile(0.99), "max_kld": quantile(1.0),
            "rms_dp": change.pow(2).mean().sqrt().item(), "same_top_p": same.mean().item()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("ids", type=Path)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--runs", type=int, default=8, help="with random errors; at least 2")
    parser.add_argument("--baseline", default="bf16")
    parser.add_argument("--formats", nargs="+", default=FORMATS)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    ids = json.loads(args.ids.read_text())[0]["ids"][:args.tokens]
    runs = {fmt: [] for fmt in args.formats}
    torch.set_grad_enabled(False)
    for run in range(args.runs + 1):  # 0: exact
        # Each format's errors are its own: the baseline and a candidate are different kernels.
        seed = lambda i: None if run == 0 else 1000 * run + i
        base = log_probabilities(Llama(args.model, args.baseline, seed(0)), ids, args.window)
        for i, fmt in enumerate(args.formats):
            candidate = log_probabilities(Llama(args.model, fmt, seed(i + 1)), ids, args.window)
            runs[fmt].append(figures(base, candidate))
            print(run, fmt, json.dumps(runs[fmt][-1]), flush=True)
    rows = []
    for fmt, found in runs.items():
        over = lambda what: {key: float(f"{what([r[key] for r in found[1:]]):.9g}") for key in found[0]}
        rows.append({"format": fmt, "exact": {key: float(f"{x:.9g}") for key, x in found[0].items()},
                     "mean": over(statistics.mean), "sd": over(statistics.stdev)})
    result = {"made_by": f"tools/reference/quality_reference.py models/{args.model.name} IDS --tokens {args.tokens} "
                         f"--window {args.window} --runs {args.runs} --baseline {args.baseline} "
                         f"--formats {' '.join(args.formats)}",
              "versions": f"torch {torch.__version__}, safetensors {safetensors.__version__}, "
                          f"Python {platform.python_version()}",
              "text": "models/demo/eval.txt", "tokens": len(ids), "ids_sum": sum(ids), "window": args.window,
              "runs": args.runs, "baseline": args.baseline, "formats": rows}
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
