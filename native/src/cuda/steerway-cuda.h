// The door to our tensor core kernels, called from the patched ggml-cuda.cu where it would otherwise convert all weights to f16
// and ask cuBLAS.

#pragma once

struct ggml_backend_cuda_context;
struct ggml_tensor;

// dst = src0*src1 if src0 is of one of our types and the kernels are on, and the tensors are what they take; false leaves dst
// alone. Off unless the environment variable STEERWAY_CUDA_PREFILL is 1: see docs/gpu.md.
#if defined(GGML_USE_HIP) || defined(GGML_USE_MUSA) // these compile ggml-cuda.cu without our source
static inline bool steerway_cuda_mul_mat(ggml_backend_cuda_context &, const ggml_tensor *, const ggml_tensor *, ggml_tensor *) {
    return false;
}
#else
bool steerway_cuda_mul_mat(ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, ggml_tensor * dst);
#endif
