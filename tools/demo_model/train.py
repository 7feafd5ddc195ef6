#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the demo model for some minutes at one context length; call it again with --resume for the next stage.

DATA holds tok.model and text.npy of tokenizer.py. The learning rate falls in a line from --lr to --last-lr over the
minutes given, so that a stage fits the time there is. Uses a GPU where there is one.
"""
import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np
import sentencepiece
import torch
import torch.nn.functional as F

from documents import Documents
from model import SHAPES, Model, rope_tables

WARM_UP_STEPS = 20
SAVE_EVERY, SHOW_EVERY = 60, 20
QUEUE_TIMEOUT_S = 600  # the processes that make documents have failed; they have said why


def make_batches(queue, options, seed):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(options.data / "tok.model"))
    text = np.load(options.data / "text.npy", mmap_mode="r")
    documents = Documents(processor, text, (options.cairn, options.items_model), seed)
    length = options.context + 1
    while True:
        rows = [documents.text_row(length) if documents.random.random() < options.text_share else documents.row(length)
                for _ in range(options.micro_tokens // options.context)]
        queue.put((np.array([ids for ids, _ in rows], np.int64), np.array([weights for _, weights in rows], np.float32)))


def weighted_loss(model, run, ids, weights, tables):
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = run(ids[:, :-1], *tables)
        keep = weights[:, 1:] > 0
        logits = F.linear(hidden[keep], model.embed.weight)
    losses = F.cross_entropy(logits.float(), ids[:, 1:][keep], reduction="none")
    # Of a long answer only the first tokens are hard: what is predicted already counts less (a focal loss).
    kept = weights[:, 1:][keep] * (1 - torch.exp(-losses.detach()))
    return (losses * kept).sum() / kept.sum()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="tiny", choices=SHAPES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cairn", required=True, help="the cairn binary, whose suite makes the documents")
    parser.add_argument("--items-model", required=True, help="a GGUF file with the tokenizer, to size documents by")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", type=Path, help="weights of an earlier stage; OUT.optimizer beside them is used too")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--last-lr", type=float, default=5e-5)
    parser.add_argument("--micro-tokens", type=int, default=8192, help="of one forward pass (default: %(default)s)")
    parser.add_argument("--micro-steps", type=int, default=2, help="passes of one update (default: %(default)s)")
    parser.add_argument("--text-share", type=float, default=0.07)
    parser.add_argument("--workers", type=int, default=1, help="processes that make documents (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    options = parse_arguments()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = SHAPES[options.shape]
    model = Model(shape).to(device)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0}],
                                  lr=options.lr, betas=(0.9, 0.95))
    if options.resume:
        state = torch.load(options.resume, map_location=device)
        model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        saved = Path(f"{options.resume}.optimizer")
        if saved.exists():
            optimizer.load_state_dict(torch.load(saved, map_location=device))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters on {device}", flush=True)
    run = torch.compile(model) if device == "cuda" else model
    tables = rope_tables(options.context, shape, device)
    queue = multiprocessing.Queue(4 * options.workers)
    for worker in range(options.workers):
        arguments = (queue, options, options.seed * 1000 + worker)
        multiprocessing.Process(target=make_batches, args=arguments, daemon=True).start()
    begin, step, seen, shown = time.monotonic(), 0, 0, 0.0
    while (done := (time.monotonic() - begin) / 60 / options.minutes) < 1:
        rate = (options.lr + (options.last_lr - options.lr) * done) * min(1, (step + 1) / WARM_UP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate
        for _ in range(options.micro_steps):
            ids, weights = (torch.from_numpy(array).to(device) for array in queue.get(timeout=QUEUE_TIMEOUT_S))
            loss = weighted_loss(model, run, ids, weights, tables) / options.micro_steps
            loss.backward()
            shown += loss.item() / SHOW_EVERY
            seen += ids.numel()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % SHOW_EVERY == 0:
            seconds = time.monotonic() - begin
            print(f"{seconds:.0f} s, step {step}, loss {shown:.3f}, lr {rate:.1e}, {seen / 1e6:.2f} M tokens, "
                  f"{seen / seconds:.0f}/s", flush=True)
            shown = 0.0
        if step % SAVE_EVERY == 0:
            torch.save(model.state_dict(), options.out)
    torch.save(model.state_dict(), options.out)
    torch.save(optimizer.state_dict(), f"{options.out}.optimizer")
    print(f"{step} steps, {seen / 1e6:.1f} M tokens")


if __name__ == "__main__":
    main()
