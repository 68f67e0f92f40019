// The warp instructions of the prefill kernels, one function each. The layouts of fragments are written down in
// steerway-cuda-fragments.cuh. native/tests/test_mma_layout.cpp brings functions of the same names that do on a CPU what
// PTX says these do.

#pragma once

#include <cstdint>

#ifndef STEERWAY_CUDA_EMULATED

#include <cuda_fp16.h>

#if __CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ >= 5)
#define STEERWAY_MMA_SP "mma.sp::ordered_metadata"
#else
#define STEERWAY_MMA_SP "mma.sp"  // the same result; slow from Hopper on
#endif

// d += a*b, a 16 x 32 with two of four kept, b 32 x 8. Metadata come from lanes 4g + 2*selector and the one behind.
template <int selector>
static __device__ __forceinline__ void steerway_mma_sp(float (&d)[4], const uint32_t (&a)[4], const uint32_t * b, uint32_t e) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile(STEERWAY_MMA_SP ".sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, %13;\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(e), "n"(selector));
#endif
}

// d += a*b, a 16 x 16, b 16 x 8
static __device__ __forceinline__ void steerway_mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t * b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Four 8 x 8 matrices of f16 from shared memory; lane 8i + r gives the address of row r of matrix i.
static __device__ __forceinline__ void steerway_ldmatrix(uint32_t * x, const void * row) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
        : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"((uint32_t) __cvta_generic_to_shared(row)) : "memory");
#endif
}

// 16 bytes to shared memory, zeros where not `valid` (then `source` is not read).
static __device__ __forceinline__ void steerway_copy_async(void * target, const void * source, bool valid) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
        :: "r"((uint32_t) __cvta_generic_to_shared(target)), "l"(source), "r"(valid ? 16 : 0) : "memory");
#endif
}

static __device__ __forceinline__ void steerway_copy_commit() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

// Waits until at most n of the committed groups are under way.
template <int n> static __device__ __forceinline__ void steerway_copy_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;\n" :: "n"(n) : "memory");
#endif
}

// a - b for two f16 each
static __device__ __forceinline__ uint32_t steerway_sub2(uint32_t a, uint32_t b) {
    const half2 d = __hsub2(*(const half2 *) &a, *(const half2 *) &b);
    return *(const uint32_t *) &d;
}

static __device__ __forceinline__ float steerway_f16(uint32_t x) {
    return __half2float(__ushort_as_half((unsigned short) x));
}

#endif // STEERWAY_CUDA_EMULATED
