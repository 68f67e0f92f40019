// Steerway's own weight types: blocks of 64 weights of a row, 26 bytes each, 3.25 bits a weight. Format version 1,
// written down in docs/weight-types.md. Little-endian; files hold rows of these blocks.

#pragma once

#define GGML_COMMON_DECL_C
#include "ggml-common.h"

#include "ggml.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Far above ggml's own, which are numbered in order. They are in files: never change them.
enum {
    STEERWAY_TYPE_S24_0 = 240,
    STEERWAY_TYPE_I3_0  = 241,
};

#define QK_S24_0 64
#define QK_I3_0  64

// 2:4 sparse INT4: of every 4 weights at most 2 are not zero. 16 groups of 4.
//   w[4*g + i0] = d*(nibble(2*g) - 8), w[4*g + i1] = d*(nibble(2*g + 1) - 8), the other two are 0
// Group g's indices are the nibble (meta[g/2] >> 4*(g%2)) & 15 = i0 | i1 << 2, and i0 < i1, PTX's order of sparse metadata.
// nibble(k) = (qs[k/2] >> 4*(k%2)) & 15. A group of zeros has the indices (0, 1) and the nibbles 8.
typedef struct {
    ggml_half d;
    uint8_t   meta[8];
    uint8_t   qs[16];
} block_s24_0;

// Dense INT3: w[k] = d*(q(k) - 4), q(k) = ((ql[k/4] >> 2*(k%4)) & 3) | ((qh[k/8] >> k%8) & 1) << 2.
typedef struct {
    ggml_half d;
    uint8_t   ql[16];
    uint8_t   qh[8];
} block_i3_0;

#ifdef __cplusplus
extern "C" {
#endif

// Rows of k values, k a multiple of 64. The choice of a scale is written down in docs/weight-types.md: other encoders can
// give the same bytes. A block that cannot be encoded (a weight that is not finite, or none within reach of an f16 scale)
// becomes zeros.
GGML_API void quantize_row_s24_0_ref(const float * x, block_s24_0 * y, int64_t k);
GGML_API void quantize_row_i3_0_ref(const float * x, block_i3_0 * y, int64_t k);

// Any bytes will do: what validation refuses reads and writes no further than what it accepts.
GGML_API void dequantize_row_s24_0(const block_s24_0 * x, float * y, int64_t k);
GGML_API void dequantize_row_i3_0(const block_i3_0 * x, float * y, int64_t k);

// As ggml_quantize_chunk wants them: n_rows rows, `importance` NULL or n_per_row weights of the squared errors. Return bytes.
GGML_API size_t quantize_s24_0(const float * x, void * y, int64_t n_rows, int64_t n_per_row, const float * importance);
GGML_API size_t quantize_i3_0(const float * x, void * y, int64_t n_rows, int64_t n_per_row, const float * importance);

// Whether all scales are finite and all of a group's indices in order; else says on stderr which block is wrong.
GGML_API bool steerway_validate_s24_0(const void * data, size_t n_blocks);
GGML_API bool steerway_validate_i3_0(const void * data, size_t n_blocks);

#ifdef __cplusplus
}
#endif
