#!/usr/bin/env bash
# One call on a machine with an NVIDIA GPU: builds the wheel with CUDA, runs the native tests on the GPU (C++ tests,
# ranged shift, rows, loose positions, attention bias, bit identity with stock) and the benchmarks of shift and rows,
# writes docs/results/gpu-NAME.json.
#
# Needs: CUDA toolkit with cuBLAS (nvcc on PATH), a C++ compiler, Python >= 3.11 with venv.
# Without a network: STEERWAY_SDIST (the source distribution), PIP_NO_INDEX=1 and PIP_FIND_LINKS (a folder of wheels),
# STEERWAY_HOME (with the small and the default model in its cache). Takes 10 minutes on 16 cores.
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v nvidia-smi >/dev/null || { echo "gpu check: no NVIDIA driver on this machine (nvidia-smi is missing)" >&2; exit 1; }
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1)
export STEERWAY_CUDA=1
export STEERWAY_CUDA_ARCHITECTURES=${STEERWAY_CUDA_ARCHITECTURES:-native}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv "$work/venv"
run="$work/venv/bin/python"
"$python" native/build.py --python "$run"
"$run" -m pip install --quiet . "pytest>=8.3,<9" "pytest-timeout" "pytest-asyncio"
"$run" native/build.py --python "$run" # in case a stock wheel was preferred

status=0
"$run" -m pytest tests/native -q -m "not slow" --junitxml "$work/tests.xml" || status=$?
"$run" tests/bench/bench_shift.py smollm2-135m --json "$work/shift.json" || status=$?
"$run" tests/bench/bench_rows.py smollm2-135m --json "$work/rows.json" || status=$?
"$run" native/gpu/summary.py "$gpu" "$work/tests.xml" docs/results "$work/shift.json" "$work/rows.json"
exit "$status"
