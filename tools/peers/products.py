#!/usr/bin/env python3
"""torch.matmul's bf16 products at the shapes of Llama-3-8B's decode steps and prefill, from a CUDA graph of 20 calls over
weights in rotation, so that none comes from the cache. usage: products.py [--tokens 1,4,16,64]"""

import argparse
import statistics

import common
import torch

SHAPES = {  # rows x cols of the weights
    "gate and up": (2 * common.FFN, common.HIDDEN),
    "down": (common.HIDDEN, common.FFN),
    "q, k, v": ((common.HEADS + 2 * common.KV_HEADS) * common.HEAD_DIM, common.HIDDEN),
    "attention out": (common.HIDDEN, common.HEADS * common.HEAD_DIM),
    "head": (common.VOCAB, common.HIDDEN),
}
CALLS = 20
ROTATION_BYTES = 1 << 30  # of weights: many times the cache


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tokens", default="1,4,16,64")
    given = arguments.parse_args()
    read, matrix = common.ceilings()
    print(f"{torch.cuda.get_device_name()}: read {read / 1e12:.3g} TB/s, bf16 product {matrix / 1e12:.3g} TFLOP/s, PyTorch {torch.__version__}")
    print("| product | rows x cols | tokens | us | GB/s | share of read | TFLOP/s |")
    print("| ------- | ----------- | -----: | -: | ---: | ------------: | ------: |")
    for name, (rows, cols) in SHAPES.items():
        copies = max(2, ROTATION_BYTES // (2 * rows * cols))
        weights = [torch.randn(rows, cols, dtype=torch.bfloat16, device="cuda") for _ in range(copies)]
        for tokens in (int(t) for t in given.tokens.split(",")):
            x = torch.randn(tokens, cols, dtype=torch.bfloat16, device="cuda")
            out = torch.empty(tokens, rows, dtype=torch.bfloat16, device="cuda")

            def run():
                for i in range(CALLS):
                    torch.matmul(x, weights[i % copies].T, out=out)

            side = torch.cuda.Stream()
            with torch.cuda.stream(side):
                run()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                run()
            seconds = statistics.median(common.times(graph.replay)) / CALLS
            moved = 2 * (rows * cols + tokens * (rows + cols))
            print(
                f"| {name} | {rows} x {cols} | {tokens} | {seconds * 1e6:.1f} | {moved / seconds / 1e9:.0f} | "
                f"{100 * moved / seconds / read:.0f}% | {2 * tokens * rows * cols / seconds / 1e12:.3g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
