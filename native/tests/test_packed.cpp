// Weights packed into tiles: what is written is read back, products are those of plain weights bit for bit, and right against a
// sum in double precision. Usage: test_packed [MODEL.gguf], which is not read, or test_packed --bench [THREADS [SHAPE [COLUMNS [TYPES]]]].
// Prints each failed check; exit code 1 if there is one.

#include "products.h"

namespace {

constexpr ggml_type k_s24_0 = (ggml_type) 240, k_i3_0 = (ggml_type) 241;
constexpr ggml_type k_types[] = {
    GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K, k_s24_0, k_i3_0,
};

bool is_own(ggml_type type) {
    return type == k_s24_0 || type == k_i3_0;
}

ggml_backend_buffer_type_t packed() {
    static ggml_backend_buffer_type_t type = buffer_type("CPU_STEERWAY");
    return type;
}

std::string name_of(const matrix & w) {
    return std::string(ggml_type_name(w.type)) + " " + std::to_string(w.k) + "x" + std::to_string(w.n_rows);
}

std::vector<float> packed_product(const matrix & w, const float * x, int64_t n_columns, int n_threads = 2, int64_t gap = 0) {
    return product(w, x, n_columns, 0, n_threads, gap, packed());
}

// A tensor in a packed buffer.
struct packed_tensor {
    std::unique_ptr<ggml_context, deleter>        ctx;
    std::unique_ptr<ggml_backend_buffer, deleter> buffer;
    ggml_tensor *                                 tensor;

    packed_tensor(ggml_type type, int64_t k, int64_t n_rows) {
        ctx.reset(ggml_init({ 2*ggml_tensor_overhead(), nullptr, true }));
        tensor = ggml_new_tensor_2d(ctx.get(), type, k, n_rows);
        buffer.reset(ggml_backend_alloc_ctx_tensors_from_buft(ctx.get(), packed()));
    }
    std::vector<uint8_t> read(size_t offset, size_t size) const {
        std::vector<uint8_t> bytes(size);
        ggml_backend_tensor_get(tensor, bytes.data(), offset, size);
        return bytes;
    }
};

std::vector<uint8_t> random_bytes(size_t n, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<uint8_t> bytes(n);
    for (auto & byte : bytes) {
        byte = (uint8_t) random();
    }
    return bytes;
}

// Any bytes, also those that are no weights.
void test_what_is_written_is_read(ggml_type type, int64_t k, int64_t n_rows) {
    const packed_tensor packed(type, k, n_rows);
    const size_t size = ggml_nbytes(packed.tensor);
    const std::string where = ggml_type_name(type) + (" " + std::to_string(k)) + "x" + std::to_string(n_rows);
    auto bytes = random_bytes(size, 1);
    ggml_backend_tensor_set(packed.tensor, bytes.data(), 0, size);
    CHECK(packed.read(0, size) == bytes, where);
    CHECK(packed.read(size/3, size/2) == std::vector<uint8_t>(bytes.begin() + size/3, bytes.begin() + size/3 + size/2), where);

    const auto part = random_bytes(size/3, 2);
    ggml_backend_tensor_set(packed.tensor, part.data(), size/4, part.size());
    std::copy(part.begin(), part.end(), bytes.begin() + size/4);
    CHECK(packed.read(0, size) == bytes, where);

    ggml_backend_tensor_memset(packed.tensor, 7, 5, size/2);
    std::fill(bytes.begin() + 5, bytes.begin() + 5 + size/2, 7);
    CHECK(packed.read(0, size) == bytes, where);
}

// No larger than the rows, 16 of them at a time, and a tile's last cache line.
void test_size(ggml_type type, int64_t k, int64_t n_rows) {
    const packed_tensor packed(type, k, n_rows);
    const size_t n_tiles = (n_rows + 15)/16;
    const size_t size = ggml_backend_buft_get_alloc_size(::packed(), packed.tensor);
    CHECK(size >= ggml_nbytes(packed.tensor), ggml_type_name(type));
    CHECK(size <= n_tiles*(16*ggml_row_size(type, k) + 32), ggml_type_name(type));
    CHECK(k % 1792 != 0 || n_rows % 16 != 0 || size == ggml_nbytes(packed.tensor), ggml_type_name(type));
}

// ggml computes rows of these types one by one, in the same order; ours for plain weights take all the others from three columns.
void check_against_plain(const matrix & w, const std::vector<float> & x, const std::vector<float> & y) {
    const int64_t n_columns = x.size()/w.k;
    const auto plain = product(w, x.data(), n_columns, is_own(w.type) ? 0 : STEERWAY_KERNEL_MATMUL);
    CHECK(same(plain.data(), y.data(), y.size()), name_of(w));
}

void test_shape(ggml_type type, int64_t k, int64_t n_rows) {
    constexpr int64_t n_columns = 40;
    const auto w = random_matrix(type, k, n_rows, 1);
    const auto x = random_floats(k*n_columns, 2);
    const auto y = packed_product(w, x.data(), n_columns);
    check_against_reference(w, x, y, name_of(w));
    check_against_plain(w, x, y);
    for (const int64_t n : { 1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33 }) {
        for (const int n_threads : { 1, 2, 3 }) {
            const auto part = packed_product(w, x.data() + n%7*k, n, n_threads);
            CHECK(same(part.data(), y.data() + n%7*n_rows, part.size()),
                name_of(w) + ", columns " + std::to_string(n) + ", threads " + std::to_string(n_threads));
        }
    }
}

// Every weight once, by columns that have a single value.
void test_single_values(ggml_type type) {
    const int64_t k = 256, n_rows = 33;
    const auto w = random_matrix(type, k, n_rows, 8);
    std::vector<float> x(k*k), rows(k*n_rows);
    for (int64_t i = 0; i < k; ++i) {
        x[i*k + i] = 1.0f;
    }
    ggml_get_type_traits(type)->to_float(w.data.data(), rows.data(), k*n_rows);
    const auto y = packed_product(w, x.data(), k);
    double worst = 0.0, size = 0.0;
    for (int64_t row = 0; row < n_rows; ++row) {
        for (int64_t i = 0; i < k; ++i) {
            worst = std::max(worst, (double) std::fabs(y[i*n_rows + row] - rows[row*k + i]));
            size  = std::max(size, (double) std::fabs(rows[row*k + i]));
        }
    }
    CHECK(worst < 1e-3*size, std::string(ggml_type_name(type)) + " " + std::to_string(worst/size)); // f16 of 1/127
}

void test_strides(ggml_type type) {
    const auto w = random_matrix(type, 768, 130, 3);
    const auto x = random_floats(768*9, 4);
    CHECK(packed_product(w, x.data(), 9) == packed_product(w, x.data(), 9, 2, 48), name_of(w));
}

// Bytes that no weights are encoded to too: both indices of a group the same, or the second the lower one.
void test_extremes(ggml_type type) {
    const int64_t k = 256, n_rows = 33, n_columns = 9;
    for (const uint8_t byte : { 0x00, 0xff, 0x80, 0x7f, 0x0f, 0x44, 0xee }) {
        for (const float scale : { 1.0f, 65504.0f, 6e-8f, 0.0f }) {
            auto w = random_matrix(type, k, n_rows, 5);
            std::fill(w.data.begin(), w.data.end(), byte);
            set_scales(w, scale);
            std::vector<float> x(k*n_columns);
            for (size_t i = 0; i < x.size(); ++i) {
                const int64_t column = i/k;
                x[i] = column == 0 ? 0.0f : column < 4 || i % 2 ? 127.0f : -127.0f;
            }
            const auto y = packed_product(w, x.data(), n_columns);
            const std::string where = name_of(w) + ", bytes " + std::to_string(byte) + ", scale " + std::to_string(scale);
            const bool repeats = type == k_s24_0 && (byte & 3) == (byte >> 2 & 3); // to_float then has the later of the two only
            if (!repeats) {
                check_against_reference(w, x, y, where);
            }
            if (!repeats) {
                check_against_plain(w, x, y);
            }
            const auto one = packed_product(w, x.data() + 5*k, 1);
            CHECK(same(one.data(), y.data() + 5*n_rows, n_rows), where);
        }
    }
}

void test_not_finite(ggml_type type) {
    const int64_t k = 256, n_rows = 33, n_columns = 7;
    const auto w = random_matrix(type, k, n_rows, 6);
    auto x = random_floats(k*n_columns, 7);
    const auto y = packed_product(w, x.data(), n_columns);
    x[4*k + 3] = NAN;
    x[5*k + 3] = INFINITY;
    const auto z = packed_product(w, x.data(), n_columns);
    CHECK(same(y.data(), z.data(), 4*n_rows), ggml_type_name(type));
    CHECK(same(y.data() + 6*n_rows, z.data() + 6*n_rows, n_rows), ggml_type_name(type));
}

// As a model's loader asks where weights can go.
bool is_offered(ggml_type type, int64_t planes = 1) {
    std::unique_ptr<ggml_context, deleter> ctx(ggml_init({ 4*ggml_tensor_overhead(), nullptr, true }));
    std::unique_ptr<ggml_backend_buffer, deleter> empty(ggml_backend_buft_alloc_buffer(packed(), 0));
    ggml_tensor * weights = ggml_new_tensor_3d(ctx.get(), type, 256, 32, planes);
    ggml_tensor * op = ggml_mul_mat(ctx.get(), weights, ggml_new_tensor_3d(ctx.get(), GGML_TYPE_F32, 256, 512, planes));
    weights->buffer = empty.get();
    return ggml_backend_dev_supports_op(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), op);
}

void test_the_switches() {
    steerway_set_kernels(STEERWAY_KERNEL_MATMUL);
    CHECK(!is_offered(GGML_TYPE_Q4_0), "off");
    steerway_set_kernels(STEERWAY_KERNEL_PACKED);
    for (const ggml_type type : k_types) {
        CHECK(steerway_can_pack(type) == 1 && steerway_packs(type) == 1, ggml_type_name(type));
        CHECK(is_offered(type), ggml_type_name(type));
        CHECK(!is_offered(type, 2), ggml_type_name(type));
        CHECK(steerway_set_packs(type, false) == STEERWAY_OK && steerway_packs(type) == 0, ggml_type_name(type));
        CHECK(!is_offered(type), ggml_type_name(type));
        CHECK(steerway_set_packs(type, true) == STEERWAY_OK && steerway_packs(type) == 1, ggml_type_name(type));
    }
    for (const int other : { (int) GGML_TYPE_F16, (int) GGML_TYPE_Q3_K, (int) GGML_TYPE_COUNT, 100, -1, 100000 }) {
        CHECK(steerway_can_pack((ggml_type) other) == 0 && steerway_packs((ggml_type) other) == 0, std::to_string(other));
        CHECK(steerway_set_packs((ggml_type) other, true) == STEERWAY_BAD_ARGUMENT, std::to_string(other));
    }
    CHECK(!is_offered(GGML_TYPE_F16) && !is_offered(GGML_TYPE_Q3_K), "not packed");
}

void test_measuring() {
    constexpr uint32_t on = STEERWAY_KERNEL_PACKED;
    steerway_set_kernels(on);
    const auto measure = [](ggml_type type, int64_t n_rows, int64_t width, int64_t n_columns, int n_threads, int way, int64_t bytes = 0) {
        return steerway_measure_product(type, n_rows, width, n_columns, n_threads, (steerway_way) way, bytes);
    };
    for (const int way : { STEERWAY_WAY_PACKED, STEERWAY_WAY_IN_PLACE, STEERWAY_WAY_STOCK }) {
        CHECK(measure(GGML_TYPE_Q4_0, 64, 256, 2, 2, way) > 0, std::to_string(way));
        CHECK(measure(k_s24_0, 17, 64, 1, 1, way, 100000) > 0, std::to_string(way));
    }
    CHECK(measure(GGML_TYPE_Q3_K, 64, 256, 1, 1, STEERWAY_WAY_PACKED) == STEERWAY_NO_KERNEL, "no kernel");
    CHECK(measure(GGML_TYPE_F32, 64, 256, 1, 1, STEERWAY_WAY_PACKED) == STEERWAY_BAD_ARGUMENT, "not quantised");
    for (const ggml_type type : { GGML_TYPE_Q8_1, GGML_TYPE_Q8_K, GGML_TYPE_IQ2_XXS, GGML_TYPE_COUNT }) {
        CHECK(measure(type, 64, 256, 1, 1, STEERWAY_WAY_STOCK) == STEERWAY_BAD_ARGUMENT, std::to_string(type));
    }
    CHECK(measure((ggml_type) 100, 64, 256, 1, 1, STEERWAY_WAY_PACKED) == STEERWAY_BAD_ARGUMENT, "no type");
    CHECK(measure(GGML_TYPE_Q4_0, 64, 250, 1, 1, STEERWAY_WAY_PACKED) == STEERWAY_BAD_ARGUMENT, "no blocks");
    CHECK(measure(GGML_TYPE_Q4_0, 0, 256, 1, 1, STEERWAY_WAY_PACKED) == STEERWAY_BAD_ARGUMENT, "no rows");
    CHECK(measure(GGML_TYPE_Q4_0, INT64_MAX, 256, 1, 1, STEERWAY_WAY_PACKED) == STEERWAY_BAD_ARGUMENT, "too many rows");
    CHECK(measure(GGML_TYPE_Q4_0, 64, 256, 1, 0, STEERWAY_WAY_PACKED) == STEERWAY_BAD_ARGUMENT, "no threads");
    CHECK(measure(GGML_TYPE_Q4_0, 64, 256, 1, 1, 3) == STEERWAY_BAD_ARGUMENT, "no way");
    CHECK(measure(GGML_TYPE_Q4_0, 64, 256, 1, 1, STEERWAY_WAY_PACKED, -1) == STEERWAY_BAD_ARGUMENT, "less than nothing");
    CHECK(steerway_get_kernels() == on, "as they were");
}

void test() {
    constexpr int64_t shapes[][2] = {
        { 896, 896 }, { 896, 130 }, { 4864, 97 }, { 576, 192 }, { 256, 1 }, { 64, 1 }, { 64, 15 }, { 64, 16 }, { 192, 17 }, { 64, 33 },
        { 1792, 49 }, { 2304, 40 },
    };
    for (const ggml_type type : k_types) {
        const int64_t block = ggml_blck_size(type);
        for (const auto & shape : shapes) {
            const int64_t k = (shape[0] + block - 1)/block*block;
            test_what_is_written_is_read(type, k, shape[1]);
            test_size(type, k, shape[1]);
            test_shape(type, k, shape[1]);
        }
        test_shape(type, block, 18); // one block
        test_shape(type, 3*block, 20);
        test_single_values(type);
        test_strides(type);
        test_extremes(type);
        test_not_finite(type);
    }
    test_the_switches();
    test_measuring();
}

// Reading memory as fast as it comes, a word of each cache line, by ggml's threads: no product can be faster.
class reading {
public:
    reading() {
        backend_.reset(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
        ctx_.reset(ggml_init({ 8*ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true }));
        graph_ = ggml_new_graph(ctx_.get());
        ggml_tensor * some = ggml_new_tensor_1d(ctx_.get(), GGML_TYPE_F32, GGML_MAX_DIMS);
        ggml_build_forward_expand(graph_, ggml_map_custom1(ctx_.get(), some, read, GGML_N_TASKS_MAX, this));
        buffer_.reset(ggml_backend_alloc_ctx_tensors(ctx_.get(), backend_.get()));
    }

    // GB/s of what a quarter of the parts took no longer than.
    double speed(int n_threads) {
        set_threads(backend_.get(), n_threads);
        std::vector<double> seconds;
        for (int round = 0; round < 8; ++round) {
            for (at_ = 0; at_ + k_part <= memory_.size(); at_ += k_part) {
                const auto start = std::chrono::steady_clock::now();
                ggml_backend_graph_compute(backend_.get(), graph_);
                seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
            }
        }
        std::sort(seconds.begin(), seconds.end());
        return 1e-9*sizeof(uint64_t)*k_part/seconds[seconds.size()/4];
    }

private:
    static constexpr size_t k_part = (8u << 20)/sizeof(uint64_t);

    static void read(ggml_tensor *, const ggml_tensor *, int ith, int nth, void * of) {
        const auto & all = *(const reading *) of;
        uint64_t sum = 0;
        for (size_t i = all.at_ + k_part*ith/nth; i < all.at_ + k_part*(ith + 1)/nth; i += 8) {
            __builtin_prefetch(all.memory_.data() + i + 512);
            sum ^= all.memory_[i];
        }
        all.sums_[ith % 64] = sum;
    }

    std::vector<uint64_t> memory_ = std::vector<uint64_t>((300u << 20)/sizeof(uint64_t), 1);
    size_t                at_     = 0;
    mutable uint64_t      sums_[64] = {}; // so that reading is not left out
    std::unique_ptr<ggml_backend, deleter>        backend_;
    std::unique_ptr<ggml_context, deleter>        ctx_;
    std::unique_ptr<ggml_backend_buffer, deleter> buffer_;
    ggml_cgraph * graph_ = nullptr;
};

struct contestant {
    const char *                           name;
    ggml_type                              type;
    ggml_backend_buffer_type_t             of_weights;
    uint32_t                               kernels;
    std::vector<std::unique_ptr<products>> graphs = {};
    std::vector<double>                    seconds = {}; // of one product

    size_t bytes(int64_t k, int64_t n_rows) const { return ggml_row_size(type, k)*n_rows; }
    // Of what it took when nothing else took the processor's time.
    double typical() {
        std::sort(seconds.begin(), seconds.end());
        return seconds[seconds.size()/4];
    }
};

matrix repeated_matrix(ggml_type type, int64_t k, int64_t n_rows) {
    auto w = random_matrix(type, k, std::min<int64_t>(n_rows, 16), 1);
    const size_t first = w.data.size();
    w.data.resize(w.row_bytes()*n_rows);
    for (size_t at = first; at < w.data.size(); ++at) {
        w.data[at] = w.data[at - first];
    }
    w.n_rows = n_rows;
    return w;
}

// All in turn, a few milliseconds each, over more weights than the caches hold. The first is what the others are compared with.
void bench_shape(int64_t k, int64_t n_rows, int n_threads, int64_t n_columns, const std::string & only) {
    constexpr size_t all_bytes = 300u << 20, graph_bytes = 8u << 20;
    contestant all[] = {
        { "q4_0 repacked", GGML_TYPE_Q4_0, buffer_type("CPU_REPACK"), 0 },
        { "q4_0", GGML_TYPE_Q4_0, packed(), 0 }, { "i3_0", k_i3_0, packed(), 0 }, { "s24_0", k_s24_0, packed(), 0 },
        { "q5_0", GGML_TYPE_Q5_0, packed(), 0 }, { "q5_0 in place", GGML_TYPE_Q5_0, nullptr, STEERWAY_KERNEL_MATMUL },
        { "q4_1", GGML_TYPE_Q4_1, packed(), 0 }, { "q8_0", GGML_TYPE_Q8_0, packed(), 0 }, { "q8_0 stock", GGML_TYPE_Q8_0, nullptr, 0 },
        { "q4_k", GGML_TYPE_Q4_K, packed(), 0 }, { "q4_k stock", GGML_TYPE_Q4_K, buffer_type("CPU_REPACK"), 0 },
        { "q6_k", GGML_TYPE_Q6_K, packed(), 0 }, { "q6_k stock", GGML_TYPE_Q6_K, nullptr, 0 },
    };
    const auto x = random_floats(k*n_columns, 2);
    size_t n_graphs = 0;
    for (auto & c : all) {
        if (k % ggml_blck_size(c.type) != 0 || (!only.empty() && &c != all && only.find(std::string(",") + c.name + ",") == std::string::npos)) {
            continue;
        }
        const auto w = repeated_matrix(c.type, k, n_rows);
        const int n_copies = (int) std::max<size_t>(1, graph_bytes/w.data.size());
        for (size_t i = 0; i < std::max<size_t>(2, all_bytes/(n_copies*w.data.size())); ++i) {
            c.graphs.emplace_back(new products(w, x.data(), n_columns, n_copies, 0, c.of_weights));
        }
        n_graphs = std::max(n_graphs, c.graphs.size());
    }
    const auto start = std::chrono::steady_clock::now();
    for (size_t turn = 0; turn < n_graphs || std::chrono::steady_clock::now() - start < std::chrono::seconds(4); ++turn) {
        for (auto & c : all) {
            if (!c.graphs.empty()) {
                const size_t n_copies = std::max<size_t>(1, graph_bytes/c.bytes(k, n_rows));
                c.seconds.push_back(c.graphs[turn % c.graphs.size()]->seconds(c.kernels, n_threads)/n_copies);
            }
        }
    }
    for (auto & c : all) {
        if (!c.graphs.empty()) {
            std::printf("| %lld x %lld | %d | %lld | %-13s | %6.1f | %5.1f | %5.2f |\n", (long long) k, (long long) n_rows, n_threads,
                (long long) n_columns, c.name, 1e12*c.typical()/((double) k*n_rows), 1e-9*c.bytes(k, n_rows)/c.typical(),
                all[0].typical()/c.typical());
        }
    }
    std::fflush(stdout);
}

void bench(int threads, int shape, int64_t n_columns, const std::string & only) {
    constexpr int64_t shapes[][2] = { { 896, 4864 }, { 4864, 896 }, { 896, 896 }, { 1536, 8960 }, { 4096, 14336 }, { 896, 151936 } };
    ggml_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    for (const int n_threads : { 1, 2 }) {
        std::printf("memory, %d threads: %.1f GB/s\n", n_threads, reading().speed(n_threads));
    }
    std::printf("| shape | threads | columns | type | ns per 1,000 weights | GB/s | times |\n");
    for (const int n_threads : { 1, 2 }) {
        for (int i = 0; i < 6; ++i) {
            if ((threads == 0 || threads == n_threads) && (shape < 0 || shape == i)) {
                bench_shape(shapes[i][0], shapes[i][1], n_threads, n_columns, only);
            }
        }
    }
}

} // namespace

int main(int argc, char ** argv) {
    if ((steerway_kernels() & STEERWAY_KERNEL_PACKED) != 0) {
        if (argc > 1 && std::strcmp(argv[1], "--bench") == 0) {
            bench(argc > 2 ? std::atoi(argv[2]) : 0, argc > 3 ? std::atoi(argv[3]) : -1, argc > 4 ? std::atoi(argv[4]) : 1,
                argc > 5 ? std::string(",") + argv[5] + "," : "");
            return 0;
        }
        test();
    }
    std::printf("%d failed\n", failures);
    return failures > 0;
}
