#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the SentencePiece tokenizer of the demo model on a corpus, and tokenises the corpus.

The corpus is UTF-8 text, documents separated by a line that holds only NUL. Writes OUT/tok.model and OUT/text.npy
(uint16 ids). With --keep an OUT/tok.model that is there is used as it is.
"""
import argparse
import random
from pathlib import Path

import numpy as np
import sentencepiece

SAMPLE_CHARACTERS = 12_000_000  # that the tokenizer is trained on
PIECE_CHARACTERS = 200_000  # a document is encoded in pieces of so many, which bounds the memory


def read_documents(corpus):
    documents = [text.strip() for text in corpus.read_text(errors="replace").split("\x00\n")]
    documents = [text for text in documents if len(text) > 200]
    random.Random(0).shuffle(documents)
    return documents


def train(documents, out, vocab):
    sample, written = out / "tok.txt", 0
    with sample.open("w") as file:
        for line in (line.strip() for text in documents for line in text.split("\n")):
            file.write(line[:2000] + "\n")
            written += len(line)
            if written > SAMPLE_CHARACTERS:
                break
    sentencepiece.SentencePieceTrainer.train(
        input=str(sample), model_prefix=str(out / "tok"), vocab_size=vocab, model_type="bpe", byte_fallback=True,
        split_digits=True, character_coverage=0.9995, allow_whitespace_only_pieces=True, remove_extra_whitespaces=False,
        user_defined_symbols=["\n"], normalization_rule_name="identity", unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
        input_sentence_size=200000, shuffle_input_sentence=True)
    sample.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--tokens", type=int, default=12_000_000, help="of the corpus to keep (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="use OUT/tok.model instead of training one")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    documents = read_documents(options.corpus)
    if not options.keep:
        train(documents, options.out, options.vocab)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(options.out / "tok.model"))
    ids, count = [], 0
    for text in documents:
        for begin in range(0, len(text), PIECE_CHARACTERS):
            ids.append(np.array([1, *processor.encode(text[begin:begin + PIECE_CHARACTERS]), 2], dtype=np.uint16))
            count += len(ids[-1])
        if count > options.tokens:
            break
    np.save(options.out / "text.npy", np.concatenate(ids))
    print(f"{count} tokens")


if __name__ == "__main__":
    main()
