// Included by the patched common.cuh behind ggml_cuda_type_traits. A thread of ggml's matrix-vector kernel takes 32 weights
// of a block, the columns of one block of activations.

#pragma once

#include "steerway-cuda-bits.cuh"

template <> struct ggml_cuda_type_traits<GGML_TYPE_S24_0> {
    static constexpr int qk = k_steerway_block;
    static constexpr int qr = 1;
    static constexpr int qi = 2;
    static constexpr int bs = k_steerway_block_bytes;
};

template <> struct ggml_cuda_type_traits<GGML_TYPE_I3_0> {
    static constexpr int qk = k_steerway_block;
    static constexpr int qr = 1;
    static constexpr int qi = 2;
    static constexpr int bs = k_steerway_block_bytes;
};
