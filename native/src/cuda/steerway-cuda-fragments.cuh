// Weights in the order in which the lanes of a warp hold them for mma: a tile of 16 rows x 64 columns is 416 bytes, as many as
// its 16 blocks, and one 8-byte, one 4-byte and one 4-byte load a lane read it whole.
//
// Lane l = 4*g + t holds, as PTX lays out 16-row fragments of f16 (g "groupID", t "threadID_in_group"):
//   A, 16 x 16 (stored): register r has row g + 8*(r & 1), stored columns 2*t + 8*(r >> 1) and the next one
//   B, 16 x 8 (32 x 8 for mma.sp): register r has rows 2*t + 8*r and the next one, column g
//   C, 16 x 8: register i has row g + 8*(i >> 1), column 2*t + (i & 1)
//   metadata of mma.sp m16n8k32: lanes 4*g + 2*selector + h, h = 0, 1, have columns 16*h to 16*h + 15 of the 32, row g in the
//   low half and row g + 8 in the high half, a nibble for each group of 4 columns, lowest first
//
// S24: 64 columns are two mma.sp of 32. Their metadata just fit: selector 0 takes lanes t = 0, 1 and the first 32 columns,
// selector 1 takes t = 2, 3 and the others, so lane t's word is columns 16*t to 16*t + 15. The 16 kept values of a row in
// an mma.sp are nibbles in column order, so register r is one byte of the block's qs.
//   v[s] (s = mma.sp 0, 1): register r's nibbles at bits 4*r (first) and 16 + 4*r (second)
//   e: the metadata word
// I3: 64 columns are four mma of 16; j = 4*k + r names register r of mma k.
//   v[j >> 3]: register j's low two bits at 2*(j & 7) and at 16 + 2*(j & 7); e: the third bits at j and 16 + j

#pragma once

#include "steerway-cuda-bits.cuh"
#include "steerway-cuda-ptx.cuh"

enum steerway_weights { STEERWAY_S24, STEERWAY_I3 };

constexpr int k_steerway_tile_rows = 16;

struct alignas(16) steerway_tile {
    uint32_t v[32][2];
    uint32_t e[32];
    uint32_t d[8];  // the scales (f16) of rows g and g + 8
};

static_assert(sizeof(steerway_tile) == k_steerway_tile_rows*k_steerway_block_bytes, "a tile has its blocks' bytes");

// What one lane holds of a tile. Zero weights are q = 8 (S24) or 4 (I3), and a group's indices are (0, 1).
struct steerway_lane {
    uint32_t v[2];
    uint32_t e;
    uint32_t d;
};

// A lane's part of the tile of `upper` (the block of row g) and `lower` (that of row g + 8).
template <steerway_weights type>
STEERWAY_DEVICE steerway_lane steerway_pack(const uint8_t * upper, const uint8_t * lower, int t) {
    steerway_lane lane = { { 0, 0 }, 0, steerway_u16(upper) | steerway_u16(lower) << 16 };
    if constexpr (type == STEERWAY_S24) {
        for (int r = 0; r < 8; ++r) {
            const uint8_t * block = r & 1 ? lower : upper;
            const uint32_t  q     = block[k_s24_qs + 8*(r >> 2) + t + 4*(r >> 1 & 1)];
            lane.v[r >> 2] |= (q & 15) << 4*(r & 3) | (q >> 4) << (16 + 4*(r & 3));
        }
        lane.e = steerway_u16(upper + k_s24_meta + 2*t) | steerway_u16(lower + k_s24_meta + 2*t) << 16;
    } else {
        for (int j = 0; j < 16; ++j) {
            const uint8_t * block = j & 1 ? lower : upper;
            int             first, second;
            steerway_pair_i3(block, 16*(j >> 2) + 2*t + 8*(j >> 1 & 1), first, second);
            const uint32_t x = first + 4, y = second + 4;
            lane.v[j >> 3] |= (x & 3) << 2*(j & 7) | (y & 3) << (16 + 2*(j & 7));
            lane.e         |= (x >> 2) << j | (y >> 2) << (16 + j);
        }
    }
    return lane;
}

// Rows and columns that a matrix does not have.
template <steerway_weights type> STEERWAY_DEVICE steerway_lane steerway_no_weights() {
    return type == STEERWAY_S24 ? steerway_lane{ { 0x88888888u, 0x88888888u }, 0x44444444u, 0 } : steerway_lane{ { 0, 0 }, ~0u, 0 };
}

#if defined(__CUDACC__) || defined(STEERWAY_CUDA_EMULATED)

// The A fragment of mma.sp `k` (0, 1) or of mma `k` (0 to 3), exact integers: under the exponent of 1024 the lowest bits of
// an f16 count ones.
template <steerway_weights type>
static __device__ __forceinline__ void steerway_unpack(uint32_t (&a)[4], const steerway_lane & lane, int k) {
    for (int r = 0; r < 4; ++r) {
        if (type == STEERWAY_S24) {
            a[r] = steerway_sub2((lane.v[k] >> 4*r & 0x000f000fu) | 0x64006400u, 0x64086408u);
        } else {
            const int      j    = 4*k + r;
            const uint32_t low  = lane.v[j >> 3] >> 2*(j & 7) & 0x00030003u;
            const uint32_t high = (j < 2 ? lane.e << (2 - j) : lane.e >> (j - 2)) & 0x00040004u;
            a[r] = steerway_sub2(low | high | 0x64006400u, 0x64046404u);
        }
    }
}

// d += the tile's 64 columns times 8 columns of activations, b[i] being rows 8*i + 2*t and the next one.
template <steerway_weights type>
static __device__ __forceinline__ void steerway_mma_tile(
    float (&d)[4], const uint32_t (&a)[4][4], uint32_t e, const uint32_t (&b)[8]) {
    if (type == STEERWAY_S24) {
        steerway_mma_sp<0>(d, a[0], b, e);
        steerway_mma_sp<1>(d, a[1], b + 4, e);
    } else {
        for (int k = 0; k < 4; ++k) {
            steerway_mma(d, a[k], b + 2*k);
        }
    }
}

#endif
