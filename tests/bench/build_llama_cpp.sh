#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds llama.cpp for this machine, for tests/bench/compare_llama_cpp.py, from the source inside the llama-cpp-python package.
# It makes DIR/venv (with gguf and numpy, for the models), DIR/src and DIR/build/bin. Some ten minutes on two cores; what is
# there already is kept. Environment: PYTHON (default python3), JOBS (default: one per core).
# usage: build_llama_cpp.sh DIR
set -euo pipefail

version=0.3.36
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e

[ $# -eq 1 ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
mkdir -p "$1"
cd "$1"

if [ ! -e venv/complete ]; then
    "${PYTHON:-python3}" -m venv venv
    venv/bin/pip install -q scikit-build-core cmake ninja gguf numpy
    touch venv/complete
fi

if [ ! -d src ]; then
    rm -rf part && mkdir part
    venv/bin/pip download -q --no-deps --no-binary llama-cpp-python --no-build-isolation -d part "llama-cpp-python==$version"
    package=part/llama_cpp_python-$version.tar.gz
    echo "$sha256  $package" | sha256sum --check --quiet
    tar -xzf "$package" -C part "llama_cpp_python-$version/vendor/llama.cpp"
    mv "part/llama_cpp_python-$version/vendor/llama.cpp" src
    rm -r part
fi

# Native, with OpenMP and repacking: its fastest on a CPU.
venv/bin/cmake -S src -B build -G Ninja -DCMAKE_MAKE_PROGRAM="$PWD/venv/bin/ninja" -DCMAKE_BUILD_TYPE=Release \
    -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DGGML_CPU_REPACK=ON \
    -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF \
    -DLLAMA_USE_PREBUILT_UI=OFF
venv/bin/ninja -C build ${JOBS:+-j "$JOBS"} llama-bench llama-quantize
echo "llama.cpp is in $PWD/build/bin"
