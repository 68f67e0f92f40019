#!/usr/bin/env bash
# One call on a machine with an NVIDIA GPU (compute capability 8.0 or newer). In this order:
#   kernels    native/gpu/kernels.cu: warp instructions, our kernels against double precision, their time beside cuBLAS; and
#              their reads and writes, if compute-sanitizer is there
#   build      the wheel with CUDA; or ggml alone, from the archive that STEERWAY_GPU_TREE names (native/gpu/tree.py makes it)
#   products   native/gpu/products.cpp: our weight types through ggml's graphs, with cuBLAS and with our prefill
#   ggml       ggml's own test-backend-ops, products and get_rows of our types
#   tests      the native tests, given heads, and the benchmarks of shift and rows (only with the wheel)
# Writes docs/results/gpu-NAME.json (STEERWAY_GPU_RESULTS: another folder) and ends with 0 if everything passed.
# `check.sh kernels` stops behind the first step.
#
# Needs: CUDA toolkit with cuBLAS (nvcc on PATH), a C++ compiler, CMake for ggml alone, Python >= 3.11 (with venv for the wheel).
# Without a network: STEERWAY_GPU_TREE; or STEERWAY_SDIST (the source distribution), PIP_NO_INDEX=1 and PIP_FIND_LINKS (a
# folder of wheels), STEERWAY_HOME (with the small and the default model in its cache).
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
    echo "gpu check: $1" >&2
    exit 1
}
command -v nvidia-smi >/dev/null || fail "no NVIDIA driver on this machine (nvidia-smi is missing)"
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1) && [[ -n $gpu ]] || fail "the driver finds no NVIDIA GPU"
command -v nvcc >/dev/null || fail "nvcc is not on PATH: install the CUDA toolkit with cuBLAS"
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export STEERWAY_CUDA=1 STEERWAY_CUDA_ARCHITECTURES=${STEERWAY_CUDA_ARCHITECTURES:-native}
status=0

step() { # a name and a command; a failed step fails the check, the others still run
    local start=$SECONDS
    echo "== $1"
    "${@:2}" || { status=1; echo "== $1 FAILED"; }
    echo "== $1: $((SECONDS - start)) s"
}

# cuBLAS: the toolkit's, else the one of the Python package nvidia-cublas, which has no name to link with.
nvcc_root=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
cublas=$(find "$nvcc_root" -name cublas_v2.h -printf '%h' -quit 2>/dev/null || true)
cublas_kernels=(-lcublas) cublas_cmake=()
if [[ -z $cublas ]]; then
    cublas=$("$python" -c 'import sys; from pathlib import Path
print(next((h.parent for p in sys.path for h in sorted(Path(p).glob("nvidia/*/include/cublas_v2.h"))), ""))')
    [[ -n $cublas ]] || fail "no cuBLAS: install the CUDA toolkit with it, or the Python package nvidia-cublas"
    so=$(find "$cublas/../lib" -name 'libcublas.so.*' | head -1)
    lt=$(find "$cublas/../lib" -name 'libcublasLt.so.*' | head -1)
    cublas_kernels=("-I$cublas" "$so" "$lt" -Xlinker "-rpath=$(dirname "$so")")
    cublas_cmake=("-DCUDA_cublas_LIBRARY=$so" "-DCUDA_cublasLt_LIBRARY=$lt")
    export CXXFLAGS="${CXXFLAGS:-} -I$cublas" CUDAFLAGS="${CUDAFLAGS:-} -I$cublas"
    export LD_LIBRARY_PATH="$(dirname "$so")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    export STEERWAY_CMAKE_ARGS="${STEERWAY_CMAKE_ARGS:-} ${cublas_cmake[*]}"
fi

compile_kernels() {
    nvcc -std=c++17 -O3 "-arch=${STEERWAY_NVCC_ARCH:-native}" native/gpu/kernels.cu -o "$work/kernels" "${cublas_kernels[@]}"
}

check_memory() { # where the tool may not look at the device, it says so and nothing is checked
    local found=0
    timeout 150 compute-sanitizer --error-exitcode 99 "$work/kernels" "$work/memory.json" --no-bench >"$work/memory.log" 2>&1 || found=$?
    tail -2 "$work/memory.log"
    [[ $found -ne 99 ]]
}

# STEERWAY_GPU_TREE: without flash attention, which is most of the compile time and which nothing here uses, and without the
# memory pool that links with the driver's library
build_ggml() {
    mkdir "$work/tree"
    tar -xf "$STEERWAY_GPU_TREE" -C "$work/tree" || return 1
    touch "$work/tree/ggml/ggml.pc.in" # not in the source distribution; ggml on its own configures it
    cmake -S "$work/tree/ggml" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_CUDA=ON \
        -DGGML_CUDA_FA=OFF -DGGML_CUDA_NO_VMM=ON -DGGML_CCACHE=OFF -DGGML_BUILD_TESTS=OFF -DGGML_BUILD_EXAMPLES=OFF "${cublas_cmake[@]}" \
        "-DCMAKE_CUDA_ARCHITECTURES=$STEERWAY_CUDA_ARCHITECTURES" "-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=$work/lib" >"$work/cmake.log" 2>&1 \
        || { tail -20 "$work/cmake.log"; return 1; }
    cmake --build "$work/build" -j "$(nproc)" >"$work/build.log" 2>&1 || { tail -40 "$work/build.log"; return 1; }
    include=$work/tree/ggml/include library=$work/lib backend_tests=$work/tree/tests/test-backend-ops.cpp
}

build_wheel() {
    local package
    run="$work/venv/bin/python"
    "$python" -m venv "$work/venv" \
        && "$python" native/build.py --python "$run" \
        && "$run" -m pip install --quiet . "pytest>=8.3,<9" "pytest-timeout" "pytest-asyncio" \
        && "$run" native/build.py --python "$run" \
        && "$run" native/gpu/tree.py "$work/tree.tar.xz" \
        && mkdir "$work/tree" && tar -xf "$work/tree.tar.xz" -C "$work/tree" || return 1 # built twice: a stock wheel may be preferred
    package=$("$run" -c 'from importlib.util import find_spec; from pathlib import Path
print(Path(find_spec("llama_cpp").origin).parent)') || return 1
    include=$package/include library=$package/lib backend_tests=$work/tree/tests/test-backend-ops.cpp
}

link() { # a program with ggml: source, target
    c++ -std=c++17 -O2 -w "-I$include" "$1" -o "$2" "-L$library" -lggml -lggml-base -lpthread \
        "-Wl,-rpath,$library" "-Wl,-rpath-link,$library"
}

run_products() {
    link native/gpu/products.cpp "$work/products" || return 1
    local copy failed=0
    copy=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1])).get("copy_gb_per_s", 0))' "$work/kernels.json")
    STEERWAY_CUDA_PREFILL=0 timeout 150 "$work/products" "$work/products.json" "$copy" || failed=1
    STEERWAY_CUDA_PREFILL=1 timeout 150 "$work/products" "$work/products-own-prefill.json" "$copy" || failed=1
    return $failed
}

run_backend_tests() { # ggml's own, with our types added to its lists
    sed 's/^static const ggml_type \(all\|base\)_types\[\] = {/& GGML_TYPE_S24_0, GGML_TYPE_I3_0,/' "$backend_tests" >"$work/backend.cpp"
    link "$work/backend.cpp" "$work/backend" || return 1
    local prefill passed failed=0
    for prefill in 0 1; do
        STEERWAY_CUDA_PREFILL=$prefill timeout 200 "$work/backend" test -b CUDA0 -o MUL_MAT,MUL_MAT_ID,GET_ROWS -p 's24_0|i3_0' \
            -j 4 >"$work/backend-$prefill.log" 2>&1 || failed=1
        passed=$(grep -c 'OK' "$work/backend-$prefill.log" || true)
        grep -E 'FAIL|tests passed' "$work/backend-$prefill.log" | tail -20 || true
        [[ $passed -gt 50 ]] || { echo "only $passed tests of our types ran"; failed=1; }
    done
    return $failed
}

run_native_tests() {
    local failed=0
    "$run" -m pytest tests/native -q -m "not slow" --junitxml "$work/tests.xml" || failed=1
    c++ -std=c++17 -O2 "-I$include" native/tests/test_heads.cpp -o "$work/heads" "-L$library" -lllama -lggml -lggml-base "-Wl,-rpath,$library" \
        && STEERWAY_TEST_DEVICE=GPU "$work/heads" || failed=1
    "$run" tests/bench/bench_shift.py smollm2-135m --json "$work/shift.json" || failed=1
    "$run" tests/bench/bench_rows.py smollm2-135m --json "$work/rows.json" || failed=1
    return $failed
}

step "compile kernels" compile_kernels
step "kernels" timeout 150 "$work/kernels" "$work/kernels.json"
if command -v compute-sanitizer >/dev/null; then step "memory" check_memory; fi
if [[ ${1:-} != kernels ]]; then
    include=
    if [[ -n ${STEERWAY_GPU_TREE:-} ]]; then step "build ggml" build_ggml; else step "build the wheel" build_wheel; fi
    if [[ -n $include ]]; then
        step "products" run_products
        step "ggml's tests" run_backend_tests
        [[ -n ${STEERWAY_GPU_TREE:-} ]] || step "native tests" run_native_tests
    fi
fi
"$python" native/gpu/summary.py "$gpu" "${STEERWAY_GPU_RESULTS:-docs/results}" "$status" "$work"
exit "$status"
