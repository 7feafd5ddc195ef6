#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails if an object compiled for a special instruction set offers symbols that other objects could be linked against.

A template or inline function that such an object instantiates is a weak symbol; the linker may choose that copy for the
whole program, which then dies on processors without these instructions.

usage: check_isa_symbols.py LIBRARY.a ISA...     (objects are recognised by _<isa>.cc in their names)
"""
import subprocess
import sys


def offered(library):
    """Yields (object, symbol type, name) of every defined symbol that other objects can see."""
    listing = subprocess.run(["nm", "--defined-only", "--extern-only", "--demangle", "--print-file-name", library],
                             check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        place, _, rest = line.rpartition(".o:")
        fields = rest.split(maxsplit=2)
        if len(fields) == 3:
            yield place.rsplit(":", 1)[-1], fields[1], fields[2]


def main(library, isas):
    seen, leaks = set(), []
    for place, kind, name in offered(library):
        isa = next((isa for isa in isas if f"_{isa}.cc" in place), None)
        if isa is None:
            continue
        seen.add(isa)
        if kind in "WVu":
            leaks.append(f"{place}: {name}")
    for missing in set(isas) - seen:
        leaks.append(f"no object for {missing} in {library}")
    for leak in leaks:
        print(leak)
    if leaks:
        print("use builtins, unnamed namespaces or always_inline instead (see cairn/base/half.h)")
    return 1 if leaks else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
