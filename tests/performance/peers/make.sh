#!/usr/bin/env bash
# Makes the peers' virtual environment: tests/performance/peers/make.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: make.sh FOLDER}

python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --requirement "$here/requirements.txt"
# Without its dependencies: it pins another qiskit, which its simulators do not import.
"$folder/bin/pip" install --quiet --no-deps qokit==0.1.4

# QOKit's wheel has the sources of its C simulator, but neither the headers nor the makefile: write the one line a
# function that is missing, and build with optimisation, which its own makefile leaves out.
sources=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/qokit/fur/c/csim/src
if command -v gcc > /dev/null; then
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
  cp "$sources"/*.c "$build"
  for file in diagonal fur qaoa_fur; do
    { echo '#pragma once'; echo '#include <stddef.h>'; sed -n '/^void [a-z_]*(double.*)[[:space:]]*$/s/[[:space:]]*$/;/p' "$build/$file.c"; } > "$build/$file.h"
  done
  gcc -O3 -march=native -ffast-math -fopenmp -fPIC -shared -I"$build" "$build"/*.c -lm -o "$sources/../libcsim.so"
else
  echo 'no gcc: QOKit stays in Python' >&2
fi
