// Blocks of Steerway's weight types (steerway-types.h) as bytes, and the integer work on them: what decoding, prefill and
// their tests share. Compiles as CUDA and as plain C++, where the two instructions it is built on are written out; so
// native/tests/test_mma_layout.cpp runs this very code without a GPU.

#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__) || defined(__HIPCC__)
#define STEERWAY_DEVICE static __host__ __device__ __forceinline__
#define STEERWAY_UNROLL _Pragma("unroll")
#else
#define STEERWAY_DEVICE static inline
#define STEERWAY_UNROLL
#endif

constexpr int k_steerway_block       = 64;  // weights
constexpr int k_steerway_block_bytes = 26;  // both types: f16 scale, then 24 bytes

constexpr int k_s24_meta = 2;   // uint8[8]: a nibble for each group of 4 columns, i0 | i1 << 2
constexpr int k_s24_qs   = 10;  // uint8[16]: byte g holds the two kept values of group g, each + 8
constexpr int k_i3_ql    = 2;   // uint8[16]: the low two bits of 64 values + 4
constexpr int k_i3_qh    = 18;  // uint8[8]: their third bits

// Blocks are 26 bytes: only every second one is aligned to 4 bytes.
STEERWAY_DEVICE uint32_t steerway_u16(const uint8_t * p) {
    return *(const uint16_t *) p;
}

STEERWAY_DEVICE uint32_t steerway_u32(const uint8_t * p) {
    return steerway_u16(p) | steerway_u16(p + 2) << 16;
}

// Bytes of (x, y), numbered 0-3 and 4-7, that the nibbles of the selector's low half name.
STEERWAY_DEVICE uint32_t steerway_prmt(uint32_t x, uint32_t y, uint32_t selector) {
#if defined(__CUDA_ARCH__)
    return __byte_perm(x, y, selector);
#else
    const uint64_t bytes = (uint64_t) y << 32 | x;
    uint32_t       found = 0;
    for (int i = 0; i < 4; ++i) {
        found |= (uint32_t) (bytes >> 8*(selector >> 4*i & 7) & 0xff) << 8*i;
    }
    return found;
#endif
}

// sum + the products of signed bytes
STEERWAY_DEVICE int steerway_dp4a(uint32_t a, uint32_t b, int sum) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 610
    return __dp4a((int) a, (int) b, sum);
#else
    for (int i = 0; i < 4; ++i) {
        sum += (int) (int8_t) (a >> 8*i & 0xff) * (int) (int8_t) (b >> 8*i & 0xff);
    }
    return sum;
#endif
}

// 16 times the products of 4 groups of S24 with 16 activations: `meta` has the groups' 4 nibbles, `qs` their 4 bytes,
// u[g] the activations of group g. Adds to `sum`.
// A nibble in the upper half of a byte, top bit turned over, is 16*(nibble - 8) as a signed byte: no offset to subtract.
STEERWAY_DEVICE int steerway_dot_s24(uint32_t meta, uint32_t qs, const uint32_t * u, int sum) {
    uint32_t s = (meta | meta << 8) & 0x00ff00ffu;  // 2-bit indices to nibbles: two selectors of __byte_perm
    s = (s | s << 4) & 0x0f0f0f0fu;
    s = (s | s << 2) & 0x33333333u;
    s |= 0x44004400u;  // the second group's bytes are those of the second operand

    const uint32_t low  = steerway_prmt(u[0], u[1], s);
    const uint32_t high = steerway_prmt(u[2], u[3], s >> 16);
    const uint32_t a0   = steerway_prmt(low, high, 0x6420);  // activations of the first kept weight of each group
    const uint32_t a1   = steerway_prmt(low, high, 0x7531);

    sum = steerway_dp4a((qs << 4 & 0xf0f0f0f0u) ^ 0x80808080u, a0, sum);
    return steerway_dp4a((qs & 0xf0f0f0f0u) ^ 0x80808080u, a1, sum);
}

// 32 times the products of 16 weights of I3 with 16 activations u[0..3]: `ql` has 16 times 2 bits, `qh` 16 bits.
// Three bits at the top of a byte, the highest turned over, are 32*(q - 4) as a signed byte. A plane holds every fourth
// weight, so the activations are transposed.
STEERWAY_DEVICE int steerway_dot_i3(uint32_t ql, uint32_t qh, const uint32_t * u, int sum) {
    uint32_t h = (qh | qh << 8) & 0x00ff00ffu;
    h = (h | h << 4) & 0x0f0f0f0fu;  // byte j: the third bits of weights 4j to 4j + 3

    const uint32_t p = steerway_prmt(u[0], u[1], 0x5140), q = steerway_prmt(u[2], u[3], 0x5140);  // 0,1 of each
    const uint32_t r = steerway_prmt(u[0], u[1], 0x7362), t = steerway_prmt(u[2], u[3], 0x7362);  // 2,3 of each
    const uint32_t a[4] = {
        steerway_prmt(p, q, 0x5410), steerway_prmt(p, q, 0x7632),
        steerway_prmt(r, t, 0x5410), steerway_prmt(r, t, 0x7632),
    };
    const uint32_t low[4] = { ql << 5, ql << 3, ql << 1, ql >> 1 };
    STEERWAY_UNROLL
    for (int i = 0; i < 4; ++i) {
        const uint32_t w = (low[i] & 0x60606060u) | (h << (7 - i) & 0x80808080u);
        sum = steerway_dp4a(w ^ 0x80808080u, a[i], sum);
    }
    return sum;
}

// The two weights from column `column` (even) of a S24 block on, without the scale; the columns not named are 0.
STEERWAY_DEVICE void steerway_pair_s24(const uint8_t * block, int column, int & first, int & second) {
    const int group = column / 4, at = column % 4;
    const int index = block[k_s24_meta + group / 2] >> 4*(group % 2);
    const int q  = block[k_s24_qs + group];
    const int i0 = index & 3, i1 = index >> 2 & 3;
    first  = (i0 == at     ? (q & 15) - 8 : 0) + (i1 == at     ? (q >> 4) - 8 : 0);
    second = (i0 == at + 1 ? (q & 15) - 8 : 0) + (i1 == at + 1 ? (q >> 4) - 8 : 0);
}

// The same for I3.
STEERWAY_DEVICE void steerway_pair_i3(const uint8_t * block, int column, int & first, int & second) {
    const int low  = block[k_i3_ql + column / 4] >> 2*(column % 4);
    const int high = block[k_i3_qh + column / 8] >> column % 8;
    first  = ((low & 3)      | (high & 1)      << 2) - 4;
    second = ((low >> 2 & 3) | (high >> 1 & 1) << 2) - 4;
}
