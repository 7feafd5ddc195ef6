#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file holds one idea: the program's own fail over 400 lines, tests and tools warn there and fail over 800.

Usage: check_size.py [ROOT]"""
import re
import sys
from pathlib import Path

WARN_LINES, FAIL_LINES = 400, 800
PRODUCTION = re.compile(r"^(include/|cairn/(?!testing/)|apps/).*(?<!_test)\.(h|cc)$")
FOLDERS = ("include", "cairn", "apps", "bench", "fuzz", "examples", "tools", "cmake")
SUFFIXES = {".h", ".cc", ".py", ".sh", ".cmake"}


def main(argv):
    root = Path(argv[1] if len(argv) > 1 else ".").resolve()
    failed = False
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in SUFFIXES or not file.is_file():
                continue
            lines = len(file.read_text(encoding="utf-8").splitlines())
            path = file.relative_to(root).as_posix()
            if lines > WARN_LINES:
                error = lines > FAIL_LINES or PRODUCTION.match(path) is not None
                failed |= error
                print(f"{path}: {'error' if error else 'warning'}: {lines} lines; split it by idea")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
