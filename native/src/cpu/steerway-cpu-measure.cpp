#include "steerway-cpu-measure.h"

#include "steerway-cpu.h"

#include "ggml-alloc.h"
#include "ggml-backend-impl.h"
#include "ggml-cpu.h"
#include "ggml.h"
#include "traits.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

namespace {

constexpr int64_t k_most         = (int64_t) 1 << 36; // bytes of weights
constexpr int     k_most_columns = 4096;
constexpr int     k_most_copies  = 4096;
constexpr int     k_least_rounds = 5;
constexpr double  k_seconds      = 0.1;

struct deleter {
    void operator()(ggml_context * p) const { ggml_free(p); }
    void operator()(ggml_backend * p) const { ggml_backend_free(p); }
    void operator()(ggml_backend_buffer * p) const { ggml_backend_buffer_free(p); }
    void operator()(ggml_threadpool * p) const { ggml_threadpool_free(p); }
};

template<typename T> using owned = std::unique_ptr<T, deleter>;

// The kernels that are on while it lives.
class switched {
public:
    explicit switched(uint32_t mask) : before_(steerway_cpu_get()) { steerway_cpu_set(mask); }
    ~switched() { steerway_cpu_set(before_); }
    switched(const switched &) = delete;
    switched & operator=(const switched &) = delete;

private:
    uint32_t before_;
};

// Whether weights of a product can be put into buffers of a type.
bool takes(ggml_backend_buffer_type_t type, ggml_tensor * product) {
    ggml_tensor * weights = product->src[0];
    owned<ggml_backend_buffer> empty(ggml_backend_buft_alloc_buffer(type, 0));
    weights->buffer = empty.get();
    const bool taken = ggml_backend_dev_supports_op(ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0), product);
    weights->buffer = nullptr;
    return taken;
}

// Where weights lie for a way of computing; NULL if it has none for them.
ggml_backend_buffer_type_t buffer_type(int way, ggml_tensor * product) {
    if (way == STEERWAY_CPU_WAY_PACKED) {
        return steerway_cpu_can_pack(product->src[0]->type) ? steerway_cpu_buffer_type() : nullptr;
    }
    if (way == STEERWAY_CPU_WAY_GGML) {
        for (ggml_backend_buffer_type_t type : ggml_backend_cpu_get_extra_buffer_types()) {
            if (type != steerway_cpu_buffer_type() && takes(type, product)) {
                return type;
            }
        }
    }
    return ggml_backend_cpu_buffer_type();
}

// Rows of a type, of small numbers without a pattern.
std::vector<uint8_t> some_rows(ggml_type type, int64_t n_rows, int64_t width) {
    constexpr int64_t k_different = 16;
    uint32_t state = 1;
    std::vector<float> values(k_different*width);
    for (float & value : values) {
        state = state*1664525u + 1013904223u;
        value = (float) (state >> 8)/(1 << 24) - 0.5f;
    }
    const size_t row = ggml_row_size(type, width);
    std::vector<uint8_t> rows(n_rows*row);
    ggml_quantize_chunk(type, values.data(), rows.data(), 0, std::min(k_different, n_rows), width, nullptr);
    for (int64_t i = k_different; i < n_rows; ++i) {
        std::memcpy(rows.data() + i*row, rows.data() + i%k_different*row, row);
    }
    return rows;
}

double median_seconds(ggml_backend_t backend, ggml_cgraph * graph) {
    std::vector<double> found;
    double total = 0.0;
    for (int round = 0; round <= k_least_rounds || total < k_seconds; ++round) {
        const auto start = std::chrono::steady_clock::now();
        ggml_backend_graph_compute(backend, graph);
        const double now = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (round > 0) { // the first one starts the threads
            found.push_back(now);
            total += now;
        }
    }
    std::nth_element(found.begin(), found.begin() + found.size()/2, found.end());
    return found[found.size()/2];
}

struct question {
    ggml_type type;
    int64_t   n_rows, width, n_columns;
    int       n_threads, way;
    int64_t   bytes;

    bool is_of_weights() const {
        return ggml_is_quantized(type) && ggml_get_type_traits(type)->to_float && ggml_get_type_traits_cpu(type)->vec_dot
            && !ggml_quantize_requires_imatrix(type);
    }
    bool makes_sense() const {
        return type >= 0 && type < GGML_TYPE_COUNT && is_of_weights() && n_rows > 0 && width > 0 && width % ggml_blck_size(type) == 0 && n_rows <= k_most/width
            && n_columns > 0 && n_columns <= k_most_columns && n_threads > 0 && n_threads <= GGML_MAX_N_THREADS
            && way >= STEERWAY_CPU_WAY_PACKED && way <= STEERWAY_CPU_WAY_GGML && bytes >= 0 && bytes <= k_most;
    }
    int n_copies() const {
        const auto of_one = (int64_t) ggml_row_size(type, width)*n_rows;
        return (int) std::min<int64_t>(k_most_copies, std::max<int64_t>(1, (bytes + of_one - 1)/of_one));
    }
};

int64_t measure(const question & q) {
    const int n = q.n_copies();
    owned<ggml_context> inputs(ggml_init({ ggml_tensor_overhead(), nullptr, true }));
    owned<ggml_context> matrices(ggml_init({ ggml_tensor_overhead()*n, nullptr, true }));
    owned<ggml_context> results(ggml_init({ ggml_tensor_overhead()*n + ggml_graph_overhead_custom(n + 16, false), nullptr, true }));
    ggml_tensor * columns = ggml_new_tensor_2d(inputs.get(), GGML_TYPE_F32, q.width, q.n_columns);
    ggml_cgraph * graph   = ggml_new_graph_custom(results.get(), n + 16, false);
    std::vector<ggml_tensor *> weights;
    for (int i = 0; i < n; ++i) {
        weights.push_back(ggml_new_tensor_2d(matrices.get(), q.type, q.width, q.n_rows));
        ggml_build_forward_expand(graph, ggml_mul_mat(results.get(), weights.back(), columns));
    }

    const switched kernels(q.way == STEERWAY_CPU_WAY_GGML ? 0 : STEERWAY_CPU_MATMUL);
    ggml_backend_buffer_type_t type = buffer_type(q.way, ggml_graph_node(graph, 0));
    if (!type) {
        return -2;
    }
    owned<ggml_backend_buffer> at[] = {
        owned<ggml_backend_buffer>(ggml_backend_alloc_ctx_tensors_from_buft(matrices.get(), type)),
        owned<ggml_backend_buffer>(ggml_backend_alloc_ctx_tensors_from_buft(inputs.get(), ggml_backend_cpu_buffer_type())),
        owned<ggml_backend_buffer>(ggml_backend_alloc_ctx_tensors_from_buft(results.get(), ggml_backend_cpu_buffer_type())),
    };
    owned<ggml_backend> backend(ggml_backend_cpu_init());
    auto pool_params = ggml_threadpool_params_default(q.n_threads);
    owned<ggml_threadpool> pool(ggml_threadpool_new(&pool_params));
    if (!at[0] || !at[1] || !at[2] || !backend || !pool) {
        return -3;
    }
    ggml_backend_cpu_set_n_threads(backend.get(), q.n_threads);
    ggml_backend_cpu_set_threadpool(backend.get(), pool.get());

    const auto rows = some_rows(q.type, q.n_rows, q.width);
    for (ggml_tensor * matrix : weights) {
        ggml_backend_tensor_set(matrix, rows.data(), 0, rows.size());
    }
    std::vector<float> x(q.width*q.n_columns);
    for (size_t i = 0; i < x.size(); ++i) {
        x[i] = (float) (i*7919 % 201)/100.0f - 1.0f;
    }
    ggml_backend_tensor_set(columns, x.data(), 0, x.size()*sizeof(float));
    return (int64_t) (1e9*median_seconds(backend.get(), graph)/n);
}

} // namespace

int64_t steerway_cpu_measure(
        int type, int64_t n_rows, int64_t width, int64_t n_columns, int n_threads, int way, int64_t bytes) {
    const question q = { (ggml_type) type, n_rows, width, n_columns, n_threads, way, bytes };
    if (!q.makes_sense()) {
        return -1;
    }
    try {
        return measure(q);
    } catch (const std::exception &) { // bad_alloc, system_error
        return -3;
    }
}
