// Launches of the prefill kernels.

#pragma once

#include "steerway-cuda-prefill.cuh"

#include <cuda_runtime.h>

static inline int64_t steerway_tiles(int n_rows, int n_blocks) {
    return (int64_t) (n_rows + k_steerway_tile_rows - 1) / k_steerway_tile_rows*n_blocks;
}

template <steerway_weights type>
static cudaError_t steerway_launch_repack(
    const uint8_t * weights, steerway_tile * tiles, int64_t row_bytes, int n_rows, int n_blocks, cudaStream_t stream) {
    const int64_t n_tiles = steerway_tiles(n_rows, n_blocks);
    constexpr int warps   = 4;
    steerway_repack<type><<<(unsigned) ((n_tiles + warps - 1) / warps), 32*warps, 0, stream>>>(
        weights, tiles, row_bytes, n_rows, n_blocks);
    return cudaGetLastError();
}

template <steerway_weights type, typename shape>
static cudaError_t steerway_launch_shape(const steerway_tile * tiles, const uint16_t * x, float * dst, int n_rows, int n_columns,
                                         int n_blocks, int64_t x_stride, int64_t dst_stride, cudaStream_t stream) {
    // more than 48 KiB of shared memory must be asked for, on every device
    const cudaError_t error = cudaFuncSetAttribute(
        steerway_product<type, shape>, cudaFuncAttributeMaxDynamicSharedMemorySize, shape::bytes);
    if (error != cudaSuccess) {
        return error;
    }
    const dim3 grid((n_rows + shape::rows - 1) / shape::rows, (n_columns + k_steerway_columns - 1) / k_steerway_columns);
    steerway_product<type, shape><<<grid, 32*shape::warps, shape::bytes, stream>>>(
        tiles, x, dst, n_rows, n_columns, n_blocks, x_stride, dst_stride);
    return cudaGetLastError();
}

// Which shape: the one that reads less wherever it gives every multiprocessor a CUDA block.
static inline bool steerway_takes_many_rows(int n_rows, int n_columns, int n_multiprocessors) {
    const int rows = steerway_many_rows::rows;
    return (int64_t) ((n_rows + rows - 1) / rows)*((n_columns + k_steerway_columns - 1) / k_steerway_columns) >= n_multiprocessors;
}

template <steerway_weights type>
static cudaError_t steerway_launch_product(
    const steerway_tile * tiles, const uint16_t * x, float * dst, int n_rows, int n_columns, int n_blocks, int64_t x_stride,
    int64_t dst_stride, int n_multiprocessors, cudaStream_t stream) {
    const auto launch = steerway_takes_many_rows(n_rows, n_columns, n_multiprocessors)
        ? steerway_launch_shape<type, steerway_many_rows> : steerway_launch_shape<type, steerway_few_rows>;
    return launch(tiles, x, dst, n_rows, n_columns, n_blocks, x_stride, dst_stride, stream);
}
