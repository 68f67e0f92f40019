// Our weight types through ggml's own graphs on a GPU: get_rows and products against double precision, and the time of a
// token's products beside Q4_0, Q4_K and F16, weights in turn so that none is still in the cache.
// Usage: products OUT.json [COPY_GB_PER_S]. With STEERWAY_CUDA_PREFILL=1 prefill runs on our tensor core kernels, otherwise
// through cuBLAS. Prints each failed check; exit code 1 if there is one, 2 without a GPU.

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr int64_t k_cache_bytes = 256 << 20; // more than any GPU's second-level cache

int checks = 0, failures = 0;
std::string results;

void check(bool ok, const std::string & what) {
    ++checks;
    if (!ok) {
        ++failures;
        std::fprintf(stderr, "not true: %s\n", what.c_str());
    }
}

void result(const std::string & name, double value) {
    char text[200];
    std::snprintf(text, sizeof(text), "%s\n  \"%s\": %.6g", results.empty() ? "" : ",", name.c_str(), value);
    results += text;
}

struct deleter {
    void operator()(ggml_context * p) const { ggml_free(p); }
    void operator()(ggml_backend * p) const { ggml_backend_free(p); }
    void operator()(ggml_backend_buffer * p) const { ggml_backend_buffer_free(p); }
};

template <typename T> using owned = std::unique_ptr<T, deleter>;

owned<ggml_context> new_context() {
    return owned<ggml_context>(ggml_init({ /* mem_size */ 16u << 20, nullptr, /* no_alloc */ true }));
}

// A matrix of the type as bytes, and what it says as floats
struct matrix {
    std::vector<uint8_t> bytes;
    std::vector<float>   values;
};

matrix random_matrix(ggml_type type, int64_t n_values, int64_t n_rows, bool with_values) {
    std::mt19937 rng(5);
    std::normal_distribution<float> normal;
    const int64_t n_made = std::min<int64_t>(n_rows, 64); // the rows repeat: quantising is what takes the time
    std::vector<float> source(n_values*n_made);
    for (float & x : source) {
        x = 0.02f*normal(rng);
    }
    matrix found;
    const size_t row_bytes = ggml_row_size(type, n_values);
    found.bytes.resize(row_bytes*n_rows);
    ggml_quantize_chunk(type, source.data(), found.bytes.data(), 0, n_made, n_values, nullptr);
    for (int64_t row = n_made; row < n_rows; ++row) {
        std::copy_n(&found.bytes[row % n_made*row_bytes], row_bytes, &found.bytes[row*row_bytes]);
    }
    if (with_values) {
        found.values.resize(n_values*n_rows);
        const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;
        for (int64_t row = 0; row < n_rows; ++row) {
            to_float(&found.bytes[row*row_bytes], &found.values[row*n_values], n_values);
        }
    }
    return found;
}

std::string label(ggml_type type, int64_t n_rows, int64_t n_values, int64_t n_columns) {
    return std::string(ggml_type_name(type)) + " " + std::to_string(n_rows) + "x" + std::to_string(n_values) + " x"
        + std::to_string(n_columns);
}

bool own_prefill() {
    const char * value = std::getenv("STEERWAY_CUDA_PREFILL");
    return value && std::string(value) == "1";
}

void test_product(ggml_backend * backend, ggml_type type, int64_t n_rows, int64_t n_values, int64_t n_columns) {
    const std::string where = label(type, n_rows, n_values, n_columns);
    owned<ggml_context> ctx = new_context();
    ggml_tensor * w   = ggml_new_tensor_2d(ctx.get(), type, n_values, n_rows);
    ggml_tensor * x   = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, n_values, n_columns);
    ggml_tensor * ids = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, 3);
    ggml_tensor * y   = ggml_mul_mat(ctx.get(), w, x);
    ggml_tensor * r   = ggml_get_rows(ctx.get(), w, ids);
    check(ggml_backend_supports_op(backend, y) && ggml_backend_supports_op(backend, r), where + " is supported");
    owned<ggml_backend_buffer> buffer(ggml_backend_alloc_ctx_tensors(ctx.get(), backend));
    ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);

    const matrix weights = random_matrix(type, n_values, n_rows, true);
    std::mt19937 rng(3);
    std::normal_distribution<float> normal;
    std::vector<float> activations(n_values*n_columns);
    for (float & value : activations) {
        value = normal(rng);
    }
    const int32_t rows[3] = { (int32_t) n_rows - 1, 0, (int32_t) n_rows / 2 };
    ggml_backend_tensor_set(w, weights.bytes.data(), 0, ggml_nbytes(w));
    ggml_backend_tensor_set(x, activations.data(), 0, ggml_nbytes(x));
    ggml_backend_tensor_set(ids, rows, 0, sizeof(rows));
    ggml_cgraph * graph = ggml_new_graph(ctx.get());
    ggml_build_forward_expand(graph, y);
    ggml_build_forward_expand(graph, r);
    check(ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS, where + " is computed");

    std::vector<float> found(n_rows*n_columns), taken(3*n_values);
    ggml_backend_tensor_get(y, found.data(), 0, ggml_nbytes(y));
    ggml_backend_tensor_get(r, taken.data(), 0, ggml_nbytes(r));
    double error = 0, energy = 1e-30;
    for (int64_t column = 0; column < n_columns; ++column) {
        for (int64_t row = 0; row < n_rows; ++row) {
            double sum = 0;
            for (int64_t k = 0; k < n_values; ++k) {
                sum += (double) weights.values[row*n_values + k]*activations[column*n_values + k];
            }
            const double off = found[column*n_rows + row] - sum;
            error += off*off;
            energy += sum*sum;
        }
    }
    // Squared: 8-bit activations (up to 8 columns) 3e-5; our kernels add in f32, cuBLAS as ggml calls it in f16, where ggml's
    // own tests allow 5e-4.
    check(error / energy < (n_columns <= 8 ? 1e-4 : own_prefill() ? 1e-6 : 5e-4), where + ": squared error " + std::to_string(error / energy));
    bool same = true;
    for (int i = 0; i < 3; ++i) {
        same = same && std::equal(&taken[i*n_values], &taken[i*n_values] + n_values, &weights.values[rows[i]*n_values]);
    }
    check(same, where + ": get_rows gives dequantise's values");
}

// Microseconds of one product: a graph of as many products as fill the cache, several times, the best of 5
double product_us(ggml_backend * backend, ggml_type type, int64_t n_rows, int64_t n_values, int64_t n_columns) {
    const matrix weights = random_matrix(type, n_values, n_rows, false);
    const int n = (int) std::min<int64_t>(64, k_cache_bytes / (int64_t) weights.bytes.size() + 1);
    owned<ggml_context> ctx = new_context();
    ggml_tensor * x = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, n_values, n_columns);
    std::vector<ggml_tensor *> w(n);
    ggml_cgraph * graph = ggml_new_graph(ctx.get());
    for (ggml_tensor *& one : w) {
        one = ggml_new_tensor_2d(ctx.get(), type, n_values, n_rows);
        ggml_build_forward_expand(graph, ggml_mul_mat(ctx.get(), one, x));
    }
    owned<ggml_backend_buffer> buffer(ggml_backend_alloc_ctx_tensors(ctx.get(), backend));
    if (!buffer) {
        return NAN;
    }
    ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    for (ggml_tensor * one : w) {
        ggml_backend_tensor_set(one, weights.bytes.data(), 0, ggml_nbytes(one));
    }
    const std::vector<float> activations(n_values*n_columns, 0.5f);
    ggml_backend_tensor_set(x, activations.data(), 0, ggml_nbytes(x));
    double best = INFINITY;
    for (int round = 0; round < 6; ++round) { // the first warms up and lets a CUDA graph be captured
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < 5; ++i) {
            ggml_backend_graph_compute_async(backend, graph);
        }
        ggml_backend_synchronize(backend);
        const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
        best = round == 0 ? best : std::min(best, taken.count() / (5.0*n));
    }
    return best;
}

void bench(ggml_backend * backend, double copy_gb_per_s) {
    const int64_t shapes[][2] = { { 4096, 14336 }, { 14336, 4096 }, { 4864, 896 } };
    for (const auto & [n_rows, n_values] : shapes) {
        for (ggml_type type : { GGML_TYPE_S24_0, GGML_TYPE_I3_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_K, GGML_TYPE_F16 }) {
            if (n_values % ggml_blck_size(type) != 0) {
                continue; // Q4_K: rows of 256
            }
            for (int n_columns : { 1, 64, 256, 512, 1024, 2048 }) {
                const double us = product_us(backend, type, n_rows, n_values, n_columns);
                const std::string name = label(type, n_rows, n_values, n_columns);
                if (std::isnan(us)) {
                    std::fprintf(stderr, "%s: not measured, the GPU's memory is full\n", name.c_str());
                    continue;
                }
                result(name + " us", us);
                if (n_columns > 1) {
                    result(name + " tflops", 2e-6*n_rows*n_values*n_columns / us);
                    continue;
                }
                const double gb_per_s = ggml_row_size(type, n_values)*n_rows / us*1e-3;
                result(name + " gb_per_s", gb_per_s);
                if (copy_gb_per_s > 0) {
                    result(name + " of_copy", gb_per_s / copy_gb_per_s);
                }
            }
        }
    }
}

} // namespace

int main(int argc, char ** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: products OUT.json [COPY_GB_PER_S]\n");
        return 1;
    }
    owned<ggml_backend> backend(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_GPU, nullptr));
    if (!backend) {
        std::fprintf(stderr, "ggml finds no GPU\n");
        return 2;
    }
    for (ggml_type type : { GGML_TYPE_S24_0, GGML_TYPE_I3_0 }) {
        for (int n_columns : { 1, 2, 5, 8, 9, 33, 64, 130 }) {
            test_product(backend.get(), type, 33, 64, n_columns);
            test_product(backend.get(), type, 896, 4864, n_columns);
            test_product(backend.get(), type, 300, 576, n_columns);
        }
    }
    bench(backend.get(), argc > 2 ? std::atof(argv[2]) : 0);
    std::FILE * file = std::fopen(argv[1], "w");
    if (!file || std::fprintf(file, "{\n  \"own_prefill\": %d, \"checks\": %d, \"failed\": %d,%s\n}\n",
            own_prefill(), checks, failures, results.c_str()) < 0 || std::fclose(file) != 0) {
        std::fprintf(stderr, "%s cannot be written\n", argv[1]);
        return 1;
    }
    std::printf("%d of %d checks failed\n", failures, checks);
    return failures ? 1 : 0;
}
