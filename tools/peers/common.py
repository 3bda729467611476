"""What the peers' scripts share: the shape, the ceilings of this machine, timing on the device, rows as `redline bench` prints them."""

import statistics

import torch

# meta-llama/Meta-Llama-3-8B, as synthetic:llama-3-8b.
LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 32, 4096, 14336, 32, 8, 128, 128256
LAYER_WEIGHTS = HIDDEN * (HEADS + 2 * KV_HEADS) * HEAD_DIM + HEADS * HEAD_DIM * HIDDEN + 3 * HIDDEN * FFN
READ_BYTES = 2 * (LAYERS * LAYER_WEIGHTS + VOCAB * HIDDEN)  # of bf16 weights, by a decode step: all but the embedding
KV_BYTES = 2 * 2 * LAYERS * KV_HEADS * HEAD_DIM  # bf16, of a token of context


def times(run, samples=10, warmup=3):
    """Seconds of each run, by CUDA events."""
    for _ in range(warmup):
        run()
    found = []
    for _ in range(samples):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) / 1e3)
    return found


def ceilings():
    """Bytes per second of a reading sum over 4 GiB, FLOP/s of a bf16 product of 8192^3: through PyTorch, in this run."""
    data = torch.ones(2**30, dtype=torch.float32, device="cuda")
    read = data.numel() * 4 / statistics.median(times(lambda: torch.sum(data)))
    del data
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    matrix = 2 * 8192**3 / statistics.median(times(lambda: a @ b))
    return read, matrix


def heading():
    print("| engine | model | type | test | tok/s | 95% interval | reached | ceiling share |")
    print("| ------ | ----- | ---- | ---- | ----: | -----------: | ------: | ------------: |", flush=True)


def row(engine, test, tokens, seconds, amount, unit, ceiling, of):
    """One row: `tokens` and `amount` (bytes or operations) of a sample that took `seconds`."""
    seconds = sorted(seconds)
    middle = statistics.median(seconds)
    # Order statistics around the median that hold it with at least 95%: of 10 samples the second and the ninth.
    n = len(seconds)
    low = max(0, int(n / 2 - 0.98 * n**0.5))
    reached = amount / middle
    shown = f"{reached / 1e12:.3g} T{unit}"
    print(
        f"| {engine} | llama-3-8b, random weights | bf16 | {test} | {tokens / middle:.4g} | "
        f"{tokens / seconds[n - 1 - low]:.4g} to {tokens / seconds[low]:.4g} | {shown} | {100 * reached / ceiling:.0f}% of {of} |",
        flush=True,
    )
