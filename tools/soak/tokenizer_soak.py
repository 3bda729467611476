#!/usr/bin/env python3
"""Random Unicode strings through Redline and through the Python package `tokenizers`: ids and decoded texts must be equal.

Usage: tools/soak/tokenizer_soak.py [--program build/redline] [--count 10000] [--seed 1] [FOLDER ...]

FOLDER: one with tokenizer.json; default: tests/data/tokenizers/* and models/demo. The strings are made by
tests/data/make_tokenizers.py, which keeps to characters on which the two Unicode versions agree (tests/data/README.md),
from another seed than the golden cases. Exit status: 0 if all are equal, 1 if not. Needs: tokenizers.
"""
import argparse
import importlib.util
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH = 2500  # strings in one run of the program


def load_generator():
    spec = importlib.util.spec_from_file_location("make_tokenizers", ROOT / "tests/data/make_tokenizers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_strings(generator, seed, count, names, docs):
    """`count` different (kind, string)."""
    rng = random.Random(seed)
    seen = set()
    while len(seen) < count:
        for kind, text in generator.random_strings(rng, count, names, docs):
            # Several in one line now and then: pieces next to each other that a single kind does not bring together.
            if rng.random() < 0.2 and seen:
                text = text + rng.choice(["", " ", "\n", "\u00a0"]) + rng.choice(["", text, text[::-1]])
            if text not in seen:
                seen.add(text)
                yield kind, text
            if len(seen) == count:
                return


def run_program(program, folder, cases):
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(cases, file)  # pure ASCII: escapes are read too
        file.flush()
        command = [program, "tokenize", "-m", str(folder), "--cases", file.name, "--json"]
        done = subprocess.run(command, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return json.loads(done.stdout)


def compare(program, folder, strings, show):
    """Number of strings that differ, with and without special tokens."""
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    different = 0
    for begin in range(0, len(strings), BATCH):
        batch = strings[begin:begin + BATCH]
        cases = [dict(text=text, add_special_tokens=flag) for _, text in batch for flag in (False, True)]
        answers = run_program(program, folder, cases)
        if len(answers) != len(cases):
            sys.exit(f"{folder}: {len(cases)} cases, {len(answers)} answers")
        for i, (case, answer) in enumerate(zip(cases, answers)):
            ids = reference.encode(case["text"], add_special_tokens=case["add_special_tokens"]).ids
            decoded = reference.decode(ids, skip_special_tokens=False)
            if answer != dict(ids=ids, decoded=decoded):
                different += 1
                if different <= show:
                    expected = json.dumps(dict(ids=ids, decoded=decoded))
                    print(f"  {batch[i // 2][0]}: {json.dumps(case)}\n    expected {expected}\n    got      {json.dumps(answer)}")
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/redline"))
    parser.add_argument("--count", type=int, default=10000, help="strings per tokenizer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=5, help="differences to print per tokenizer")
    parser.add_argument("folders", nargs="*", type=pathlib.Path, metavar="FOLDER")
    options = parser.parse_args()
    folders = options.folders or sorted(p.parent for p in (ROOT / "tests/data/tokenizers").glob("*/tokenizer.json"))
    if not options.folders:
        folders.append(ROOT / "models/demo")

    generator = load_generator()
    docs = generator.corpus(part=1)[:200]  # other documents than the tokenizers were trained on
    failed = False
    for folder in folders:
        begin = time.monotonic()
        names = [token["content"] for token in json.loads((folder / "tokenizer.json").read_text("utf-8"))["added_tokens"]]
        strings = list(random_strings(generator, f"{options.seed}/{folder.name}", options.count, names, docs))
        different = compare(options.program, folder, strings, options.show)
        failed |= different > 0
        print(f"{folder.name}: {len(strings)} strings, {different} differences, {time.monotonic() - begin:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
