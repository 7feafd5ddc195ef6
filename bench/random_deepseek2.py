#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a deepseek2 model with random weights and the vocabulary of another GGUF file, to compare engines on.

Heads and latents are as long as those of DeepSeek-V2-Lite and V3 (512 and 64 channels of a token are cached); width,
heads and experts are few. Forms: `lite` (V2-Lite as converters write it now), `old` (the same before attn_kv_b was
split), `v3` (a query rank, sigmoid gates, a bias, groups of experts). Needs the Python packages gguf and numpy. Then:

  llama-perplexity -m OUT -f TEXT -c 512 --chunks 8 -fa off --kl-divergence-base OUT.logits
  compare_logits -m OUT OUT.logits
"""
import gguf

import random_model

RANK, TURNING, PLAIN, VALUE, Q_RANK = 512, 64, 128, 128, 96
WIDTH, HEADS, FFN, EXPERTS, USED, EXPERT_FFN, SHARED = 128, 4, 256, 16, 4, 64, 2
LITE_LAYERS = 27  # llama.cpp takes this number for V2-Lite, which has no query rank
V3_LAYERS = 5


def copy_vocabulary(writer, path):
    """Returns how many tokens there are."""
    fields = gguf.GGUFReader(path).fields
    for name, field in fields.items():
        if name.startswith("tokenizer.ggml."):
            sub_type = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type)
    return len(fields["tokenizer.ggml.tokens"].data)


def add_numbers(writer, form, layers, used):
    split = form != "old"
    writer.add_name(f"random deepseek2, {form}")
    writer.add_block_count(layers)
    writer.add_context_length(163840)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1 if split else HEADS)
    writer.add_kv_lora_rank(RANK)
    writer.add_key_length(RANK + TURNING if split else PLAIN + TURNING)
    writer.add_value_length(RANK if split else VALUE)
    if split:
        writer.add_key_length_mla(PLAIN + TURNING)
        writer.add_value_length_mla(VALUE)
    writer.add_rope_dimension_count(TURNING)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(40.0)
    writer.add_rope_scaling_orig_ctx_len(4096)
    writer.add_rope_scaling_yarn_log_mul(0.1 if form == "v3" else 0.0707)
    writer.add_leading_dense_block_count(1)
    writer.add_expert_feed_forward_length(EXPERT_FFN)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(used)
    writer.add_expert_shared_count(SHARED)
    writer.add_expert_weights_scale(2.5 if form == "v3" else 1.0)
    if form == "v3":
        writer.add_q_lora_rank(Q_RANK)
        writer.add_expert_weights_norm(True)
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        writer.add_expert_group_count(4)
        writer.add_expert_group_used_count(2)


def main():
    parser = random_model.parser(__doc__, "a GGUF file whose tokenizer is copied")
    parser.add_argument("--form", default="lite", choices=["lite", "old", "v3"])
    parser.add_argument("--used", default=USED, type=int, help=f"experts of a token (default: {USED} of {EXPERTS})")
    args = parser.parse_args()
    model = random_model.RandomModel(args, "deepseek2")
    writer, vector, matrix = model.writer, model.vector, model.matrix
    vocabulary = copy_vocabulary(writer, args.vocabulary)
    layers = V3_LAYERS if args.form == "v3" else LITE_LAYERS
    writer.add_vocab_size(vocabulary)
    add_numbers(writer, args.form, layers, args.used)

    matrix("token_embd.weight", vocabulary, WIDTH, gain=WIDTH ** 0.5)
    vector("output_norm.weight", WIDTH, centre=1.0)
    matrix("output.weight", vocabulary, WIDTH, gain=3.0)
    for layer in range(layers):
        def name(what):
            return f"blk.{layer}.{what}"
        vector(name("attn_norm.weight"), WIDTH, centre=1.0)
        q_width = HEADS * (PLAIN + TURNING)
        if args.form == "v3":
            matrix(name("attn_q_a.weight"), Q_RANK, WIDTH)
            vector(name("attn_q_a_norm.weight"), Q_RANK, centre=1.0)
            matrix(name("attn_q_b.weight"), q_width, Q_RANK, gain=1.2)
        else:
            matrix(name("attn_q.weight"), q_width, WIDTH, gain=1.2)
        matrix(name("attn_kv_a_mqa.weight"), RANK + TURNING, WIDTH)
        vector(name("attn_kv_a_norm.weight"), RANK, centre=1.0)
        if args.form == "old":
            matrix(name("attn_kv_b.weight"), HEADS * (PLAIN + VALUE), RANK)
        else:
            matrix(name("attn_k_b.weight"), HEADS, RANK, PLAIN, gain=(PLAIN / RANK) ** 0.5)
            matrix(name("attn_v_b.weight"), HEADS, VALUE, RANK)
        matrix(name("attn_output.weight"), WIDTH, HEADS * VALUE, gain=0.5)
        vector(name("ffn_norm.weight"), WIDTH, centre=1.0)
        if layer == 0:
            matrix(name("ffn_gate.weight"), FFN, WIDTH)
            matrix(name("ffn_up.weight"), FFN, WIDTH)
            matrix(name("ffn_down.weight"), WIDTH, FFN, gain=0.5)
            continue
        matrix(name("ffn_gate_inp.weight"), EXPERTS, WIDTH, kind="F32")
        if args.form == "v3":
            vector(name("exp_probs_b.bias"), EXPERTS)
        for kind, count, inside in (("exps", EXPERTS, EXPERT_FFN), ("shexp", 0, SHARED * EXPERT_FFN)):
            some = (count,) if count else ()
            matrix(name(f"ffn_gate_{kind}.weight"), *some, inside, WIDTH)
            matrix(name(f"ffn_up_{kind}.weight"), *some, inside, WIDTH)
            matrix(name(f"ffn_down_{kind}.weight"), *some, WIDTH, inside, gain=0.5)
    model.close()


if __name__ == "__main__":
    main()
