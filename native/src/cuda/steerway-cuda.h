// What the patched ggml-cuda.cu calls.

#pragma once

struct ggml_backend_cuda_context;
struct ggml_tensor;

// Our tensor core kernels, where ggml would otherwise convert all weights to f16 and ask cuBLAS:
// dst = src0*src1 if src0 is of one of our types and the kernels are on, and the tensors are what they take; false leaves dst
// alone. Off unless the environment variable STEERWAY_CUDA_PREFILL is 1: see docs/gpu.md.
#if defined(GGML_USE_HIP) || defined(GGML_USE_MUSA) // these compile ggml-cuda.cu without our source
static inline bool steerway_cuda_mul_mat(ggml_backend_cuda_context &, const ggml_tensor *, const ggml_tensor *, ggml_tensor *) {
    return false;
}
static inline void steerway_cuda_heads(ggml_backend_cuda_context &, ggml_tensor *) {}
static inline void * steerway_cuda_proc_address(const char *) { return nullptr; }
#else
bool steerway_cuda_mul_mat(ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, ggml_tensor * dst);

// Behind a FLASH_ATTN_EXT: writes the rows of heads that are given (steerway-head-plan.h), if there are any.
void steerway_cuda_heads(ggml_backend_cuda_context & ctx, ggml_tensor * op);

// "steerway_cuda_takes_heads": int (*)(keys' width, values' width, query heads), whether such layers can have given heads. Else null.
void * steerway_cuda_proc_address(const char * name);
#endif
