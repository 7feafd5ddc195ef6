#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a trained demo model as GGUF: architecture `llama`, F16 matrices, tied output, tokenizer inside."""
import argparse

import gguf
import numpy as np
import sentencepiece
import torch

from model import SHAPES

NAMES = {"norm1": "attn_norm", "norm2": "ffn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output",
         "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}


def add_shape(writer, shape, context):
    writer.add_block_count(shape.layers)
    writer.add_context_length(context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def token_type(processor, token):
    if processor.is_unknown(token):
        return gguf.TokenType.UNKNOWN
    if processor.is_control(token):
        return gguf.TokenType.CONTROL
    return gguf.TokenType.BYTE if processor.is_byte(token) else gguf.TokenType.NORMAL  # the line break too


def add_tokenizer(writer, processor, vocab):
    tokens = range(vocab)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([processor.id_to_piece(token).encode() for token in tokens])
    writer.add_token_scores([processor.get_score(token) for token in tokens])
    writer.add_token_types([token_type(processor, token) for token in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)


def add_tensor(writer, name, tensor):
    values = tensor.float().numpy()
    writer.add_tensor(name, values if values.ndim == 1 else values.astype(np.float16))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--name", required=True, help="general.name of the file")
    parser.add_argument("--shape", default="tiny", choices=SHAPES)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--context", type=int, required=True, help="the longest that the model was trained on")
    options = parser.parse_args()
    shape, state = SHAPES[options.shape], torch.load(options.weights, map_location="cpu")
    writer = gguf.GGUFWriter(options.out, "llama")
    writer.add_name(options.name)
    add_shape(writer, shape, options.context)
    add_tokenizer(writer, sentencepiece.SentencePieceProcessor(model_file=options.tokenizer), shape.vocab)
    add_tensor(writer, "token_embd.weight", state["embed.weight"])
    add_tensor(writer, "output_norm.weight", state["norm.weight"])
    for layer in range(shape.layers):
        for ours, theirs in NAMES.items():
            add_tensor(writer, f"blk.{layer}.{theirs}.weight", state[f"blocks.{layer}.{ours}.weight"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
