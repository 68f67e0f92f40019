#include "steerway-types.h"

#include "ggml-impl.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// Sums of errors decide between scales: not fused, so that every processor decides alike. GCC has a flag for it only, see
// steerway-types.cmake.
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

static_assert(sizeof(block_s24_0) == 26, "64 weights in 26 bytes");
static_assert(sizeof(block_i3_0) == 26, "64 weights in 26 bytes");
static_assert((int) GGML_TYPE_S24_0 == STEERWAY_TYPE_S24_0, "the patch has another id");
static_assert((int) GGML_TYPE_I3_0 == STEERWAY_TYPE_I3_0, "the patch has another id");

#define GROUP 4
#define KEPT  2
#define GROUPS (QK_S24_0/GROUP)

// What a scale is multiplied by: `low` to `high`, a value is stored plus `-low`.
struct grid {
    int low, high;
};

static const struct grid GRID_S24 = { -8, 7 };
static const struct grid GRID_I3  = { -4, 3 };

static int on_grid(struct grid grid, float w, double d) {
    const double q = nearbyint((double) w/d);
    return q < grid.low ? grid.low : q > grid.high ? grid.high : (int) q;
}

static double error_of(struct grid grid, const float * w, const float * importance, int n, double d) {
    double sum = 0.0;
    for (int i = 0; i < n; ++i) {
        const double e = (double) w[i] - d*on_grid(grid, w[i], d);
        sum += importance ? e*e*(double) importance[i] : e*e;
    }
    return sum;
}

static bool is_finite_f16(ggml_half d) {
    return (d & 0x7c00) != 0x7c00;
}

static bool all_finite(const float * x, int n) {
    for (int i = 0; i < n; ++i) {
        if (!isfinite(x[i])) {
            return false;
        }
    }
    return true;
}

// The scale of least error among 18 around the largest weight's over either end of the grid, the first of equals; zero
// where there is none. Negative scales are as good as positive ones: the end further from zero serves either sign.
static ggml_half best_scale(struct grid grid, const float * w, const float * importance, int n) {
    static const float factors[] = { 0.80f, 0.85f, 0.90f, 0.95f, 1.00f, 1.05f, 1.10f, 1.15f, 1.20f };
    const int n_factors = sizeof(factors)/sizeof(factors[0]);
    float largest = 0.0f;
    for (int i = 0; i < n; ++i) {
        largest = fabsf(w[i]) > fabsf(largest) ? w[i] : largest;
    }
    ggml_half best = 0;
    double least = 0.0;
    for (int i = 0; i < 2*n_factors; ++i) {
        const float end = i < n_factors ? (float) grid.low : (float) grid.high;
        const ggml_half d = GGML_FP32_TO_FP16(largest/(end*factors[i % n_factors]));
        if (!is_finite_f16(d) || (d & 0x7fff) == 0) {
            continue;
        }
        const double error = error_of(grid, w, importance, n, (double) GGML_FP16_TO_FP32(d));
        if (best == 0 || error < least) {
            best  = d;
            least = error;
        }
    }
    return best;
}

// The two of a group that are furthest from zero, the first of equals.
static void choose_kept(const float * x, int kept[KEPT]) {
    int first = 0, second = -1;
    for (int i = 1; i < GROUP; ++i) {
        if (fabsf(x[i]) > fabsf(x[first])) {
            second = first;
            first  = i;
        } else if (second < 0 || fabsf(x[i]) > fabsf(x[second])) {
            second = i;
        }
    }
    kept[0] = first < second ? first : second;
    kept[1] = first < second ? second : first;
}

static void encode_s24(const float * x, const float * importance, block_s24_0 * y) {
    int   kept[GROUPS][KEPT];
    float w[GROUPS*KEPT], errors[GROUPS*KEPT];
    memset(y->meta, 0x44, sizeof(y->meta)); // (0, 1) in both groups of a byte
    memset(y->qs, 0x88, sizeof(y->qs));
    y->d = 0;
    if (!all_finite(x, QK_S24_0)) {
        return;
    }
    for (int g = 0; g < GROUPS; ++g) {
        choose_kept(x + GROUP*g, kept[g]);
        for (int k = 0; k < KEPT; ++k) {
            w[KEPT*g + k]      = x[GROUP*g + kept[g][k]];
            errors[KEPT*g + k] = importance ? importance[GROUP*g + kept[g][k]] : 1.0f;
        }
    }
    y->d = best_scale(GRID_S24, w, importance ? errors : NULL, GROUPS*KEPT);
    if (y->d == 0) {
        return;
    }
    const double d = GGML_FP16_TO_FP32(y->d);
    memset(y->meta, 0, sizeof(y->meta));
    for (int g = 0; g < GROUPS; ++g) {
        y->meta[g/2] |= (uint8_t) ((kept[g][0] | kept[g][1] << 2) << 4*(g%2));
        const int low  = on_grid(GRID_S24, w[KEPT*g], d) - GRID_S24.low;
        const int high = on_grid(GRID_S24, w[KEPT*g + 1], d) - GRID_S24.low;
        y->qs[g] = (uint8_t) (low | high << 4);
    }
}

static void encode_i3(const float * x, const float * importance, block_i3_0 * y) {
    y->d = all_finite(x, QK_I3_0) ? best_scale(GRID_I3, x, importance, QK_I3_0) : 0;
    memset(y->ql, 0, sizeof(y->ql));
    memset(y->qh, 0, sizeof(y->qh));
    const double d = GGML_FP16_TO_FP32(y->d);
    for (int i = 0; i < QK_I3_0; ++i) {
        const int q = (y->d != 0 ? on_grid(GRID_I3, x[i], d) : 0) - GRID_I3.low;
        y->ql[i/4] |= (uint8_t) ((q & 3) << 2*(i%4));
        y->qh[i/8] |= (uint8_t) ((q >> 2) << i%8);
    }
}

size_t quantize_s24_0(const float * x, void * y, int64_t n_rows, int64_t n_per_row, const float * importance) {
    assert(n_per_row % QK_S24_0 == 0);
    block_s24_0 * blocks = y;
    for (int64_t i = 0; i < n_rows*n_per_row; i += QK_S24_0) {
        encode_s24(x + i, importance ? importance + i % n_per_row : NULL, blocks++);
    }
    return (size_t) (n_rows*n_per_row)/QK_S24_0*sizeof(block_s24_0);
}

size_t quantize_i3_0(const float * x, void * y, int64_t n_rows, int64_t n_per_row, const float * importance) {
    assert(n_per_row % QK_I3_0 == 0);
    block_i3_0 * blocks = y;
    for (int64_t i = 0; i < n_rows*n_per_row; i += QK_I3_0) {
        encode_i3(x + i, importance ? importance + i % n_per_row : NULL, blocks++);
    }
    return (size_t) (n_rows*n_per_row)/QK_I3_0*sizeof(block_i3_0);
}

void quantize_row_s24_0_ref(const float * x, block_s24_0 * y, int64_t k) {
    quantize_s24_0(x, y, 1, k, NULL);
}

void quantize_row_i3_0_ref(const float * x, block_i3_0 * y, int64_t k) {
    quantize_i3_0(x, y, 1, k, NULL);
}

void dequantize_row_s24_0(const block_s24_0 * x, float * y, int64_t k) {
    assert(k % QK_S24_0 == 0);
    for (int64_t b = 0; b < k/QK_S24_0; ++b, y += QK_S24_0) {
        const float d = GGML_FP16_TO_FP32(x[b].d);
        memset(y, 0, QK_S24_0*sizeof(float));
        for (int g = 0; g < GROUPS; ++g) {
            const int indices = x[b].meta[g/2] >> 4*(g%2);
            y[GROUP*g + (indices & 3)]        = d*((x[b].qs[g] & 15) - 8);
            y[GROUP*g + ((indices >> 2) & 3)] = d*((x[b].qs[g] >> 4) - 8);
        }
    }
}

void dequantize_row_i3_0(const block_i3_0 * x, float * y, int64_t k) {
    assert(k % QK_I3_0 == 0);
    for (int64_t b = 0; b < k/QK_I3_0; ++b, y += QK_I3_0) {
        const float d = GGML_FP16_TO_FP32(x[b].d);
        for (int i = 0; i < QK_I3_0; ++i) {
            const int q = ((x[b].ql[i/4] >> 2*(i%4)) & 3) | ((x[b].qh[i/8] >> i%8) & 1) << 2;
            y[i] = d*(q - 4);
        }
    }
}

static bool valid_scale(ggml_half d, size_t block) {
    if (!is_finite_f16(d)) {
        fprintf(stderr, "ggml_validate_row_data: the scale of block %zu is not finite\n", block);
    }
    return is_finite_f16(d);
}

bool steerway_validate_s24_0(const void * data, size_t n_blocks) {
    const block_s24_0 * x = data;
    for (size_t b = 0; b < n_blocks; ++b) {
        if (!valid_scale(x[b].d, b)) {
            return false;
        }
        for (int g = 0; g < GROUPS; ++g) {
            const int indices = x[b].meta[g/2] >> 4*(g%2);
            if ((indices & 3) >= ((indices >> 2) & 3)) {
                fprintf(stderr, "ggml_validate_row_data: indices of group %d of block %zu are not in order\n", g, b);
                return false;
            }
        }
    }
    return true;
}

bool steerway_validate_i3_0(const void * data, size_t n_blocks) {
    const block_i3_0 * x = data;
    for (size_t b = 0; b < n_blocks; ++b) {
        if (!valid_scale(x[b].d, b)) {
            return false;
        }
    }
    return true;
}
