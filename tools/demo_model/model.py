# SPDX-License-Identifier: Apache-2.0
"""The demo model: a Llama-architecture transformer with grouped-query attention and RoPE on neighbouring pairs."""
import dataclasses
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclasses.dataclass(frozen=True)
class Shape:
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    rope_base: float = 100000.0


SHAPES = {
    "tiny": Shape(256, 6, 4, 2, 64, 704, 4096),  # 5.5 M parameters: what a CPU can train
    "small": Shape(512, 12, 8, 2, 64, 1408, 8192),  # 38 M parameters: wants a GPU
}


def rope_tables(length, shape, device="cpu"):
    """cos and sin, [length, head_dim / 2]."""
    frequencies = shape.rope_base ** -(torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    return angles.cos().float().to(device), angles.sin().float().to(device)


def rotate(x, cos, sin):
    """x is [batch, heads, tokens, head_dim]."""
    cos, sin = cos[: x.shape[2]].to(x.dtype), sin[: x.shape[2]].to(x.dtype)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), 1e-5)


class Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape, self.norm1, self.norm2 = shape, Norm(shape.width), Norm(shape.width)

        def linear(inputs, outputs, std):
            layer = nn.Linear(inputs, outputs, bias=False)
            nn.init.normal_(layer.weight, std=std)
            return layer

        inside = 0.02 * (512 / shape.width) ** 0.5
        onto_residual = 0.02 / math.sqrt(2 * shape.layers)
        kv_width = shape.kv_heads * shape.head_dim
        self.q = linear(shape.width, shape.heads * shape.head_dim, inside)
        self.k = linear(shape.width, kv_width, inside)
        self.v = linear(shape.width, kv_width, inside)
        self.o = linear(shape.heads * shape.head_dim, shape.width, onto_residual)
        self.gate = linear(shape.width, shape.ffn, inside)
        self.up = linear(shape.width, shape.ffn, inside)
        self.down = linear(shape.ffn, shape.width, onto_residual)

    def forward(self, x, cos, sin):
        batch, tokens, _ = x.shape
        shape, h = self.shape, self.norm1(x)

        def heads(y, count):
            return y.view(batch, tokens, count, shape.head_dim).transpose(1, 2)

        q = rotate(heads(self.q(h), shape.heads), cos, sin)
        k = rotate(heads(self.k(h), shape.kv_heads), cos, sin)
        v = heads(self.v(h), shape.kv_heads)
        group = shape.heads // shape.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(attended.transpose(1, 2).reshape(batch, tokens, -1))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    """Returns hidden states; logits are hidden @ embed.weight.T, since the output is tied."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.embed, self.norm = shape, nn.Embedding(shape.vocab, shape.width), Norm(shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, ids, cos, sin):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.norm(x)
