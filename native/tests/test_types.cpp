// Steerway's weight types in ggml: bytes against their description, rows of products against sums in double precision and
// against one chain of fused steps, with the processor's instructions and without.
// Usage: test_types [MODEL.gguf], which is not read. Prints each failed check; exit code 1 if there is one.

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace {

int failures = 0;

void check(bool ok, const char * what, const std::string & where, int line) {
    if (!ok && ++failures < 50) {
        std::fprintf(stderr, "line %d: not true: %s (%s)\n", line, what, where.c_str());
    }
}

#define CHECK(x, where) check((x), #x, (where), __LINE__)

constexpr ggml_type k_s24 = (ggml_type) 240, k_i3 = (ggml_type) 241;
constexpr ggml_type k_types[] = { k_s24, k_i3 };
constexpr int    k_block = 64, k_half = 32, k_groups = 16;
constexpr size_t k_block_bytes = 26, k_activation_bytes = 34;
constexpr float  k_scales[] = { 1.0f, -0.0371f, 65504.0f, -65504.0f, 6e-8f, 5e-6f, 0.0f };

using bytes = std::vector<uint8_t>;

// What a block of weights means, from its bytes alone.
struct decoded {
    double d;
    int    w[k_block];
};

uint16_t f16(float x) {
    return ggml_fp32_to_fp16(x);
}

double scale_at(const uint8_t * p) {
    uint16_t d;
    std::memcpy(&d, p, sizeof(d));
    return ggml_fp16_to_fp32(d);
}

int field(const uint8_t * p, int i, int bits) {
    return p[i*bits/8] >> i*bits%8 & ((1 << bits) - 1);
}

decoded decode(ggml_type type, const uint8_t * p) {
    decoded x = { scale_at(p), {} };
    if (type == k_i3) {
        for (int i = 0; i < k_block; ++i) {
            x.w[i] = (field(p + 2, i, 2) | field(p + 18, i, 1) << 2) - 4;
        }
        return x;
    }
    for (int i = 0; i < 2*k_groups; ++i) {
        x.w[i/2*4 + field(p + 2, i, 2)] += field(p + 10, i, 4) - 8;
    }
    return x;
}

bool in_order(const uint8_t * p) {
    for (int g = 0; g < k_groups; ++g) {
        if (field(p + 2, 2*g, 2) >= field(p + 2, 2*g + 1, 2)) {
            return false;
        }
    }
    return true;
}

bytes random_row(ggml_type type, int n, std::mt19937 & random, bool valid = true) {
    static const uint8_t k_masks[] = { 0x4, 0x8, 0x9, 0xc, 0xd, 0xe };
    bytes row(n/k_block*k_block_bytes);
    for (auto & byte : row) {
        byte = (uint8_t) random();
    }
    for (size_t at = 0; at < row.size(); at += k_block_bytes) {
        const uint16_t d = f16(std::ldexp((float) (int) (random() % 2001) - 1000, -16));
        std::memcpy(&row[at], &d, sizeof(d));
        for (int i = 0; type == k_s24 && valid && i < 8; ++i) {
            row[at + 2 + i] = (uint8_t) (k_masks[random() % 6] | k_masks[random() % 6] << 4);
        }
    }
    return row;
}

void set_scales(bytes & row, size_t block, float scale) {
    const uint16_t d = f16(scale);
    for (size_t at = 0; at < row.size(); at += block) {
        std::memcpy(&row[at], &d, sizeof(d));
    }
}

bytes activations(int n, std::mt19937 & random) {
    bytes row(n/k_half*k_activation_bytes);
    for (size_t at = 0; at < row.size(); at += k_activation_bytes) {
        const uint16_t d = f16(std::ldexp((float) (1 + random() % 1000), -14));
        std::memcpy(&row[at], &d, sizeof(d));
        for (int i = 0; i < k_half; ++i) {
            row[at + 2 + i] = (uint8_t) (int8_t) ((int) (random() % 255) - 127);
        }
    }
    return row;
}

using product = void (*)(int, float *, size_t, const void *, size_t, const void *, size_t, int);

product generic(ggml_type type) {
    const std::string name = std::string("ggml_vec_dot_") + ggml_type_name(type) + "_q8_0_generic";
    const auto found = (product) dlsym(RTLD_DEFAULT, name.c_str());
    CHECK(found != nullptr, name);
    return found;
}

// The CPU back end is a library of its own, which a program need not name.
const ggml_type_traits_cpu * cpu_traits(ggml_type type) {
    return ((decltype(&ggml_get_type_traits_cpu)) dlsym(RTLD_DEFAULT, "ggml_get_type_traits_cpu"))(type);
}

product native(ggml_type type) {
    const auto * traits = cpu_traits(type);
    CHECK(traits->vec_dot_type == GGML_TYPE_Q8_0 && traits->nrows == 1, ggml_type_name(type));
    return traits->vec_dot;
}

float run(product f, const bytes & w, const bytes & a) {
    // copies of exactly their size, so that a checker of addresses sees the ends
    const std::unique_ptr<uint8_t[]> x(new uint8_t[w.size()]), y(new uint8_t[a.size()]);
    std::memcpy(x.get(), w.data(), w.size());
    std::memcpy(y.get(), a.data(), a.size());
    float s = NAN;
    f((int) (w.size()/k_block_bytes*k_block), &s, 0, x.get(), 0, y.get(), 0, 1);
    return s;
}

// The documented chain, and the sum in double precision.
struct expected {
    float  chain = 0.0f;
    double value = 0.0, size = 0.0;
};

expected reference(ggml_type type, const bytes & w, const bytes & a) {
    expected e;
    for (size_t b = 0; b < w.size()/k_block_bytes; ++b) {
        const auto x = decode(type, &w[b*k_block_bytes]);
        for (int half = 0; half < 2; ++half) {
            const uint8_t * y = &a[(2*b + half)*k_activation_bytes];
            int sum = 0;
            for (int i = 0; i < k_half; ++i) {
                sum += x.w[half*k_half + i]*(int8_t) y[2 + i];
            }
            const double scale = x.d*scale_at(y); // both of 11 bits: exact, also as a float
            e.chain = std::fmaf((float) sum, (float) scale, e.chain);
            e.value += sum*scale;
            e.size  += std::fabs(sum*scale);
        }
    }
    return e;
}

void check_product(ggml_type type, const bytes & w, const bytes & a, const std::string & where) {
    const auto  e = reference(type, w, a);
    const float with = run(native(type), w, a), without = run(generic(type), w, a);
    const std::string what = std::string(ggml_type_name(type)) + ", " + where;
    CHECK(std::memcmp(&with, &e.chain, sizeof(with)) == 0, what);
    CHECK(std::memcmp(&without, &e.chain, sizeof(without)) == 0, what);
    CHECK(std::fabs(with - e.value) <= 1e-6*e.size, what);
}

void check_values(ggml_type type, const bytes & w, const std::string & where) {
    const int n = (int) (w.size()/k_block_bytes*k_block);
    std::vector<float> y(n, NAN);
    ggml_get_type_traits(type)->to_float(w.data(), y.data(), n);
    for (int i = 0; i < n; ++i) {
        const auto x = decode(type, &w[i/k_block*k_block_bytes]);
        CHECK(y[i] == (float) (x.d*x.w[i % k_block]), where + ", " + std::to_string(i));
    }
    for (int g = 0; type == k_s24 && g < n/4; ++g) {
        int not_zero = 0;
        for (int i = 0; i < 4; ++i) {
            not_zero += y[4*g + i] != 0.0f;
        }
        CHECK(not_zero <= 2, where + ", group " + std::to_string(g));
    }
}

void test_traits() {
    CHECK(std::string(ggml_type_name(k_s24)) == "s24_0" && std::string(ggml_type_name(k_i3)) == "i3_0", "names");
    for (const ggml_type type : k_types) {
        CHECK(ggml_blck_size(type) == k_block && ggml_type_size(type) == k_block_bytes, ggml_type_name(type));
        CHECK(ggml_is_quantized(type) && !ggml_quantize_requires_imatrix(type), ggml_type_name(type));
        CHECK(ggml_row_size(type, 896) == 364, ggml_type_name(type));
    }
    CHECK(ggml_type_name((ggml_type) 100) == nullptr && ggml_blck_size((ggml_type) 100) == 0, "an id of nobody");
    CHECK(!ggml_validate_row_data((ggml_type) 100, "", 0), "an id of nobody");
}

// Each of the masks with each pair of values, in the group that the count falls on.
void test_every_group() {
    std::mt19937 random(1);
    for (int mask = 0; mask < 16; ++mask) {
        if ((mask & 3) >= mask >> 2) {
            continue;
        }
        for (int pair = 0; pair < 256; ++pair) {
            auto w = random_row(k_s24, k_block, random);
            const int g = pair % k_groups;
            w[2 + g/2] = (uint8_t) ((w[2 + g/2] & (0xf0 >> 4*(g % 2))) | mask << 4*(g % 2));
            w[10 + g]  = (uint8_t) pair;
            const std::string where = "mask " + std::to_string(mask) + ", values " + std::to_string(pair);
            check_values(k_s24, w, where);
            check_product(k_s24, w, activations(k_block, random), where);
            CHECK(ggml_validate_row_data(k_s24, w.data(), w.size()), where);
        }
    }
}

// Every byte in every place of the indices: refused where it is out of order, and even then no address is out of bounds.
void test_every_index_byte() {
    std::mt19937 random(2);
    for (int byte = 0; byte < 256; ++byte) {
        for (int place = 0; place < 8; ++place) {
            auto w = random_row(k_s24, 2*k_block, random);
            w[k_block_bytes + 2 + place] = (uint8_t) byte;
            const std::string where = "byte " + std::to_string(byte) + " at " + std::to_string(place);
            const bool valid = in_order(&w[k_block_bytes]);
            CHECK(ggml_validate_row_data(k_s24, w.data(), w.size()) == valid, where);
            check_product(k_s24, w, activations(2*k_block, random), where);
            std::vector<float> y(2*k_block + 1, 7.0f);
            ggml_get_type_traits(k_s24)->to_float(w.data(), y.data(), 2*k_block);
            CHECK(y.back() == 7.0f, where);
            if (valid) {
                check_values(k_s24, w, where);
            }
        }
    }
}

void test_scales_that_are_not_finite(ggml_type type) {
    std::mt19937 random(3);
    for (int bits = 0; bits < 0x10000; bits += 61) {
        for (const int exponent : { bits, bits | 0x7c00 }) {
            auto w = random_row(type, 3*k_block, random);
            w[k_block_bytes]     = (uint8_t) exponent;
            w[k_block_bytes + 1] = (uint8_t) (exponent >> 8);
            CHECK(ggml_validate_row_data(type, w.data(), w.size()) == ((exponent & 0x7c00) != 0x7c00), std::to_string(exponent));
        }
    }
    const auto w = random_row(type, k_block, random);
    CHECK(!ggml_validate_row_data(type, w.data(), w.size() - 1), "a size that is no number of blocks");
}

void test_one_hot(ggml_type type) {
    std::mt19937 random(4);
    const int n = 3*k_block;
    const auto w = random_row(type, n, random);
    for (int column = 0; column < n; ++column) {
        bytes a(n/k_half*k_activation_bytes, 0);
        set_scales(a, k_activation_bytes, 1.0f);
        a[column/k_half*k_activation_bytes + 2 + column % k_half] = 1;
        const auto x = decode(type, &w[column/k_block*k_block_bytes]);
        CHECK(run(native(type), w, a) == (float) (x.d*x.w[column % k_block]), std::to_string(column));
        check_product(type, w, a, "one hot " + std::to_string(column));
    }
}

void test_extremes(ggml_type type) {
    std::mt19937 random(5);
    for (const float scale : k_scales) {
        for (const int fill : { 0x00, 0xff, 0x0f, 0xf0, 0x80, 0x55 }) {
            for (const int ends : { 127, -127, -128, 1 }) {
                auto w = random_row(type, 4*k_block, random);
                set_scales(w, k_block_bytes, scale);
                for (size_t at = 0; at < w.size(); ++at) {
                    const bool index = type == k_s24 && at % k_block_bytes < 10;
                    w[at] = at % k_block_bytes < 2 || index ? w[at] : (uint8_t) fill;
                }
                auto a = activations(4*k_block, random);
                for (size_t at = 0; at < a.size(); ++at) {
                    const int sign = ends == 1 && random() % 2 ? -127 : ends == 1 ? 127 : ends;
                    a[at] = at % k_activation_bytes < 2 ? a[at] : (uint8_t) (int8_t) sign;
                }
                const std::string where = "scale " + std::to_string(scale) + ", bytes " + std::to_string(fill);
                check_product(type, w, a, where);
                check_values(type, w, where);
                CHECK(ggml_validate_row_data(type, w.data(), w.size()), where);
            }
        }
    }
}

void test_random_rows(ggml_type type) {
    std::mt19937 random(6);
    for (const int n : { 64, 128, 192, 576, 896, 1536, 4864 }) {
        for (int i = 0; i < 20; ++i) {
            const auto w = random_row(type, n, random, i % 4 != 0); // any bytes now and then
            check_product(type, w, activations(n, random), std::to_string(n) + " columns");
            if (i % 4 != 0) {
                check_values(type, w, std::to_string(n));
            }
        }
    }
}

struct deleter {
    void operator()(ggml_context * p) const { ggml_free(p); }
    void operator()(ggml_backend * p) const { ggml_backend_free(p); }
    void operator()(ggml_backend_buffer * p) const { ggml_backend_buffer_free(p); }
};

// Through ggml's graphs: rows that are looked up are to_float's, products the chain over activations as Q8_0.
void test_graph(ggml_type type, int n, int n_rows, int n_columns) {
    std::mt19937 random(7);
    const std::string where = std::string(ggml_type_name(type)) + " " + std::to_string(n) + "x" + std::to_string(n_rows);
    std::unique_ptr<ggml_backend, deleter> backend(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
    std::unique_ptr<ggml_context, deleter> ctx(ggml_init({ ggml_tensor_overhead()*16 + ggml_graph_overhead(), nullptr, true }));
    ggml_tensor * w = ggml_new_tensor_2d(ctx.get(), type, n, n_rows);
    ggml_tensor * x = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, n, n_columns);
    ggml_tensor * i = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, n_rows);
    ggml_tensor * rows = ggml_get_rows(ctx.get(), w, i);
    ggml_tensor * products = ggml_mul_mat(ctx.get(), w, x);
    ggml_cgraph * graph = ggml_new_graph(ctx.get());
    ggml_build_forward_expand(graph, rows);
    ggml_build_forward_expand(graph, products);
    std::unique_ptr<ggml_backend_buffer, deleter> buffer(ggml_backend_alloc_ctx_tensors(ctx.get(), backend.get()));

    bytes data;
    for (int row = 0; row < n_rows; ++row) {
        const auto more = random_row(type, n, random);
        data.insert(data.end(), more.begin(), more.end());
    }
    std::vector<float> columns(n*n_columns), out(n*n_rows), y(n*n_rows);
    std::normal_distribution<float> normal;
    for (auto & value : columns) {
        value = normal(random);
    }
    std::vector<int32_t> order(n_rows);
    for (int row = 0; row < n_rows; ++row) {
        order[row] = n_rows - 1 - row;
    }
    ggml_backend_tensor_set(w, data.data(), 0, data.size());
    ggml_backend_tensor_set(x, columns.data(), 0, columns.size()*sizeof(float));
    ggml_backend_tensor_set(i, order.data(), 0, order.size()*sizeof(int32_t));
    CHECK(ggml_backend_graph_compute(backend.get(), graph) == GGML_STATUS_SUCCESS, where);

    ggml_get_type_traits(type)->to_float(data.data(), y.data(), n*n_rows);
    ggml_backend_tensor_get(rows, out.data(), 0, out.size()*sizeof(float));
    for (int row = 0; row < n_rows; ++row) {
        CHECK(std::memcmp(&out[row*n], &y[order[row]*n], n*sizeof(float)) == 0, where);
    }
    std::vector<float> result(n_rows*n_columns);
    ggml_backend_tensor_get(products, result.data(), 0, result.size()*sizeof(float));
    bytes a(n/k_half*k_activation_bytes);
    for (int c = 0; c < n_columns; ++c) {
        cpu_traits(GGML_TYPE_Q8_0)->from_float(columns.data() + c*n, a.data(), n);
        for (int row = 0; row < n_rows; ++row) {
            const auto at = data.begin() + row*(data.size()/n_rows);
            const auto e = reference(type, bytes(at, at + data.size()/n_rows), a);
            CHECK(std::memcmp(&result[c*n_rows + row], &e.chain, sizeof(float)) == 0, where);
        }
    }
}

} // namespace

int main() {
    // ggml's table of f16 values is filled in when the CPU back end starts
    const std::unique_ptr<ggml_backend, deleter> cpu(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
    test_traits();
    test_every_group();
    test_every_index_byte();
    for (const ggml_type type : k_types) {
        test_scales_that_are_not_finite(type);
        test_one_hot(type);
        test_extremes(type);
        test_random_rows(type);
        for (const int n_rows : { 1, 3, 17, 33 }) {
            test_graph(type, 64, n_rows, 1);
            test_graph(type, 896, n_rows, 5);
        }
    }
    std::printf("%d failed\n", failures);
    return failures > 0;
}
