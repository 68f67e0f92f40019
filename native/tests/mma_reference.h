// What the PTX ISA says that mma and mma.sp of f16 do: which lane holds what, and the sum. In double precision, for the
// emulator (cuda_emulator.h) and for native/gpu/kernels.cu, which holds a GPU to it.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace emulated {

[[noreturn]] inline void stop(const char * why) {
    std::fprintf(stderr, "emulator: %s\n", why);
    std::exit(1);
}

inline double from_f16(uint32_t x) {
    const double sign = x & 0x8000 ? -1.0 : 1.0;
    const int exponent = x >> 10 & 31, fraction = x & 1023;
    if (exponent == 31) {
        return fraction ? std::nan("") : sign*HUGE_VAL;
    }
    return exponent ? sign*std::ldexp(1024 + fraction, exponent - 25) : sign*std::ldexp(fraction, -24);
}

inline uint16_t to_f16(double x) { // to nearest, ties to even
    const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    x = std::fabs(x);
    int exponent = 0;
    std::frexp(x, &exponent);
    const int    unit = x == 0 || exponent < -13 ? -24 : exponent - 11;
    const double n    = std::nearbyint(std::ldexp(x, -unit));
    if (x >= 65520) {
        return sign | 0x7c00;
    }
    return sign | (uint16_t) (unit == -24 ? n : n - 1024 + 1024*(unit + 25)); // a carry into the exponent is right
}

// One lane's operands. d is read and written.
struct mma_args { float * d; const uint32_t * a, * b; uint32_t e; int selector; };

inline double half_of(uint32_t x, int which) { return from_f16(x >> 16*which & 0xffff); }

// The product of a (16 x k as `left` says) and b (k x 8), added to d
inline void product(mma_args * (&lanes)[32], int k, double (&left)[16][32]) {
    double right[32][8];
    for (int l = 0; l < 32; ++l) {
        for (int i = 0; i < k / 4; ++i) {
            right[l % 4*2 + i % 2 + 8*(i / 2)][l / 4] = half_of(lanes[l]->b[i / 2], i % 2);
        }
    }
    for (int l = 0; l < 32; ++l) {
        for (int i = 0; i < 4; ++i) {
            double sum = lanes[l]->d[i];
            for (int j = 0; j < k; ++j) {
                sum += left[l / 4 + 8*(i / 2)][j]*right[j][l % 4*2 + i % 2];
            }
            lanes[l]->d[i] = (float) sum;
        }
    }
}

// a_i of a lane: its row and its stored column
inline int row_of(int lane, int i) { return lane / 4 + 8*(i / 2 % 2); }
inline int column_of(int lane, int i) { return lane % 4*2 + i % 2 + 8*(i / 4); }

inline void mma(mma_args * (&lanes)[32]) {
    double left[16][32] = {};
    for (int l = 0; l < 32; ++l) {
        for (int i = 0; i < 8; ++i) {
            left[row_of(l, i)][column_of(l, i)] = half_of(lanes[l]->a[i / 2], i % 2);
        }
    }
    product(lanes, 16, left);
}

inline void mma_sp(mma_args * (&lanes)[32]) {
    double left[16][32] = {};
    for (int l = 0; l < 32; ++l) {
        for (int i = 0; i < 8; ++i) {
            const int row = row_of(l, i), stored = column_of(l, i), group = stored / 2;
            const uint32_t e = lanes[row % 8*4 + 2*lanes[0]->selector + group / 4]->e >> 16*(row / 8);
            const uint32_t nibble = e >> 4*(group % 4) & 15;
            if ((nibble & 3) >= nibble >> 2) {
                stop("metadata that is not in order");
            }
            left[row][4*group + (nibble >> 2*(stored % 2) & 3)] = half_of(lanes[l]->a[i / 2], i % 2);
        }
    }
    product(lanes, 32, left);
}

} // namespace emulated
