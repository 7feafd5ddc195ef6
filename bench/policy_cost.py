#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the signals of token policies cost, beside no policy in alternating rounds.

Every policy runs with a budget that leaves almost everything (keep=0.99), so that it saves nothing and what is left is
its price: of prefill, where it looks at queries and keys, and of decoding, where it chooses what to read.

    bench/policy_cost.py MODEL [--cairn build/release/bin/cairn] [--depth 4096] [--policies quest,sketch,...]
"""
import argparse
import json
import statistics
import subprocess
import sys

POLICIES = ("quest,mpcache,actqkv,sparf,double-p,sketch,oracle,recent,streamingllm,snapkv,tova,keydiff,knorm,lagkv,"
            "expected,observed,zip-salience,mpcache-static,h2o,prefixkv,kvzip")


def measure(args, policy):
    """Seconds per token: of a first prompt, whose queries and keys a policy looks at, and of decoding after one."""
    runs = {"prefill": ["--prefill", str(args.prefill), "--decode", "0", "--depths", "0"],
            "decode": ["--prefill", "0", "--decode", str(args.decode), "--depths", str(args.depth)]}
    seconds = {}
    for kind, settings in runs.items():
        command = [args.cairn, "bench", args.model, "-t", str(args.threads), "--json", "--repeat", "1"] + settings
        if policy:
            command += ["--policy", policy + "+keep=0.99"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"policy_cost.py: {' '.join(command)}: {done.stderr.strip()}")
        seconds[kind] = 1 / json.loads(done.stdout)[kind][0]["median"]
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--cairn", default="build/release/bin/cairn")
    parser.add_argument("--policies", default=POLICIES, help="names, as a,b,c; default: all that see something")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--prefill", type=int, default=2048, help="tokens of the first prompt")
    parser.add_argument("--decode", type=int, default=64, help="tokens that are decoded")
    parser.add_argument("--depth", type=int, default=4096, help="tokens before these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    policies = args.policies.split(",")
    rates = {policy: [] for policy in policies}
    for _ in range(args.rounds):
        for policy in policies:
            without, with_policy = measure(args, ""), measure(args, policy)
            rates[policy].append({kind: with_policy[kind] / without[kind] for kind in without})
    rows = []
    for policy in policies:
        row = {"policy": policy}
        for kind in rates[policy][0]:
            ratios = sorted(each[kind] for each in rates[policy])
            row[kind] = {"median": statistics.median(ratios), "min": ratios[0], "max": ratios[-1]}
        rows.append(row)
    if args.json:
        print(json.dumps({"depth": args.depth, "threads": args.threads, "rounds": args.rounds, "rows": rows}, indent=1))
        return
    kinds = ("prefill", "decode")
    print("time with the policy over time without, medians (min-max)")
    print(f"{'policy':16s}" + "".join(f"{kind:>24s}" for kind in kinds))
    for row in rows:
        cells = (f"{row[k]['median']:.2f} ({row[k]['min']:.2f}-{row[k]['max']:.2f})" for k in kinds)
        print(f"{row['policy']:16s}" + "".join(f"{cell:>24s}" for cell in cells))


if __name__ == "__main__":
    main()
