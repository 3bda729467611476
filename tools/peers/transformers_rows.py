#!/usr/bin/env python3
"""transformers' rows at Llama-3-8B's shape, random weights made on the GPU (nothing is downloaded): eager with SDPA, and
torch.compile'd with a static cache and CUDA graphs. usage: transformers_rows.py [--eager] [--compiled] [--batch 1,16]"""

import argparse
import sys

import common
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, StaticCache

STEPS = 16  # decode steps of a sample


def make_model():
    config = LlamaConfig(
        vocab_size=common.VOCAB,
        hidden_size=common.HIDDEN,
        intermediate_size=common.FFN,
        num_hidden_layers=common.LAYERS,
        num_attention_heads=common.HEADS,
        num_key_value_heads=common.KV_HEADS,
        head_dim=common.HEAD_DIM,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        attn_implementation="sdpa",
        dtype=torch.bfloat16,
    )
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        return LlamaForCausalLM(config).eval()


def random_ids(batch, tokens):
    return torch.randint(0, common.VOCAB, (batch, tokens), device="cuda")


def prefill(model, batch, tokens):
    """From an empty cache to the logits of the last token and its argmax, as `redline bench` does."""
    ids = random_ids(batch, tokens)
    logits = model(input_ids=ids, past_key_values=DynamicCache(config=model.config), use_cache=True, logits_to_keep=1).logits
    return logits[:, -1].argmax(-1)


def decode_eager(model, batch, depth):
    cache = DynamicCache(config=model.config)
    model(input_ids=random_ids(batch, depth), past_key_values=cache, use_cache=True, logits_to_keep=1)
    token = random_ids(batch, 1)

    def run():
        nonlocal token
        for _ in range(STEPS):
            token = model(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1].argmax(-1, keepdim=True)
        cache.crop(depth)

    return run


def decode_compiled(model, batch, depth):
    """One step, its argmax included, as one CUDA graph. Attention reads all of a static cache, so it is no longer than
    the tokens that come."""
    cache = StaticCache(config=model.config, max_cache_len=depth + STEPS)
    model(input_ids=random_ids(batch, depth), past_key_values=cache, use_cache=True, logits_to_keep=1)
    token = random_ids(batch, 1)

    def step(token):
        return model(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1].argmax(-1, keepdim=True)

    compiled = torch.compile(step, mode="reduce-overhead", fullgraph=True, dynamic=False)

    def run():
        nonlocal token
        for layer in cache.layers:
            layer.cumulative_length.fill_(depth)
        for _ in range(STEPS):
            torch.compiler.cudagraph_mark_step_begin()
            token = compiled(token).clone()

    return run


def prefill_rows(model, ceiling, engine, call):
    for tokens in (512, 2048):
        flops = 2 * (tokens * common.LAYERS * common.LAYER_WEIGHTS + common.VOCAB * common.HIDDEN)
        found = common.times(lambda: call(tokens))
        common.row(engine, f"pp{tokens}", tokens, found, flops, "FLOP/s", ceiling, "matrix rate")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--eager", action="store_true")
    arguments.add_argument("--compiled", action="store_true")
    arguments.add_argument("--batch", default="1,16")
    arguments.add_argument("--depth", default="512,2048")
    given = arguments.parse_args()
    both = not given.eager and not given.compiled
    read, matrix = common.ceilings()
    print(f"{torch.cuda.get_device_name()}: read {read / 1e12:.3g} TB/s, bf16 product {matrix / 1e12:.3g} TFLOP/s, PyTorch {torch.__version__}")
    model = make_model()
    common.heading()
    failed = 0
    with torch.inference_mode():
        if given.eager or both:
            prefill_rows(model, matrix, "transformers, eager", lambda tokens: prefill(model, 1, tokens))
        for name, make, wanted in (
            ("transformers, eager", decode_eager, given.eager or both),
            ("transformers, compiled", decode_compiled, given.compiled or both),
        ):
            for batch in (int(b) for b in given.batch.split(",") if wanted):
                for depth in (int(d) for d in given.depth.split(",")):
                    test = f"tg{STEPS} @ d{depth}" + (f" x {batch}" if batch > 1 else "")
                    try:
                        found = common.times(make(model, batch, depth), samples=6)
                    except RuntimeError as error:
                        print(f"{name}, {test}: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
                        failed += 1
                        continue
                    kv = batch * (depth + STEPS / 2) * common.KV_BYTES
                    amount = STEPS * (common.READ_BYTES + kv)
                    common.row(name, test, STEPS * batch, found, amount, "B/s", read, "read bandwidth")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
