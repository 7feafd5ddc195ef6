#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-format 14 over every C++ file that git knows. Arguments go to clang-format: -i, or --dry-run --Werror.
set -eu
cd "$(dirname "$0")/.."
git ls-files -z --cached --others --exclude-standard '*.h' '*.cc' | xargs -0 -r clang-format-14 "$@"
