#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Results as `cairn eval kld` and `cairn eval suite` write them, with made-up figures, to try the report on.

Usage: eval_report_samples.py FOLDER     writes kld.json and suite.json
"""
import json
import math
import random
import sys
from pathlib import Path

MODES = ["multi-turn", "multi-request"]
TASKS = [(f"S{n}", "") for n in range(1, 11)] + [("S11", "facts"), ("S11", "needle"), ("S12", "code"),
                                                 ("S12", "key-value")]
# recipe, bytes per token, bits per value, mean KL, share of right answers kept
RECIPES = [
    ("raw_f16", 3072, 16, 0, 1),
    ("int8_channel", 1560, 8.125, 4.1e-5, 0.998),
    ("int4_group32", 864, 4.5, 0.0062, 0.96),
    ("int3_group32", 672, 3.5, 0.031, 0.86),
    ("int2_group32", 480, 2.5, 0.21, 0.52),
    ("raw_f16+value-bits=1", 3072, 16, 0.74, 0.31),
    ("raw_f16+drop=0.2", 3072, 16, 0.118, 0.67),
    ("raw_f16+shift=4", 3072, 16, 0.054, 0.81),
]
CONTROLS = [("raw_f16+evict=0.5", "random eviction", 1536, 16, 0.48), ("raw_f16", "no context", 34406.4, 16, 0.04)]


def interval(value, spread, low=0.0, high=math.inf):
    return {"value": value, "low": max(low, value - spread), "high": min(high, value + spread)}


def model(name="cairn-tiny", digest="5f" * 32):
    return {"file": f"models/{name}-f16.gguf", "name": name, "weights_digest": digest, "layers": 6, "kv_heads": 2,
            "head_dim": 64}


def wilson(right, items):
    if items == 0:
        return None
    z2, share = 3.8415, right / items
    middle = (share + z2 / (2 * items)) / (1 + z2 / items)
    half = math.sqrt(z2 * (share * (1 - share) / items + z2 / (4 * items * items))) / (1 + z2 / items)
    return {"value": share, "low": min(share, max(0, middle - half)), "high": max(share, min(1, middle + half))}


def kld_row(recipe, size, bits, kl, context=512, windows=40):
    scale = kl * (1.15 if context > 512 else 1)
    points = {"mean": scale, "median": scale * 0.35, "p95": scale * 3.9, "p99": scale * 9.5, "max": scale * 41}
    ratio = 1 + scale * 0.6
    return {"recipe": recipe, "context": context, "windows": windows, "tokens": windows * context // 2,
            "bytes_per_token": float(size), "bits_per_value": float(bits),
            "kl": {name: interval(value, value * 0.18) for name, value in points.items()},
            "same_top1": interval(max(0.2, 1 - 0.5 * math.sqrt(scale)), min(0.02, scale), high=1),
            "perplexity": interval(11.873 * ratio, 0.4 * ratio),
            "reference_perplexity": interval(11.873, 0.4), "perplexity_ratio": interval(ratio, scale * 0.08)}


def kld(recipes=RECIPES, contexts=(512, 1024), **changes):
    rows = [kld_row(*recipe[:4], context=context) for context in contexts for recipe in recipes]
    return {"format": "cairn.eval.kld.v1", "version": "0.1.0", "commit": "ddc2350aa41f", "model": model(),
            "text": {"file": "data/wiki.test.txt", "tokens": 288768},
            "settings": {"contexts": list(contexts), "skip": 256, "stride": None, "windows": 40, "seed": 1},
            "rows": rows} | changes


def cell(task, mode, context, turn, depth, share, items, chance):
    base = min(0.98, 0.97 - 0.035 * TASKS.index(task) + (0.05 if mode == "multi-turn" and (turn or 1) > 1 else 0))
    full = [chance.random() < base for _ in range(items)]
    late = 1 - 0.025 * (turn - 1 if turn else 4 - depth)
    now = [chance.random() < share * late if right and share < 1 else right for right in full]
    now = [right or (share < 1 and chance.random() < 0.03) for right in now]
    kept = sum(a and b for a, b in zip(full, now))
    return {"task": task[0], "column": task[1], "mode": mode, "context": context, "turn": turn, "depth": depth,
            "items": items, "score": min(1, sum(now) / items + 0.02) if items else None,
            "accuracy": wilson(sum(now), items),
            "retained": {"items": sum(full), "kept": kept, "interval": wilson(kept, sum(full))} if any(full) else None,
            "lost": sum(full) - kept, "won": sum(now) - kept, "cap_hits": chance.randrange(2) if items else 0,
            "answer_tokens": 4.2}


def suite_recipe(recipe, control, size, bits, share, contexts, items):
    places = [(turn, None) for turn in range(1, 6)] + [(None, depth) for depth in range(5)]
    cells = []
    for task in TASKS:
        for mode in MODES:
            for context in contexts:
                chance = random.Random(f"{recipe}{control}{task}{mode}{context}")
                cells += [cell(task, mode, context, *place, share, items, chance) for place in places]
    return {"recipe": recipe, "control": control, "bytes_per_token": float(size), "bits_per_value": float(bits),
            "kept": 0.5 if "evict" in recipe else 1.0, "cells": cells}


def suite(recipes=RECIPES, controls=CONTROLS, contexts=(512, 1024), items=10, **changes):
    results = [suite_recipe(name, "", size, bits, share, contexts, items) for name, size, bits, _, share in recipes]
    results += [suite_recipe(*control, contexts, items) for control in controls]
    return {"format": "cairn.eval.suite.v1", "version": "0.1.0", "commit": "ddc2350aa41f", "model": model(),
            "settings": {"seed": 1, "tasks": sorted({task for task, _ in TASKS}, key=lambda name: int(name[1:])),
                         "data": {}, "contexts": list(contexts), "sessions": items, "turns": 5, "modes": MODES,
                         "contenders": [entry["recipe"] for entry in results]},
            "recipes": results} | changes


def main(argv):
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    for name, result in (("kld.json", kld()), ("suite.json", suite())):
        (Path(argv[1]) / name).write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
