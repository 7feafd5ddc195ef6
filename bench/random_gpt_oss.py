#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a gpt-oss model with random weights and the vocabulary of another GGUF file, to compare engines on.

Layers, heads and experts are few, but everything that the architecture has is there and matters: sinks about as great
as scores, a window of 128, YaRN, experts with biases so wide that both clamps are reached. Needs the Python packages
gguf and numpy. Then, for instance:

  llama-perplexity -m OUT -f TEXT -c 512 --chunks 8 -fa off --kl-divergence-base OUT.logits
  compare_logits -m OUT OUT.logits
"""
import gguf

import random_model

LAYERS, WIDTH, HEADS, KV_HEADS, HEAD_DIM, EXPERTS, USED, EXPERT_FFN = 4, 256, 8, 2, 64, 8, 4, 256
COPIED = ["merges", "tokens", "token_type", "bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id"]


def copy_vocabulary(writer, path):
    """Returns how many tokens there are."""
    fields = gguf.GGUFReader(path).fields
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-4o")
    writer.add_add_bos_token(False)
    for name in COPIED:
        field = fields.get(f"tokenizer.ggml.{name}")
        if field is None:
            continue
        value = field.contents()
        if isinstance(value, list):
            writer.add_array(field.name, value)
        else:
            writer.add_uint32(field.name, value)
    return len(fields["tokenizer.ggml.tokens"].data)


def main():
    parser = random_model.parser(__doc__, "a GGUF file with a byte-level BPE tokenizer")
    parser.add_argument("--expert-type", default="MXFP4", help="of experts (default: MXFP4)")
    parser.add_argument("--used", default=USED, type=int,
                        help=f"experts of a token; with all {EXPERTS} no router can choose others (default: {USED})")
    args = parser.parse_args()
    model = random_model.RandomModel(args, "gpt-oss")
    writer, vector, matrix = model.writer, model.vector, model.matrix
    vocabulary = copy_vocabulary(writer, args.vocabulary)
    writer.add_name("random gpt-oss")
    writer.add_context_length(131072)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(EXPERT_FFN)
    writer.add_expert_feed_forward_length(EXPERT_FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(args.used)
    writer.add_sliding_window(128)
    writer.add_rope_freq_base(150000.0)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(32.0)
    writer.add_rope_scaling_orig_ctx_len(4096)

    matrix("token_embd.weight", vocabulary, WIDTH, gain=WIDTH ** 0.5)
    vector("output_norm.weight", WIDTH, centre=1.0)
    matrix("output.weight", vocabulary, WIDTH, gain=3.0)
    for layer in range(LAYERS):
        def name(what):
            return f"blk.{layer}.{what}"
        vector(name("attn_norm.weight"), WIDTH, centre=1.0)
        vector(name("post_attention_norm.weight"), WIDTH, centre=1.0)
        for what, heads in (("attn_q", HEADS), ("attn_k", KV_HEADS), ("attn_v", KV_HEADS)):
            matrix(name(what + ".weight"), heads * HEAD_DIM, WIDTH, gain=1.5)
            vector(name(what + ".bias"), heads * HEAD_DIM)
        matrix(name("attn_output.weight"), WIDTH, HEADS * HEAD_DIM)
        vector(name("attn_output.bias"), WIDTH)
        vector(name("attn_sinks.weight"), HEADS, scale=2.0, centre=3.0)
        matrix(name("ffn_gate_inp.weight"), EXPERTS, WIDTH, kind="F32")
        vector(name("ffn_gate_inp.bias"), EXPERTS, scale=1.0)
        matrix(name("ffn_gate_exps.weight"), EXPERTS, EXPERT_FFN, WIDTH, kind=args.expert_type)
        vector(name("ffn_gate_exps.bias"), EXPERTS, EXPERT_FFN, scale=4.0)
        matrix(name("ffn_up_exps.weight"), EXPERTS, EXPERT_FFN, WIDTH, kind=args.expert_type)
        vector(name("ffn_up_exps.bias"), EXPERTS, EXPERT_FFN, scale=4.0)
        matrix(name("ffn_down_exps.weight"), EXPERTS, WIDTH, EXPERT_FFN, gain=0.2, kind=args.expert_type)
        vector(name("ffn_down_exps.bias"), EXPERTS, WIDTH)
    model.close()


if __name__ == "__main__":
    main()
