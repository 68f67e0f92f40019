// ggml's CPU traits of the types in steerway/steerway-types.h: rows of floats to blocks, and the product of a row of blocks
// with a row of activations, ggml's Q8_0.
//
// Per row, one chain over blocks of 32 columns in order: sum = fma(integer sum, weights' scale * activations' scale, sum).
// The integer sums are exact, so that whatever computes them this way, with any instructions, gives the same bits.

#pragma once

#include "ggml.h"

#ifdef __cplusplus
extern "C" {
#endif

void quantize_row_s24_0(const float * x, void * y, int64_t k);
void quantize_row_i3_0(const float * x, void * y, int64_t k);

void ggml_vec_dot_s24_0_q8_0(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc);
void ggml_vec_dot_i3_0_q8_0(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc);

// Without any processor's own instructions.
void ggml_vec_dot_s24_0_q8_0_generic(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc);
void ggml_vec_dot_i3_0_q8_0_generic(int n, float * s, size_t bs, const void * vx, size_t bx, const void * vy, size_t by, int nrc);

#ifdef __cplusplus
}
#endif
