# SPDX-License-Identifier: Apache-2.0
"""Writes dequantise_golden.inc: one random block per format, expanded by the `gguf` package (pip install gguf).

Usage: python dequantise_golden.py > dequantise_golden.inc
"""
import gguf
import numpy as np

# Offsets of the f16 scales.
HALVES = {"Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82), "Q3_K": (108,),
          "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,), "IQ4_XS": (0,), "MXFP4": ()}

print("// SPDX-License-Identifier: Apache-2.0")
print("// Written by dequantise_golden.py: block bytes, then the bits of the f32 values that they stand for.")
rng = np.random.default_rng(20)
for name, offsets in HALVES.items():
    kind = gguf.GGMLQuantizationType[name]
    block = rng.integers(0, 256, gguf.GGML_QUANT_SIZES[kind][1], dtype=np.uint8)
    for offset in offsets:
        block[offset : offset + 2] = np.array([rng.standard_normal() * 0.02], np.float16).view(np.uint8)
    values = gguf.quants.dequantize(block.reshape(1, -1), kind).astype(np.float32).view(np.uint32).ravel()
    print(f"{{WeightFormat::k{name},")
    for i in range(0, len(block), 52):
        print(f' "{block[i:i + 52].tobytes().hex()}"' + ("," if i + 52 >= len(block) else ""))
    bits = [f"0x{v:08x}" for v in values]
    for i in range(0, len(bits), 9):
        print((" {" if i == 0 else "  ") + ", ".join(bits[i : i + 9]) + ("," if i + 9 < len(bits) else "}},"))
