#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file holds one idea: warns over 400 lines, fails over 800. Usage: check_size.py [ROOT]"""
import sys
from pathlib import Path

WARN_LINES, FAIL_LINES = 400, 800
FOLDERS = ("cairn", "apps", "bench", "fuzz", "examples", "tools", "cmake")
SUFFIXES = {".h", ".cc", ".py", ".sh", ".cmake"}


def main(argv):
    root = Path(argv[1] if len(argv) > 1 else ".").resolve()
    failed = False
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in SUFFIXES or not file.is_file():
                continue
            lines = len(file.read_text(encoding="utf-8").splitlines())
            if lines > WARN_LINES:
                level = "error" if lines > FAIL_LINES else "warning"
                failed |= lines > FAIL_LINES
                print(f"{file.relative_to(root).as_posix()}: {level}: {lines} lines; split it by idea")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
