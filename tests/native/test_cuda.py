"""The CUDA code of our weight types compiles for Ampere and for Hopper; native/gpu/check.sh runs it on a GPU.

What the kernels compute is tested without one by native/tests/test_mma_layout.cpp.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from steerway_native import fetch, patch, pins, tree

GPU = pins.NATIVE / "gpu"
PATCH = pins.NATIVE / "patches" / "0006-own-types-cuda.patch"
ARCHITECTURES = ("80", "90a")
STRICT = "-Werror=all-warnings"  # llama.cpp's own sources are not held to that

# What ggml declares where it includes our headers
SURROUNDINGS = """
#include <cuda_fp16.h>
#include <cstdint>
enum ggml_type { GGML_TYPE_S24_0 = 240, GGML_TYPE_I3_0 = 241 };
template <ggml_type type> struct ggml_cuda_type_traits;
struct block_q8_1 { half2 ds; int8_t qs[32]; };
#include "steerway-cuda-traits.cuh"
#include "steerway-cuda-types.cuh"
#include "steerway-head-plan.h"
#include "steerway-cuda-heads.cuh"
void launch(const steerway_heads_args & a) { steerway_heads<<<1, k_heads_threads>>>(a); }
__global__ void all(const void * x, const block_q8_1 * y, float * z, float2 * v) {
    z[0] = vec_dot_s24_0_q8_1(x, y, threadIdx.x, 0) + vec_dot_i3_0_q8_1(x, y, threadIdx.x, 1);
    dequantize_s24_0(x, threadIdx.x, 2, v[0]);
    dequantize_i3_0(x, threadIdx.x, 2, v[1]);
    v[2].x = ggml_cuda_type_traits<GGML_TYPE_S24_0>::bs + ggml_cuda_type_traits<GGML_TYPE_I3_0>::bs;
}
"""

# What ggml uses of cuBLAS, for compiling on machines that have nvcc without it
CUBLAS = """
#pragma once
#include <library_types.h>
typedef struct cublasContext * cublasHandle_t;
enum cublasStatus_t { CUBLAS_STATUS_SUCCESS };
enum cublasComputeType_t { CUBLAS_COMPUTE_16F, CUBLAS_COMPUTE_32F };
enum cublasAny_t { CUBLAS_TF32_TENSOR_OP_MATH, CUBLAS_OP_N, CUBLAS_OP_T, CUBLAS_GEMM_DEFAULT_TENSOR_OP };
const char * cublasGetStatusString(cublasStatus_t);
""" + "".join(
    f"template <typename... T> cublasStatus_t cublas{name}(T...);\n"
    for name in ("Create", "Destroy", "SetMathMode", "SetStream", "Sgemm", "GemmEx", "GemmBatchedEx")
)
CUBLAS += "template <typename... T> cublasStatus_t cublasGemmStridedBatchedEx(T...);\n"


def compile_for(architecture: str, source: Path, *options: str | Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on PATH (CUDA toolkit 12.5 or newer)")
    nice = [program] if (program := shutil.which("nice")) else []
    target = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
    command = [*nice, nvcc, "-c", "-std=c++17", "-extended-lambda", target, *options]
    done = subprocess.run(
        [*map(str, command), str(source), "-o", os.devnull], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_types_compile_in_their_surroundings(architecture: str, tmp_path: Path) -> None:
    (tmp_path / "all.cu").write_text(SURROUNDINGS)
    include = [f"-I{pins.NATIVE / 'src' / folder}" for folder in ("cuda", "ggml")]
    compile_for(architecture, tmp_path / "all.cu", "-O1", STRICT, *include)


@pytest.mark.model  # half a minute
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_prefill_kernels_compile_with_their_check(architecture: str) -> None:
    compile_for(architecture, GPU / "kernels.cu", "-O1", STRICT)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ggml's folder of the tree that is built."""
    base = pins.read()
    work = tmp_path_factory.mktemp("tree")
    ready = tree.prepare(fetch.source(base), work, base, native=pins.NATIVE, key="test")
    return ready / "vendor" / "llama.cpp" / "ggml"


@pytest.mark.slow  # mmvq.cu holds every type's kernels: a minute
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    "name",
    [
        "steerway/steerway-cuda-heads",
        "steerway/steerway-cuda-prefill",
        "convert",
        "getrows",
        "mmvq",
        "ggml-cuda",
    ],
)
def test_what_the_patch_changes_compiles(name: str, architecture: str, sources: Path, tmp_path: Path) -> None:
    (tmp_path / "cublas_v2.h").write_text(CUBLAS)
    include = [f"-I{sources / 'include'}", f"-I{sources / 'src'}", f"-I{tmp_path}"]
    source = sources / "src" / "ggml-cuda" / f"{name}.cu"
    compile_for(architecture, source, "-O1", "-use_fast_math", "-Wno-deprecated-gpu-targets", *include)


def test_the_patch_is_registration_only() -> None:
    added = sum(len(hunk.new) - len(hunk.old) for hunk in patch.parse(PATCH))
    assert added <= 70
    assert all(name.startswith("vendor/llama.cpp/ggml/src/ggml-cuda/") for name in patch.files(PATCH))
    assert not any("mmq" in name for name in patch.files(PATCH))


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is an NVIDIA GPU here")
def test_the_gpu_check_says_that_there_is_no_gpu() -> None:
    done = subprocess.run([GPU / "check.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "gpu check: no NVIDIA driver on this machine (nvidia-smi is missing)\n"


def test_the_summary_joins_what_the_steps_left(tmp_path: Path) -> None:
    (tmp_path / "kernels.json").write_text('{"failed": 0}')
    (tmp_path / "backend-1.log").write_text(
        "  MUL_MAT(type_a=s24_0,n=1): \x1b[1;32mOK\x1b[0m\n"
        "  MUL_MAT(type_a=i3_0,n=9): [MUL_MAT] ERR = 0.9 > 0.0005 \x1b[1;31mFAIL\x1b[0m\n"
        "  GET_ROWS(type=s24_0): not supported [CUDA0]\n"
    )
    (tmp_path / "tests.xml").write_text('<a><testcase name="x"/><testcase name="y"><failure/></testcase></a>')
    command = [sys.executable, GPU / "summary.py", "NVIDIA H200", tmp_path / "out", "1", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'out' / 'gpu-nvidia-h200.json'}\n"
    assert json.loads((tmp_path / "out" / "gpu-nvidia-h200.json").read_text()) == {
        "gpu": "NVIDIA H200",
        "passed": False,
        "tests": {"run": 2, "failed": ["y"]},
        "ggml_tests_own_prefill-1": {
            "passed": 1,
            "failed": ["MUL_MAT(type_a=i3_0,n=9)"],
            "not_supported": 1,
        },
        "kernels": {"failed": 0},
    }


def test_the_page_shows_how_to_run_it() -> None:
    page = (pins.NATIVE.parent / "docs" / "gpu.md").read_text()
    named = set(
        re.findall(r"\bSTEERWAY_[A-Z_]*(?:GPU|PREFILL|NVCC)[A-Z_]*\b", (GPU / "check.sh").read_text())
    )
    assert [name for name in sorted(named) if name not in page] == []
