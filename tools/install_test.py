#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs a build into a scratch prefix, builds examples/ against the package alone, and runs it on the demo model.

Usage: install_test.py CMAKE BUILD_DIR CXX_COMPILER
"""
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command):
    print("+", *command, flush=True)
    return subprocess.run([str(part) for part in command], check=True, text=True, stdout=subprocess.PIPE).stdout


def main():
    cmake, build, compiler = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        prefix, outside = Path(scratch) / "prefix", Path(scratch) / "build"
        run(cmake, "--install", build, "--prefix", prefix)
        installed = sorted(path.name for path in (prefix / "include").rglob("*") if path.is_file())
        public = sorted(path.name for path in (ROOT / "include/cairn").glob("*.h"))
        if installed != public:
            sys.exit(f"installed headers are {installed}, the public ones {public}")
        run(cmake, "-S", ROOT / "examples", "-B", outside, f"-DCMAKE_PREFIX_PATH={prefix}",
            f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
        run(cmake, "--build", outside)
        printed = run(outside / "quickstart", ROOT / "models/cairn-tiny-f16.gguf")
        print(printed)
        if "5931" not in printed:
            sys.exit("the quickstart did not answer 5931")
        version = run(prefix / "bin/cairn", "--version")
        if not version.startswith("cairn "):
            sys.exit(f"unexpected version line: {version}")


if __name__ == "__main__":
    main()
