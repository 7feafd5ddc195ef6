# SPDX-License-Identifier: Apache-2.0
"""What the writers of random models (random_*.py) have in common: options, tensors of seeded normal values, the file.

Needs the Python packages gguf and numpy.
"""
import argparse

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type


def parser(description, vocabulary):
    """The options of all; `vocabulary` is the help of --vocabulary."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", help="the file to write")
    options.add_argument("--vocabulary", required=True, help=vocabulary)
    options.add_argument("--type", default="F16", help="of matrices that no other option names (default: F16)")
    options.add_argument("--seed", default=1, type=int)
    return options


class RandomModel:
    """A file in the making: metadata through `writer`, tensors in the order of the calls."""

    def __init__(self, options, architecture):
        self.writer = gguf.GGUFWriter(options.out, architecture)
        self.random = np.random.default_rng(options.seed)
        self.type = options.type

    def _values(self, shape, scale, centre):
        return (centre + scale * self.random.standard_normal(shape)).astype(np.float32)

    def vector(self, name, *shape, scale=0.1, centre=0.0):
        self.writer.add_tensor(name, self._values(shape, scale, centre))

    def matrix(self, name, *shape, gain=1.0, kind=None):
        """Products with it have `gain` times the size of what it meets."""
        kind = Type[kind or self.type]
        values = self._values(shape, gain / shape[-1] ** 0.5, 0.0)
        self.writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
