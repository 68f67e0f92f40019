// Our weight types in ggml's own kernels: two weights as floats (dequantize.cuh's way: conversion and get_rows), and the
// product of a half block with a block of quantised activations (vecdotq.cuh's way: matrix times vector).

#pragma once

#include "steerway-cuda-bits.cuh"

static __device__ __forceinline__ float steerway_scale(const uint8_t * block) {
    return __half2float(*(const half *) block);
}

static __device__ __forceinline__ void dequantize_s24_0(const void * vx, const int64_t ib, const int iqs, float2 & v) {
    const uint8_t * block = (const uint8_t *) vx + ib*k_steerway_block_bytes;
    int first, second;
    steerway_pair_s24(block, iqs, first, second);
    v.x = first  * steerway_scale(block);
    v.y = second * steerway_scale(block);
}

static __device__ __forceinline__ void dequantize_i3_0(const void * vx, const int64_t ib, const int iqs, float2 & v) {
    const uint8_t * block = (const uint8_t *) vx + ib*k_steerway_block_bytes;
    int first, second;
    steerway_pair_i3(block, iqs, first, second);
    v.x = first  * steerway_scale(block);
    v.y = second * steerway_scale(block);
}

// `iqs` (0 or 1) names the half of the block, and with it the block of 32 activations.
static __device__ __forceinline__ float vec_dot_s24_0_q8_1(
    const void * __restrict__ vbq, const block_q8_1 * __restrict__ bq8_1, const int & kbx, const int & iqs) {
    const uint8_t  * block = (const uint8_t *) vbq + (int64_t) kbx*k_steerway_block_bytes;
    const uint32_t * u     = (const uint32_t *) bq8_1[iqs].qs;
    const uint32_t   meta  = steerway_u32(block + k_s24_meta + 4*iqs);

    int sum = 0;
    STEERWAY_UNROLL
    for (int i = 0; i < 2; ++i) {
        const uint32_t qs     = steerway_u32(block + k_s24_qs + 8*iqs + 4*i);
        const uint32_t u16[4] = { u[4*i], u[4*i + 1], u[4*i + 2], u[4*i + 3] };
        sum = steerway_dot_s24(meta >> 16*i & 0xffff, qs, u16, sum);
    }
    return sum*(1.0f/16)*steerway_scale(block)*__low2float(bq8_1[iqs].ds);
}

static __device__ __forceinline__ float vec_dot_i3_0_q8_1(
    const void * __restrict__ vbq, const block_q8_1 * __restrict__ bq8_1, const int & kbx, const int & iqs) {
    const uint8_t  * block = (const uint8_t *) vbq + (int64_t) kbx*k_steerway_block_bytes;
    const uint32_t * u     = (const uint32_t *) bq8_1[iqs].qs;

    int sum = 0;
    STEERWAY_UNROLL
    for (int i = 0; i < 2; ++i) {
        const uint32_t ql     = steerway_u32(block + k_i3_ql + 8*iqs + 4*i);
        const uint32_t qh     = steerway_u16(block + k_i3_qh + 4*iqs + 2*i);
        const uint32_t u16[4] = { u[4*i], u[4*i + 1], u[4*i + 2], u[4*i + 3] };
        sum = steerway_dot_i3(ql, qh, u16, sum);
    }
    return sum*(1.0f/32)*steerway_scale(block)*__low2float(bq8_1[iqs].ds);
}
