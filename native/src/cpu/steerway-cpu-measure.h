// How long a product takes on this machine, for choosing between the ways of computing it.

#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum steerway_cpu_way {
    STEERWAY_CPU_WAY_PACKED   = 0, // weights in tiles of ours
    STEERWAY_CPU_WAY_IN_PLACE = 1, // plain weights, our kernel for them; where it has none, ggml's
    STEERWAY_CPU_WAY_GGML     = 2, // ggml's own, with its repacking where it has one for the type
};

// Nanoseconds of one product of `n_rows` rows of `width` weights with `n_columns` columns by `n_threads` threads: the median of
// some, over weights of at least `bytes` bytes in all (as many matrices as that takes, at most 4,096, one after the other, so that with more
// than the caches hold they come from memory). -1 for arguments that cannot be, -2 where the type cannot be computed that way,
// -3 without memory. Nothing else may compute meanwhile; takes about 0.1 seconds and what it takes to write the weights.
int64_t steerway_cpu_measure(
        int type, int64_t n_rows, int64_t width, int64_t n_columns, int n_threads, int way, int64_t bytes);

#ifdef __cplusplus
}
#endif
