// Heads whose attention is given, against float64; the other heads must be what they are without, bit for bit.
// Prints each failed check; exit code 1 if there is one. STEERWAY_TEST_DEVICE=GPU lets a GPU compute.

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

struct head {
    int   index;
    int   mode;
    float weight;
    float previous = 0.0f;
};

int width_of(const problem & p) {
    return STEERWAY_TABLE_CONSTANT + p.dv;
}

// Every third token has no definition, others up to eight; the cells are among those that hold numbers.
given random_heads(const problem & p, const std::vector<head> & heads, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    given res;
    for (int t = 0; t < p.tokens; t++) {
        std::vector<int32_t> row(STEERWAY_PLAN_WIDTH, -1);
        row[STEERWAY_PLAN_SINK]     = t%5;
        row[STEERWAY_PLAN_PREVIOUS] = t == 0 ? -1 : p.cells - p.tokens + t - 1;
        row[STEERWAY_PLAN_FIRST]    = t%11 == 10;
        row[STEERWAY_PLAN_COUNT]    = t%3 == 0 ? 0 : 1 + t%STEERWAY_MOST_DEFINITIONS;
        for (int i = 0; i < row[STEERWAY_PLAN_COUNT]; i++) {
            row[STEERWAY_PLAN_CELLS + i] = (t + 3*i)%std::max(p.cells/4, 1); // each another cell, before the hole
        }
        res.plan.insert(res.plan.end(), row.begin(), row.end());
    }
    for (const auto & h : heads) {
        std::vector<float> row(width_of(p), 0.0f);
        row[STEERWAY_TABLE_HEAD]   = (float) h.index;
        row[STEERWAY_TABLE_MODE]   = (float) h.mode;
        row[STEERWAY_TABLE_WEIGHT] = h.weight;
        row[STEERWAY_TABLE_PREVIOUS] = h.previous;
        for (int i = 0; i < p.dv && h.mode != STEERWAY_MODE_REWEIGHT; i++) {
            row[STEERWAY_TABLE_CONSTANT + i] = normal(random);
        }
        res.table.insert(res.table.end(), row.begin(), row.end());
    }
    return res;
}

// What the given heads' rows of `out` have to be.
void put_given(const problem & p, const data & d, const given & g, const std::vector<head> & heads, std::vector<double> & out) {
    const int group = p.heads/p.key_heads;
    for (size_t n = 0; n < heads.size(); n++) {
        const auto & h = heads[n];
        const float * constant = g.table.data() + n*width_of(p) + STEERWAY_TABLE_CONSTANT;
        for (int t = 0; t < p.tokens && h.mode != STEERWAY_MODE_REWEIGHT; t++) {
            const int32_t * row = g.plan.data() + (size_t) t*STEERWAY_PLAN_WIDTH;
            const int     count    = row[STEERWAY_PLAN_COUNT];
            const int32_t previous = row[STEERWAY_PLAN_PREVIOUS];
            const double  rest     = 1.0 - (count ? (double) h.weight : 0.0) - (previous >= 0 ? (double) h.previous : 0.0);
            for (int i = 0; i < p.dv; i++) {
                const auto value = [&](int cell) {
                    return (double) ggml_fp16_to_fp32(d.v[((size_t) cell*p.key_heads + h.index/group)*p.dv + i]);
                };
                double x = (row[STEERWAY_PLAN_FIRST] ? 0.0 : constant[i]) + rest*value(row[STEERWAY_PLAN_SINK]);
                for (int n = 0; n < count; n++) {
                    x += (double) h.weight/count*value(row[STEERWAY_PLAN_CELLS + n]);
                }
                x += previous >= 0 ? (double) h.previous*value(previous) : 0.0;
                out[((size_t) t*p.heads + h.index)*p.dv + i] = x;
            }
        }
    }
}

std::vector<float> bias_of(const problem & p, const given & g, const std::vector<head> & heads) {
    std::vector<float> res((size_t) p.heads*p.tokens*p.cells, 0.0f);
    for (const auto & h : heads) {
        for (int t = 0; t < p.tokens && h.mode == STEERWAY_MODE_REWEIGHT; t++) {
            const int32_t * row = g.plan.data() + (size_t) t*STEERWAY_PLAN_WIDTH;
            for (int i = 0; i < row[STEERWAY_PLAN_COUNT]; i++) {
                res[((size_t) h.index*p.tokens + t)*p.cells + row[STEERWAY_PLAN_CELLS + i]] += h.weight;
            }
        }
    }
    return res;
}

bool others_are_the_same(const problem & p, const std::vector<head> & heads, const std::vector<float> & a, const std::vector<float> & b) {
    bool res = true;
    for (int i = 0; i < p.tokens*p.heads; i++) {
        const bool ours = std::any_of(heads.begin(), heads.end(), [&](const head & h) { return h.index == i%p.heads; });
        res = res && (ours || same(a.data() + (size_t) i*p.dv, b.data() + (size_t) i*p.dv, p.dv));
    }
    return res;
}

void examine(const problem & p, const std::vector<head> & heads) {
    const data  d = random_data(p, 7);
    const given g = random_heads(p, heads, 11);
    auto expected = reference(p, d, bias_of(p, g, heads));
    put_given(p, d, g, heads, expected);

    steerway_set_kernels(STEERWAY_KERNEL_ATTENTION);
    const auto usual = compute(p, d, 0, p.tokens, 2);
    uint64_t done[2], skipped[2];
    steerway_head_counts(&done[0], &skipped[0]);
    const auto all = compute(p, d, 0, p.tokens, 2, g);
    steerway_head_counts(&done[1], &skipped[1]);

    CHECK(p.name, others_are_the_same(p, heads, all, usual));
    if (on_gpu()) { // products in f16
        CHECK(p.name, worst(all, expected) < 5e-3);
        return;
    }
    CHECK(p.name, worst(all, expected) < 2e-5);
    const uint64_t left_out = std::count_if(heads.begin(), heads.end(), [](const head & h) { return h.mode != STEERWAY_MODE_REWEIGHT; });
    CHECK(p.name, skipped[1] - skipped[0] == left_out*p.tokens*p.cells);
    CHECK(p.name, done[1] - done[0] == (p.heads - left_out)*p.tokens*p.cells);

    steerway_set_kernels(0); // with heads given, the kernel is ours whatever the switch says
    for (const int threads : { 1, 2, 3, 5 }) {
        CHECK(p.name, same(compute(p, d, 0, p.tokens, threads, g).data(), all.data(), all.size()));
    }
    const size_t row = (size_t) p.heads*p.dv;
    for (int first = 0; first < p.tokens; first += 17) { // fewer tokens beside it
        const int n = std::min(1 + first%5, p.tokens - first);
        CHECK(p.name, same(compute(p, d, first, n, 2, g).data(), all.data() + first*row, n*row));
    }
}

constexpr int INJECT = STEERWAY_MODE_INJECT, REWEIGHT = STEERWAY_MODE_REWEIGHT;

} // namespace

int main() {
    if (on_gpu() || (steerway_kernels() & STEERWAY_KERNEL_ATTENTION)) {
        examine({ "scattered heads", 64, 64, 33, 14, 2, 777, true },
            { { 0, INJECT, 0.4f }, { 3, INJECT, 0.0f }, { 8, INJECT, 0.0f, 0.8f }, { 9, INJECT, 0.3f, 0.5f }, { 13, REWEIGHT, 2.0f } });
        examine({ "a whole group", 64, 64, 33, 9, 3, 1300, true },
            { { 3, INJECT, 0.3f }, { 4, INJECT, 0.0f }, { 5, INJECT, 0.0f, 1.0f }, { 7, REWEIGHT, -3.0f } });
        examine({ "every head", 64, 64, 7, 4, 2, 300, false },
            { { 0, INJECT, 0.5f }, { 1, INJECT, 0.0f }, { 2, INJECT, 0.0f, 0.7f }, { 3, INJECT, 0.0f } });
        examine({ "one token, many cells", 64, 64, 1, 14, 2, 2600, true }, { { 2, INJECT, 0.0f }, { 12, INJECT, 0.5f } });
        examine({ "one row", 64, 64, 1, 2, 2, 90, false }, { { 0, INJECT, 0.5f }, { 1, INJECT, 0.0f, 0.5f } });
        examine({ "re-weighted only", 128, 128, 20, 8, 1, 600, true }, { { 2, REWEIGHT, 5.0f }, { 6, REWEIGHT, 0.5f } });
        examine({ "narrow heads", 32, 32, 12, 4, 2, 150, true }, { { 0, INJECT, 0.5f }, { 3, INJECT, 0.0f } });
        examine({ "a batch", 64, 64, 128, 14, 2, 1029, true }, { { 1, INJECT, 0.6f }, { 6, REWEIGHT, 1.0f } });
    }
    std::printf("%d failed\n", failures);
    return failures ? 1 : 0;
}
