// The attention kernel against float64, and against itself with other tokens beside it and other numbers of threads.
// Usage: test_attention [MODEL.gguf]. Prints each failed check; exit code 1 if there is one.

#include "attention.h"
#include "steerway.h"

#include <cstdio>

namespace {

int failures = 0;

void check(bool ok, const char * what, const char * name, int line) {
    if (!ok) {
        std::fprintf(stderr, "line %d: not true of %s: %s\n", line, name, what);
        ++failures;
    }
}

#define CHECK(name, x) check((x), #x, name, __LINE__)

void examine(const problem & p) {
    const data d = random_data(p, 7);
    const auto expected = reference(p, d);
    const size_t row = (size_t) p.heads*p.dv;
    steerway_set_kernels(0);
    const double stock = worst(compute(p, d, 0, p.tokens, 2), expected);
    steerway_set_kernels(STEERWAY_KERNEL_ATTENTION);
    const auto all = compute(p, d, 0, p.tokens, 2);
    const double ours = worst(all, expected);
    CHECK(p.name, ours < 2e-5);
    CHECK(p.name, ours <= stock*2 + 1e-6);
    for (const int threads : { 1, 3, 4 }) {
        CHECK(p.name, same(compute(p, d, 0, p.tokens, threads).data(), all.data(), all.size()));
    }
    for (int first = 0; first < p.tokens; first += 17) { // fewer tokens beside it
        const int n = std::min(2 + first%5, p.tokens - first); // one row alone is left to ggml
        CHECK(p.name, same(compute(p, d, first, n, 2).data(), all.data() + first*row, n*row));
    }
}

const problem problems[] = {
    { "a token, few cells",        64,  64,   1, 14, 2,   40, false },
    { "a token, many cells",       64,  64,   1, 14, 2, 2600, true  },
    { "some tokens",               64,  64,   9, 14, 2, 1300, true  },
    { "a batch",                   64,  64, 128, 14, 2, 1029, true  },
    { "three key heads",           64,  64,  33,  9, 3,  777, true  },
    { "one key head, unmasked",   128, 128,   5,  8, 1,  600, false },
    { "a head of its own each",    64,  64,  40,  4, 4,  530, true  },
    { "keys wider than values",    96,  64,  21,  6, 2,  300, true  },
    { "odd widths",                80,  80,  19, 10, 2,  700, true  },
    { "narrow heads",              32,  32,  40,  6, 3,  520, true  },
};

} // namespace

int main() {
    if (steerway_kernels() & STEERWAY_KERNEL_ATTENTION) {
        for (const auto & p : problems) {
            examine(p);
        }
        CHECK("the switch", steerway_set_kernels(1u << 31) == STEERWAY_BAD_ARGUMENT);
        CHECK("the switch", steerway_get_kernels() == STEERWAY_KERNEL_ATTENTION);
        CHECK("the switch", steerway_set_kernels(0) == STEERWAY_OK && steerway_get_kernels() == 0);
    }
    std::printf("%d failed\n", failures);
    return failures ? 1 : 0;
}
