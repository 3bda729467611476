#!/usr/bin/env python3
"""PyTorch's attention on this machine's card, in the rows of redline_cuda_bench attention: scaled_dot_product_attention
with FlashAttention-2 and with cuDNN, and the plan's standard attention in three steps.
usage: attention.py [prefill] [engine] [standard] [decode]

Times are of a captured graph of calls over two sets of random inputs in turn, median of 15 replays between CUDA events:
what redline_cuda_bench does. PyTorch's keys and values are one piece of memory per sequence, ours come from pages."""

import argparse
import math
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SAMPLES = 15
TYPES = {torch.bfloat16: "bf16", torch.float16: "f16"}


def seconds_of(call, sets, calls):
    """Median seconds of a call."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for one in sets:
            call(*one)
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(calls):
            call(*sets[i % len(sets)])
    times = []
    for i in range(SAMPLES + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(begin.elapsed_time(end) / 1e3 / calls)
    return statistics.median(times)


def sdpa(backend, causal):
    def call(q, k, v):
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])

    return call


def standard(q, k, v):
    scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(q.shape[-1])
    return torch.matmul(torch.softmax(scores, dim=-1), v)


def rows(names, dtype, seqs, queries, keys, heads, kv_heads, head_dim, causal):
    def inputs(n, length):
        # As projections leave them: [sequences, tokens, heads, head_dim].
        return torch.randn(seqs, length, n, head_dim, device="cuda", dtype=dtype).transpose(1, 2)

    kv_bytes = 2 * seqs * keys * kv_heads * head_dim * 2
    count = 2 if queries > 1 else max(2, min(16, 400_000_000 // kv_bytes))
    sets = [(inputs(heads, queries), inputs(kv_heads, keys), inputs(kv_heads, keys)) for _ in range(count)]
    masked = causal and queries > 1
    calls = {
        "torch/sdpa.flash2": sdpa(SDPBackend.FLASH_ATTENTION, masked),
        "torch/sdpa.cudnn": sdpa(SDPBackend.CUDNN_ATTENTION, masked),
        "torch/standard": standard,
    }
    for name in names:
        try:
            seconds = seconds_of(calls[name], sets, 4 if queries > 1 else 2 * max(count, 8))
        except RuntimeError as error:  # a backend that does not take the shape, or memory that does not suffice
            print(f"{name:24s} D {head_dim:3d} seqs {seqs:2d} q {queries:5d}: {str(error).splitlines()[0]}")
            torch.cuda.empty_cache()
            continue
        flops = 4 * seqs * heads * head_dim * queries * keys * (0.5 if masked else 1)
        print(
            f"{name:24s} {TYPES[dtype]:8s} D {head_dim:3d} heads {heads:2d}/{kv_heads:2d} seqs {seqs:2d} q {queries:5d} "
            f"kv {keys:6d} {'causal' if causal else 'full  '}: {seconds * 1e6:9.2f} us {flops / seconds / 1e12:7.1f} TFLOP/s "
            f"{kv_bytes / seconds / 1e12:6.3f} TB/s",
            flush=True,
        )
    del sets
    torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="of prefill, engine, standard, decode; all if none is named")
    wanted = parser.parse_args().parts or ["prefill", "engine", "standard", "decode"]
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    sdpas = ["torch/sdpa.flash2", "torch/sdpa.cudnn"]
    if "prefill" in wanted:
        for head_dim in (64, 128, 256):
            for causal in (False, True):
                for tokens in (512, 2048, 8192):
                    heads = 2048 // head_dim
                    rows(sdpas, torch.bfloat16, 16384 // tokens, tokens, tokens, heads, heads, head_dim, causal)
    if "engine" in wanted:
        for tokens in (512, 1024, 2048, 4096):
            rows(sdpas, torch.bfloat16, 1, tokens, tokens, 32, 8, 128, True)
    if "standard" in wanted:
        for tokens in (512, 1024, 2048, 4096, 8192):
            rows(["torch/standard"], torch.float16, 8192 // tokens, tokens, tokens, 16, 16, 128, False)
    if "decode" in wanted:
        for keys in (512, 2048, 8192, 32768):
            for seqs in (1, 16, 64):
                if seqs * keys <= 524288:
                    rows(sdpas, torch.bfloat16, seqs, 1, keys, 32, 8, 128, True)


if __name__ == "__main__":
    main()
