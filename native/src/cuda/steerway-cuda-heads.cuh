// Heads whose attention is given instead of computed (steerway-head-plan.h), written over what flash attention gave for them.
// The scores are computed all the same: ggml's kernels take all heads of a key head at once.

#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#ifndef STEERWAY_PLAN_OPERAND
#include "../../steerway/steerway-head-plan.h"
#endif

constexpr int k_heads_threads = 128;
constexpr int k_heads_warps   = k_heads_threads/32;
constexpr int k_heads_most    = 256; // values of a head

// Sizes in elements, strides in bytes.
struct steerway_heads_args {
    const char * q, * k, * v, * mask;
    const int32_t * plan;
    const float   * table;
    char *  out;
    int64_t dk, dv, cells, group;
    int64_t q_token, q_head, k_cell, k_head, v_cell, v_head, mask_token, out_head, out_token;
    float   scale;
};

// One value of a head that is gathered.
static __device__ float steerway_gathered(
        const steerway_heads_args & a, const float * row, const int32_t * cells, int64_t key_head, int64_t i) {
    const int  count = cells[STEERWAY_PLAN_COUNT];
    const auto value = [&](int32_t cell) {
        return cell < 0 || cell >= a.cells ? 0.0f : __half2float(((const half *) (a.v + cell*a.v_cell + key_head*a.v_head))[i]);
    };
    float x    = cells[STEERWAY_PLAN_FIRST] ? 0.0f : row[STEERWAY_TABLE_CONSTANT + i];
    float rest = 1.0f;
    for (int n = 0; n < count; n++) {
        x += row[STEERWAY_TABLE_WEIGHT]/count*value(cells[STEERWAY_PLAN_CELLS + n]);
    }
    rest -= count ? row[STEERWAY_TABLE_WEIGHT] : 0.0f;
    if (cells[STEERWAY_PLAN_PREVIOUS] >= 0) {
        x    += row[STEERWAY_TABLE_PREVIOUS]*value(cells[STEERWAY_PLAN_PREVIOUS]);
        rest -= row[STEERWAY_TABLE_PREVIOUS];
    }
    return x + rest*value(cells[STEERWAY_PLAN_SINK]);
}

static __device__ float steerway_warp_sum(float x) {
    for (int offset = 16; offset > 0; offset /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, offset);
    }
    return x;
}

// One row of attention with a bias on its definitions: each warp takes every fourth cell, then the warps' sums are joined.
static __device__ void steerway_reweighted(
        const steerway_heads_args & a, const float * row, const int32_t * cells, int64_t token, int64_t head, float * out) {
    __shared__ float tops[k_heads_warps], sums[k_heads_warps], parts[k_heads_warps][k_heads_most];
    const int     lane = threadIdx.x%32, warp = threadIdx.x/32;
    const int64_t key_head = head/a.group;
    const float * q        = (const float *) (a.q + token*a.q_token + head*a.q_head);
    const half  * mask     = a.mask ? (const half *) (a.mask + token*a.mask_token) : nullptr;

    float top = -INFINITY, sum = 0.0f, part[k_heads_most/32] = {};
    for (int64_t cell = warp; cell < a.cells; cell += k_heads_warps) {
        const float seen = mask ? __half2float(mask[cell]) : 0.0f;
        if (seen == -INFINITY) {
            continue;
        }
        const half * k = (const half *) (a.k + cell*a.k_cell + key_head*a.k_head);
        float dot = 0.0f;
        for (int64_t i = lane; i < a.dk; i += 32) {
            dot += q[i]*__half2float(k[i]);
        }
        float score = steerway_warp_sum(dot)*a.scale + seen;
        for (int n = 0; n < cells[STEERWAY_PLAN_COUNT]; n++) {
            score += cells[STEERWAY_PLAN_CELLS + n] == cell ? row[STEERWAY_TABLE_WEIGHT] : 0.0f;
        }
        const float now = fmaxf(top, score), shrink = expf(top - now), weight = expf(score - now);
        const half * v = (const half *) (a.v + cell*a.v_cell + key_head*a.v_head);
        sum = sum*shrink + weight;
        for (int j = 0; j*32 + lane < a.dv; j++) {
            part[j] = part[j]*shrink + weight*__half2float(v[j*32 + lane]);
        }
        top = now;
    }
    if (lane == 0) {
        tops[warp] = top;
        sums[warp] = sum;
    }
    for (int j = 0; j*32 + lane < a.dv; j++) {
        parts[warp][j*32 + lane] = part[j];
    }
    __syncthreads();

    float best = -INFINITY;
    for (int w = 0; w < k_heads_warps; w++) {
        best = fmaxf(best, tops[w]);
    }
    if (best == -INFINITY) {
        return; // sees nothing: what flash attention gave stays
    }
    for (int64_t i = threadIdx.x; i < a.dv; i += k_heads_threads) {
        float x = 0.0f, all = 0.0f;
        for (int w = 0; w < k_heads_warps; w++) {
            const float share = expf(tops[w] - best);
            x   += share*parts[w][i];
            all += share*sums[w];
        }
        out[i] = x/all;
    }
}

// grid (tokens, heads of the table), k_heads_threads threads
static __global__ void steerway_heads(const steerway_heads_args a) {
    const int64_t   token = blockIdx.x;
    const float *   row   = a.table + blockIdx.y*(STEERWAY_TABLE_CONSTANT + a.dv);
    const int32_t * cells = a.plan + token*STEERWAY_PLAN_WIDTH;
    const int64_t   head  = (int64_t) row[STEERWAY_TABLE_HEAD];
    float *         out   = (float *) (a.out + head*a.out_head + token*a.out_token);
    if ((int) row[STEERWAY_TABLE_MODE] == STEERWAY_MODE_REWEIGHT) {
        if (cells[STEERWAY_PLAN_COUNT] > 0) {
            steerway_reweighted(a, row, cells, token, head, out);
        }
        return;
    }
    for (int64_t i = threadIdx.x; i < a.dv; i += k_heads_threads) {
        out[i] = steerway_gathered(a, row, cells, head/a.group, i);
    }
}
