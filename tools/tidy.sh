#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-tidy 14 over the sources of a build folder. Usage: tools/tidy.sh BUILD_DIR [FILE...]
# clang 14 sees libstdc++'s std::expected only if told a newer version of concepts.
set -eu
cd "$(dirname "$0")/.."
build=$1
shift
if [ $# -eq 0 ]; then
  set -- $(git ls-files 'cairn/*.cc' 'apps/*.cc')
fi
printf '%s\n' "$@" | xargs -n 1 -P "$(nproc)" clang-tidy-14 -p "$build" --quiet \
  --extra-arg=-U__cpp_concepts --extra-arg=-D__cpp_concepts=202002L \
  --extra-arg=-Wno-builtin-macro-redefined --extra-arg=-Wno-macro-redefined --extra-arg=-Wno-unknown-warning-option
