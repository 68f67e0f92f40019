// Keys of one layer turned from rows into f16 cells: dequantised, rotated by a number of positions, scaled. Internal.

#pragma once

#include "ggml.h"

#include <cstddef>
#include <cstdint>
#include <vector>

// The rotation that RoPE makes when a key moves: for each pair of a head, cos and sin of one angle, times a scale.
struct steerway_rotation {
    int32_t head  = 0;     // values of a head
    int32_t n_rot = 0;     // of which rotated; the rest is only scaled
    bool    neox  = false; // pairs (i, i + n_rot/2), else (2i, 2i + 1)
    bool    keeps = true;  // angle 0 and scale 1: nothing to do
    float   scale = 1.0f;

    // As the loops want them: [n_rot/2] a pair for neox; else [n_rot], each cos twice and each sin as (-sin, sin).
    std::vector<float> cos;
    std::vector<float> sin;
};

struct steerway_rope {
    int32_t head;
    int32_t n_rot; // 0 for a layer without RoPE
    bool    neox;
    float   freq_base;
    float   freq_scale;

    std::vector<float> factors; // [n_rot/2], or empty
};

// The angles are computed in double: RoPE's angle of `delta` positions, with the frequency factors of the layer.
steerway_rotation steerway_make_rotation(const steerway_rope & rope, int64_t delta, float scale);

// Bytes of one row of `width` values, f16 or q8_0.
size_t steerway_row_size(ggml_type type, int64_t width);

// Turns `n` rows of `width` values into f16. `rotation` may be null (values).
void steerway_convert_rows(
        const uint8_t * src, ggml_type type, ggml_fp16_t * dst, int64_t n, int64_t width, const steerway_rotation * rotation);

// f16 rows to q8_0.
void steerway_quantize_rows(const ggml_fp16_t * src, uint8_t * dst, int64_t n, int64_t width);
