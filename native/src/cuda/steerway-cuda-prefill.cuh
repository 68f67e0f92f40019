// Products of our weights with many columns of activations, on tensor cores: mma.sp for S24, mma for I3, otherwise the same.
//
// Weights are the A operand (mma.sp wants the sparse one there). They are brought into fragment order first, 416 bytes a tile
// (steerway-cuda-fragments.cuh), and then go from global memory straight into registers; activations (f16) go through shared
// memory. A block's products are summed with its integers alone, exactly, and its f32 scale is applied to the sum: one FMA for
// 64 columns, and no weight is rounded to f16.

#pragma once

#include "steerway-cuda-fragments.cuh"

constexpr int k_steerway_columns = 64;  // of activations, for one CUDA block

// tiles[(row/16)*(blocks a row) + block]; rows that the last tile lacks have the scale 0. One warp a tile.
template <steerway_weights type>
static __global__ void steerway_repack(const uint8_t * __restrict__ weights, steerway_tile * __restrict__ tiles,
                                       int64_t row_bytes, int n_rows, int n_blocks) {
    const int     lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int64_t tile = (int64_t) blockIdx.x*(blockDim.x / 32) + threadIdx.x / 32;
    const int64_t row0 = tile / n_blocks*k_steerway_tile_rows;
    if (row0 >= n_rows) {
        return;
    }
    const uint8_t * upper = weights + (row0 + g)*row_bytes + tile % n_blocks*k_steerway_block_bytes;
    const uint8_t * lower = upper + 8*row_bytes;
    const bool has_upper  = row0 + g < n_rows;
    const bool has_lower  = row0 + g + 8 < n_rows;

    steerway_lane found = steerway_no_weights<type>();
    if (has_upper) {  // a row that is not there takes the values of one that is, and no scale
        found   = steerway_pack<type>(upper, has_lower ? lower : upper, t);
        found.d = has_lower ? found.d : found.d & 0xffffu;
    }
    steerway_tile & out = tiles[tile];
    out.v[lane][0] = found.v[0];
    out.v[lane][1] = found.v[1];
    out.e[lane]    = found.e;
    if (t == 0) {
        out.d[g] = found.d;
    }
}

// The shape of a CUDA block: 4 warps, `rows` of them below each other with `tiles` tiles each, the other factor shares out
// the blocks of a row (for few columns, where there would be too few CUDA blocks otherwise).
template <int n_tiles, int n_row_warps> struct steerway_shape {
    static constexpr int tiles   = n_tiles;
    static constexpr int warps   = 4;
    static constexpr int down    = n_row_warps;
    static constexpr int across  = warps / n_row_warps;
    static constexpr int rows    = k_steerway_tile_rows*tiles*down;
    static constexpr int stages  = across == 1 ? 4 : 2;
    static constexpr int stage   = across*k_steerway_columns*k_steerway_block;  // f16 values in shared memory
    static constexpr int sums    = (across - 1)*down*tiles*8*4*32;              // floats, behind the last use of the stages
    static constexpr int bytes   = stages*stage*2 > sums*4 ? stages*stage*2 : sums*4;
};

using steerway_many_rows = steerway_shape<4, 4>;  // 256 rows
using steerway_few_rows  = steerway_shape<2, 1>;  // 32 rows, a warp takes every fourth block

// 16-byte chunk `chunk` of the 8 of a column's 64 values. Eight columns' same chunk lie in different banks.
STEERWAY_DEVICE int steerway_swizzled(int column, int chunk) {
    return column*k_steerway_block + 8*(chunk ^ (column & 7));
}

template <typename shape>
static __device__ __forceinline__ void steerway_fetch_activations(
    uint16_t * target, const uint16_t * __restrict__ x, int64_t stride, int column0, int n_columns, int step, int n_blocks) {
    constexpr int chunks = k_steerway_block / 8;
    for (int i = threadIdx.x; i < shape::stage / 8; i += 32*shape::warps) {
        const int  chunk = i % chunks, column = i / chunks % k_steerway_columns, part = i / chunks / k_steerway_columns;
        const int  block = step*shape::across + part;
        const bool valid = column0 + column < n_columns && block < n_blocks;
        const uint16_t * source = valid ? x + (column0 + column)*stride + block*k_steerway_block + 8*chunk : x;
        steerway_copy_async(target + part*k_steerway_columns*k_steerway_block + steerway_swizzled(column, chunk), source, valid);
    }
}

template <steerway_weights type>
static __device__ __forceinline__ steerway_lane steerway_fetch_weights(
    const steerway_tile * __restrict__ tiles, int row_tile, int n_row_tiles, int block, int n_blocks, int lane) {
    if (row_tile >= n_row_tiles || block >= n_blocks) {
        return steerway_no_weights<type>();
    }
    const steerway_tile & tile = tiles[(int64_t) row_tile*n_blocks + block];
    const uint2 v = *(const uint2 *) tile.v[lane];
    return { { v.x, v.y }, tile.e[lane], tile.d[lane / 4] };
}

// dst[column*dst_stride + row] = sum over k of weights[row][k]*x[column*x_stride + k], in f32. x is f16, 16-byte aligned, its
// stride a multiple of 8. Grid: (CUDA blocks of rows, CUDA blocks of columns). Columns of activations that are not there are 0.
template <steerway_weights type, typename shape>
static __global__ void __launch_bounds__(32*shape::warps) steerway_product(
    const steerway_tile * __restrict__ tiles, const uint16_t * __restrict__ x, float * __restrict__ dst,
    int n_rows, int n_columns, int n_blocks, int64_t x_stride, int64_t dst_stride) {
    extern __shared__ uint4 steerway_shared[];
    uint16_t * shared = (uint16_t *) steerway_shared;

    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int warp = threadIdx.x / 32, down = warp % shape::down, across = warp / shape::down;
    const int row_tile    = (blockIdx.x*shape::down + down)*shape::tiles;
    const int n_row_tiles = (n_rows + k_steerway_tile_rows - 1) / k_steerway_tile_rows;
    const int column0     = blockIdx.y*k_steerway_columns;
    const int n_steps     = (n_blocks + shape::across - 1) / shape::across;

    float sums[shape::tiles][8][4] = {};
    steerway_lane next[shape::tiles];
    STEERWAY_UNROLL
    for (int i = 0; i < shape::tiles; ++i) {
        next[i] = steerway_fetch_weights<type>(tiles, row_tile + i, n_row_tiles, across, n_blocks, lane);
    }
    STEERWAY_UNROLL
    for (int s = 0; s < shape::stages - 1; ++s) {
        steerway_fetch_activations<shape>(shared + s*shape::stage, x, x_stride, column0, n_columns, s, n_blocks);
        steerway_copy_commit();
    }

    for (int step = 0; step < n_steps; ++step) {
        steerway_copy_wait<shape::stages - 2>();
        __syncthreads();  // the stage has arrived, and all have read the one that is now overwritten
        const int ahead = step + shape::stages - 1;
        steerway_fetch_activations<shape>(
            shared + ahead % shape::stages*shape::stage, x, x_stride, column0, n_columns, ahead, n_blocks);
        steerway_copy_commit();

        steerway_lane now[shape::tiles];
        uint32_t      a[shape::tiles][4][4];
        STEERWAY_UNROLL
        for (int i = 0; i < shape::tiles; ++i) {
            now[i]  = next[i];
            next[i] = steerway_fetch_weights<type>(
                tiles, row_tile + i, n_row_tiles, (step + 1)*shape::across + across, n_blocks, lane);
            STEERWAY_UNROLL
            for (int k = 0; k < (type == STEERWAY_S24 ? 2 : 4); ++k) {
                steerway_unpack<type>(a[i][k], now[i], k);
            }
        }
        const uint16_t * stage = shared + step % shape::stages*shape::stage + across*k_steerway_columns*k_steerway_block;
        STEERWAY_UNROLL
        for (int j = 0; j < 8; ++j) {
            uint32_t b[8];
            steerway_ldmatrix(b + 0, stage + steerway_swizzled(8*j + lane % 8, lane / 8));
            steerway_ldmatrix(b + 4, stage + steerway_swizzled(8*j + lane % 8, lane / 8 + 4));
            STEERWAY_UNROLL
            for (int i = 0; i < shape::tiles; ++i) {
                float part[4] = { 0.0f, 0.0f, 0.0f, 0.0f };
                steerway_mma_tile<type>(part, a[i], now[i].e, b);
                const float upper = steerway_f16(now[i].d & 0xffffu), lower = steerway_f16(now[i].d >> 16);
                sums[i][j][0] += upper*part[0];
                sums[i][j][1] += upper*part[1];
                sums[i][j][2] += lower*part[2];
                sums[i][j][3] += lower*part[3];
            }
        }
    }

    if (shape::across > 1) {  // the parts' sums, always in the same order
        steerway_copy_wait<0>();
        __syncthreads();
        float * parts = (float *) shared;
        constexpr int each = shape::tiles*8*4;
        if (across > 0) {
            STEERWAY_UNROLL
            for (int i = 0; i < each; ++i) {
                parts[((across - 1)*shape::down + down)*each*32 + i*32 + lane] = (&sums[0][0][0])[i];
            }
        }
        __syncthreads();
        if (across > 0) {
            return;
        }
        for (int part = 1; part < shape::across; ++part) {
            STEERWAY_UNROLL
            for (int i = 0; i < each; ++i) {
                (&sums[0][0][0])[i] += parts[((part - 1)*shape::down + down)*each*32 + i*32 + lane];
            }
        }
    }
    STEERWAY_UNROLL
    for (int i = 0; i < shape::tiles; ++i) {
        STEERWAY_UNROLL
        for (int j = 0; j < 8; ++j) {
            STEERWAY_UNROLL
            for (int k = 0; k < 4; ++k) {
                const int row = (row_tile + i)*k_steerway_tile_rows + g + 8*(k >> 1), column = column0 + 8*j + 2*t + (k & 1);
                if (row < n_rows && column < n_columns) {
                    dst[column*dst_stride + row] = sums[i][j][k];
                }
            }
        }
    }
}
