#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Block identity from the standard library alone: the reference for other languages and the source of the vectors.

    block_identity.py                 prints the vectors
    block_identity.py --check FILE    exits with 1 unless FILE contains exactly these vectors
"""
import hashlib
import struct
import sys

BLOCK_TOKENS = 64


def u32(value):
    return struct.pack("<I", value & 0xFFFFFFFF)


def u64(value):
    return struct.pack("<Q", value)


def text(value):
    data = value.encode()
    return u64(len(data)) + data


def H(domain, *parts):
    return hashlib.blake2b(text(domain) + b"".join(parts), digest_size=32).digest()


def fingerprint(r):
    return H("cairn.recipe.fingerprint.v1", u32(BLOCK_TOKENS), r["weights"], u64(len(r["adapters"])), *r["adapters"],
             text(r["rope"]), r["tokenizer"], u32(r["layers"]), u32(r["kv_heads"]), u32(r["head_dim"]),
             text(r["codec_plan"]), text(r["retention"]), text(r["arithmetic"]),
             text(r["unlike_layers"]) if r.get("unlike_layers") else b"")


def root(recipe_fingerprint, tenant):
    return H("cairn.recipe.v1", recipe_fingerprint, text(tenant))


def key(parent, tokens):
    assert len(tokens) == BLOCK_TOKENS
    return H("cairn.block.v1", parent, u64(len(tokens)), *(struct.pack("<i", t) for t in tokens))


def named(name):
    return hashlib.blake2b(name.encode(), digest_size=32).digest()


BASE = dict(weights=named("weights"), adapters=[], rope="half-split dims=64 base=10000 scaling=none",
            tokenizer=named("tokenizer"), layers=22, kv_heads=4, head_dim=64, codec_plan="k1v1*22", retention="all",
            arithmetic="int8-g32.v1")
RECIPES = {
    "plain": BASE,
    "one-adapter": BASE | dict(adapters=[named("adapter a")]),
    "two-adapters": BASE | dict(adapters=[named("adapter a"), named("adapter b")]),
    "adapters-swapped": BASE | dict(adapters=[named("adapter b"), named("adapter a")]),
    "other-rope": BASE | dict(rope="interleaved dims=64 base=500000 scaling=yarn factor=4"),
    "other-geometry": BASE | dict(layers=32, kv_heads=8, head_dim=128, codec_plan="k2v1*32"),
    "unlike-layers": BASE | dict(unlike_layers="1 shape=1x128 window=512; 3 kv=2"),
    "all-empty": dict(weights=bytes(32), adapters=[], rope="", tokenizer=bytes(32), layers=0, kv_heads=0, head_dim=0,
                      codec_plan="", retention="", arithmetic=""),
}
# name, recipe, tenant, first token, step, blocks: token i is first + step * i
CHAINS = [
    ("one block", "plain", "alice", 1, 1, 1),
    ("two blocks", "plain", "alice", 1, 1, 2),
    ("three blocks", "plain", "alice", 1, 1, 3),
    ("other tenant", "plain", "bob", 1, 1, 2),
    ("empty tenant", "plain", "", 1, 1, 2),
    ("unicode tenant", "plain", "Größe 東京 🪨", 1, 1, 2),
    ("all tokens zero", "plain", "alice", 0, 0, 2),
    ("negative ids", "plain", "alice", -100, 7, 3),
    ("greatest id", "plain", "alice", 2147483647, 0, 1),
    ("least id", "plain", "alice", -2147483648, 0, 1),
    ("one adapter", "one-adapter", "alice", 1, 1, 1),
    ("two adapters", "two-adapters", "alice", 1, 1, 1),
    ("adapters swapped", "adapters-swapped", "alice", 1, 1, 1),
    ("other rope", "other-rope", "alice", 1, 1, 1),
    ("other geometry", "other-geometry", "alice", 151643, -3, 3),
    ("unlike layers", "unlike-layers", "alice", 1, 1, 1),
    ("all fields empty", "all-empty", "", 1, 1, 1),
]


def vectors():
    lines = []
    for name, r in RECIPES.items():
        lines += [f"recipe {name}", f"weights {r['weights'].hex()}"]
        lines += [f"adapter {a.hex()}" for a in r["adapters"]]
        lines += [f"rope {r['rope']}".rstrip(), f"tokenizer {r['tokenizer'].hex()}"]
        lines += [f"{field} {r[field]}".rstrip()
                  for field in ("layers", "kv_heads", "head_dim", "codec_plan", "retention", "arithmetic")]
        lines += [f"unlike_layers {r['unlike_layers']}"] if "unlike_layers" in r else []
        lines += [f"fingerprint {fingerprint(r).hex()}", ""]
    for name, recipe, tenant, first, step, blocks in CHAINS:
        parent = root(fingerprint(RECIPES[recipe]), tenant)
        lines += [f"chain {name}", f"of {recipe}", f"tenant {tenant}".rstrip(), f"first {first}", f"step {step}",
                  f"root {parent.hex()}"]
        for b in range(blocks):
            parent = key(parent, [first + step * i for i in range(b * BLOCK_TOKENS, (b + 1) * BLOCK_TOKENS)])
            lines.append(f"key {parent.hex()}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        with open(sys.argv[2], encoding="utf-8") as file:
            if "```vectors\n" + vectors() + "```" not in file.read():
                sys.exit(f"{sys.argv[2]}: the vectors are not those of {sys.argv[0]}; print them again and find out why")
    elif len(sys.argv) == 1:
        sys.stdout.write(vectors())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
