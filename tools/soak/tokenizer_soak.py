#!/usr/bin/env python3
"""Random Unicode strings through Redline and through the Python package `tokenizers`: ids and decoded texts must be equal.

Usage: tools/soak/tokenizer_soak.py [--program build/redline] [--count 10000] [--seed 1] [FOLDER ...]

FOLDER: one with tokenizer.json; default: tests/data/tokenizers/* and models/demo. The strings are made by
tests/data/make_tokenizers.py, which keeps to characters on which the two Unicode versions agree (tests/data/README.md),
from another seed than the golden cases. With no FOLDER, tokenizer files with other parts, put together here from the
fixtures' vocabularies, get a tenth of the strings each. Exit status: 0 if all are equal, 1 if not. Needs: tokenizers.
"""
import argparse
import functools
import importlib.util
import json
import pathlib
import random
import string
import subprocess
import sys
import tempfile
import time
import unicodedata

from tokenizers import Tokenizer, normalizers, pre_tokenizers

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


# Patterns of other model families.
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"
          r"\s+(?!\S)|\s+")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
            r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# What Oniguruma and PCRE2 read differently, among others.
DIALECT = [r"\w+", r"\W+", r"\b", r"\d+|\D", r"\h+", r"\p{Han}+|\p{Hiragana}", r"[[:alpha:]]+", r"^.", r".$", r"(?m:a.)",
           r"\p{N}{2}+", r"[^\S\r\n]+", r"x*", r"\p{^L}+", r"[\w']+", r"(?<=a)\S", r"(?i)[\u00e0-\u00ff]+",
           r"[[:space:]]+", r"a{,2}", r"(\p{L}\p{M}*)+"]


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return dict(type="Split", pattern={kind: pattern}, behavior=behavior, invert=invert)


def made_up_pretokenizers():
    """(name, parts before a ByteLevel, fields of the ByteLevel)."""
    for name, pattern in [("o200k", O200K), ("cl100k", CL100K), ("deepseek", DEEPSEEK)]:
        yield name, [split(pattern)], {}
    yield "deepseek parts", [split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK)], {}
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in (False, True):
            yield f"split {behavior} {invert}", [split(r"\s|[aeiou]+", behavior, invert)], {}
        yield f"punctuation {behavior}", [dict(type="Punctuation", behavior=behavior)], {}
        yield f"literal {behavior}", [split("e", behavior, kind="String")], {}
    for i, pattern in enumerate(DIALECT):
        yield f"dialect {i} {pattern}", [split(pattern)], {}
    yield "digits", [dict(type="Digits", individual_digits=False)], {}
    yield "single digits", [dict(type="Digits", individual_digits=True)], dict(use_regex=True)
    yield "white space", [dict(type="Whitespace")], {}
    yield "white space split", [dict(type="WhitespaceSplit")], dict(add_prefix_space=True)
    yield "delimiter", [dict(type="CharDelimiterSplit", delimiter="-")], {}
    yield "prefix space", [], dict(add_prefix_space=True, use_regex=True)


def made_up_parts():
    """(name, fixture, fields that replace its own): parts and behaviors that the fixtures do not have."""
    level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    for name, parts, fields in made_up_pretokenizers():
        yield name, "gpt2", dict(pre_tokenizer=dict(type="Sequence", pretokenizers=[*parts, {**level, **fields}]))
    yield "bytes, then split", "gpt2", dict(pre_tokenizer=dict(type="Sequence", pretokenizers=[level, split("\u0120")]))
    for form in ["NFC", "NFD", "NFKC", "NFKD"]:
        yield form, "qwen2", dict(normalizer=dict(type=form))
    for left in (False, True):
        for right in (False, True):
            yield f"strip {left} {right}", "spm-metaspace", dict(normalizer=dict(type="Strip", strip_left=left, strip_right=right))
    yield "replace", "gpt2", dict(normalizer=dict(type="Sequence", normalizers=[
        dict(type="Replace", pattern=dict(Regex=r"\s+"), content=" "), dict(type="Replace", pattern=dict(String="e"), content="ee"),
        dict(type="Replace", pattern=dict(String="a"), content=""), dict(type="Prepend", prepend="x")]))
    for scheme in ["always", "first", "never"]:
        for cut in (False, True):
            part = dict(type="Metaspace", replacement="\u2581", prepend_scheme=scheme, split=cut)
            yield f"metaspace {scheme} {cut}", "spm-metaspace", dict(pre_tokenizer=part, decoder=part)
    yield "no decoder", "gpt2", dict(decoder=None)
    yield "no byte fallback", "spm-prepend", dict(model=dict(byte_fallback=False))
    yield "unknown tokens one by one", "spm-prepend", dict(model=dict(byte_fallback=False, fuse_unk=False))
    yield "ignore merges", "spm-prepend", dict(model=dict(ignore_merges=True))


def agreed(name):
    """A test of strings: does the library, whose tables for compatibility forms and for punctuation are older than those
    for patterns, treat each character as Python's Unicode has it?"""
    normalizer = getattr(normalizers, name)() if name in ("NFKC", "NFKD") else None
    punctuation = pre_tokenizers.Punctuation("removed") if name.startswith("punctuation") else None

    @functools.cache
    def same(character):
        if normalizer:
            return normalizer.normalize_str(character) == unicodedata.normalize(name, character)
        if punctuation:
            expected = unicodedata.category(character).startswith("P") or character in string.punctuation
            return (punctuation.pre_tokenize_str(character) == []) == expected
        return True

    return lambda text: all(map(same, text))


def write_made_up_folders(parent):
    for i, (name, fixture, fields) in enumerate(made_up_parts()):
        tokenizer = json.loads((ROOT / "tests/data/tokenizers" / fixture / "tokenizer.json").read_text("utf-8"))
        model = {**tokenizer["model"], **fields.get("model", {})}
        folder = pathlib.Path(parent) / str(i)
        folder.mkdir()
        (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, **fields, "model": model}), "utf-8")
        yield name, folder


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

    def soak(name, folder, count):
        begin = time.monotonic()
        names = [token["content"] for token in json.loads((folder / "tokenizer.json").read_text("utf-8"))["added_tokens"]]
        strings = list(random_strings(generator, f"{options.seed}/{name}", count, names, docs))
        agrees = agreed(name)
        strings = [(kind, text) for kind, text in strings if agrees(text)]
        different = compare(options.program, folder, strings, options.show)
        print(f"{name}: {len(strings)} strings, {different} differences, {time.monotonic() - begin:.0f} s", flush=True)
        return different > 0

    for folder in folders:
        failed |= soak(folder.name, folder, options.count)
    if not options.folders:
        with tempfile.TemporaryDirectory() as parent:
            for name, folder in write_made_up_folders(parent):
                failed |= soak(name, folder, max(1, options.count // 10))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
