// Results of products with packed weights through ggml's graphs, as digests that are the same on every processor: weights are
// any bytes, and columns such that ggml quantises them without rounding, since its ways of rounding differ between processors.
// Prints the kernels that there are, a line for each type and shape, then how many checks failed.

#include "../products.h"

namespace {

constexpr ggml_type k_types[] = {
    GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K, (ggml_type) 240, (ggml_type) 241,
};

matrix any_matrix(ggml_type type, int64_t k, int64_t n_rows) {
    std::mt19937 random((uint32_t) (k + n_rows));
    matrix m = { type, k, n_rows, {} };
    m.data.resize(m.row_bytes()*n_rows);
    for (auto & byte : m.data) {
        byte = (uint8_t) random();
    }
    static const uint8_t masks[] = { 0x4, 0x8, 0x9, 0xc, 0xd, 0xe };
    const size_t block = ggml_type_size(type);
    for (size_t at = 0; at < m.data.size(); at += block) {
        const bool two = type == GGML_TYPE_Q4_1 || type == GGML_TYPE_Q4_K;
        for (size_t i = 0; i < (two ? 2 : 1); ++i) {
            const ggml_fp16_t d = ggml_fp32_to_fp16((float) ((int) (random() % 4001) - 2000)/65536.0f);
            std::memcpy(&m.data[at + 2*i + (type == GGML_TYPE_Q6_K ? block - sizeof(d) : 0)], &d, sizeof(d));
        }
        for (size_t i = 2; type == (ggml_type) 240 && i < 10; ++i) {
            m.data[at + i] = (uint8_t) (masks[random() % 6] | masks[random() % 6] << 4);
        }
    }
    return m;
}

// Whole numbers times a power of two; in each 256 of them, and each 32, one is -127 times it.
std::vector<float> exact_columns(int64_t k, int64_t n_columns) {
    std::mt19937 random(3);
    std::vector<float> x(k*n_columns);
    float unit = 1.0f;
    for (size_t i = 0; i < x.size(); ++i) {
        unit = i % 256 == 0 ? std::ldexp(1.0f, -(int) (random() % 8)) : unit;
        x[i] = (i % 32 == 7 ? -127 : (int) (random() % 253) - 126)*unit;
    }
    return x;
}

uint64_t digest(const std::vector<float> & y) {
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    for (const float value : y) {
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof(bits));
        for (int i = 0; i < 4; ++i) {
            hash = (hash ^ (bits >> 8*i & 255))*0x100000001b3;
        }
    }
    return hash;
}

void print_digests(ggml_type type, int64_t k, int64_t n_rows) {
    constexpr int64_t n_columns = 24;
    const auto w = any_matrix(type, k, n_rows);
    const auto x = exact_columns(k, n_columns);
    const auto y = product(w, x.data(), n_columns, 0, 2, 0, buffer_type("CPU_STEERWAY"));
    const std::string where = ggml_type_name(type) + (" " + std::to_string(k)) + "x" + std::to_string(n_rows);
    for (const int64_t n : { 1, 2, 8, 9 }) {
        for (const int n_threads : { 1, 3 }) {
            const auto part = product(w, x.data(), n, 0, n_threads, 0, buffer_type("CPU_STEERWAY"));
            CHECK(same(part.data(), y.data(), part.size()), where + ", columns " + std::to_string(n));
        }
    }
    std::printf("%s %016llx\n", where.c_str(), (unsigned long long) digest(y));
}

} // namespace

int main() {
    std::printf("kernels:");
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        if (steerway_kernels() & bit) {
            std::printf(" %s", steerway_kernel_name(bit));
        }
    }
    std::printf("\n");
    for (const ggml_type type : k_types) {
        print_digests(type, 256, 5);
        print_digests(type, 768, 16);
        print_digests(type, 1792, 83);
    }
    std::printf("%d failed\n", failures);
    return failures > 0;
}
