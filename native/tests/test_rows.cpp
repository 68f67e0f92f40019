// Rows, loose positions and the mask's bias, without Python: what a C++ caller sees.
// Usage: test_rows MODEL.gguf. Prints each failed check; exit code 1 if there is one.

#include "steerway.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace {

constexpr uint32_t k_all = STEERWAY_LOOSE_POSITIONS | STEERWAY_MASK_BIAS | STEERWAY_KV_ROWS;

int failures = 0;

void check(bool ok, const char * what, int line) {
    if (!ok) {
        std::fprintf(stderr, "line %d: not true: %s\n", line, what);
        ++failures;
    }
}

#define CHECK(x) check((x), #x, __LINE__)

struct context_deleter {
    void operator()(llama_context * ctx) const { llama_free(ctx); }
};
using context_ptr = std::unique_ptr<llama_context, context_deleter>;

context_ptr open(llama_model * model, uint32_t mask = k_all, ggml_type type_k = GGML_TYPE_F16) {
    auto params = llama_context_default_params();
    params.n_ctx           = 256;
    params.n_seq_max       = 2;
    params.kv_unified      = true;
    params.type_k          = type_k;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.n_threads       = 2;
    params.n_threads_batch = 2;
    context_ptr ctx(llama_init_from_model(model, params));
    CHECK(steerway_set_features(ctx.get(), mask) == STEERWAY_OK);
    return ctx;
}

// Decodes tokens [first, first + n) of a text at positions from pos; llama_decode's status.
int decode(llama_context * ctx, int first, int n, llama_pos pos, llama_seq_id seq = 0) {
    auto batch = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; ++i) {
        batch.token[i]     = 100 + 7*(first + i);
        batch.pos[i]       = pos + i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = seq;
        batch.logits[i]    = i == n - 1;
    }
    batch.n_tokens = n;
    const int status = llama_decode(ctx, batch);
    llama_batch_free(batch);
    return status;
}

std::vector<float> logits(llama_context * ctx) {
    const auto * vocab = llama_model_get_vocab(llama_get_model(ctx));
    const float * row = llama_get_logits_ith(ctx, -1);
    return std::vector<float>(row, row + llama_vocab_n_tokens(vocab));
}

bool same(const std::vector<float> & a, const std::vector<float> & b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()*sizeof(float)) == 0;
}

void remove(llama_context * ctx, llama_pos p0, llama_seq_id seq = 0) {
    llama_memory_seq_rm(llama_get_memory(ctx), seq, p0, -1);
}

std::vector<uint8_t> read(llama_context * ctx, llama_pos p0, llama_pos p1, llama_seq_id seq = 0, ggml_type type = GGML_TYPE_F16) {
    std::vector<uint8_t> rows(steerway_kv_row_bytes(ctx, type)*(p1 - p0));
    CHECK(steerway_kv_read(ctx, seq, p0, p1, type, rows.data(), rows.size()) == p1 - p0);
    return rows;
}

int32_t write(llama_context * ctx, const std::vector<uint8_t> & rows, llama_pos p0, int n, int n_src, llama_pos delta, llama_seq_id seq = 0) {
    return steerway_kv_write(ctx, seq, p0, n, 0, n_src, delta, 1.0f, GGML_TYPE_F16, rows.data(), rows.size());
}

void test_layers_and_sizes(llama_model * model) {
    auto ctx = open(model);
    const int32_t n = steerway_kv_layers(ctx.get(), nullptr, 0);
    CHECK(n == llama_model_n_layer(model));
    std::vector<steerway_kv_layer> layers(n);
    CHECK(steerway_kv_layers(ctx.get(), layers.data(), n) == n);
    int64_t bytes = 0;
    for (const auto & layer : layers) {
        bytes += 2*(layer.k_width + layer.v_width);
        CHECK(layer.rope_type == llama_model_rope_type(model));
        CHECK(layer.k_type == GGML_TYPE_F16);
        CHECK(layer.k_width % layer.k_head == 0);
    }
    CHECK(steerway_kv_row_bytes(ctx.get(), GGML_TYPE_F16) == bytes);
    CHECK(steerway_kv_row_bytes(ctx.get(), GGML_TYPE_Q8_0) == bytes/64*34);
    CHECK(steerway_kv_row_bytes(ctx.get(), GGML_TYPE_F32) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_free_cells(ctx.get()) == 256);
}

void test_there_and_back(llama_model * model) {
    auto ctx = open(model);
    CHECK(decode(ctx.get(), 0, 40, 0) == 0);
    const auto rows = read(ctx.get(), 0, 40);
    CHECK(decode(ctx.get(), 40, 8, 40) == 0);
    const auto expected = logits(ctx.get());
    remove(ctx.get(), 0);
    CHECK(write(ctx.get(), rows, 0, 40, 40, 0) == 40);
    CHECK(steerway_kv_free_cells(ctx.get()) == 216);
    CHECK(read(ctx.get(), 0, 40) == rows);
    CHECK(decode(ctx.get(), 40, 8, 40) == 0);
    CHECK(same(logits(ctx.get()), expected));
}

// Moving by a and then by b is moving by a + b, up to the rounding of f16 in between; there and back is staying.
void test_rotations_add_up(llama_model * model) {
    auto ctx = open(model);
    decode(ctx.get(), 0, 20, 0);
    const auto rows = read(ctx.get(), 0, 20);
    CHECK(write(ctx.get(), rows, 100, 20, 20, 100) == 20);
    const auto there = read(ctx.get(), 100, 120);
    CHECK(there != rows);
    CHECK(write(ctx.get(), there, 200, 20, 20, -100) == 20);
    const auto back = read(ctx.get(), 200, 220);
    const auto * a = (const ggml_fp16_t *) rows.data();
    const auto * b = (const ggml_fp16_t *) back.data();
    float worst = 0.0f;
    for (size_t i = 0; i < rows.size()/2; ++i) {
        worst = std::fmax(worst, std::fabs(ggml_fp16_to_fp32(a[i]) - ggml_fp16_to_fp32(b[i])));
    }
    CHECK(worst > 0.0f);
    CHECK(worst < 0.02f);
}

void test_loose_positions(llama_model * model) {
    auto ctx = open(model, STEERWAY_LOOSE_POSITIONS);
    CHECK(decode(ctx.get(), 0, 20, 0) == 0);
    CHECK(decode(ctx.get(), 30, 10, 30) == 0);
    CHECK(decode(ctx.get(), 20, 10, 20) == 0);
    const auto loose = logits(ctx.get());

    auto strict = open(model, 0);
    CHECK(decode(strict.get(), 0, 20, 0) == 0);
    CHECK(decode(strict.get(), 30, 10, 30) != 0);
    CHECK(decode(strict.get(), 20, 10, 20) == 0);
    CHECK(same(logits(strict.get()), loose));
}

void test_bias(llama_model * model) {
    auto ctx = open(model);
    decode(ctx.get(), 0, 40, 0);
    CHECK(steerway_set_bias(ctx.get(), 10, 30, 0.0f) == STEERWAY_OK);
    decode(ctx.get(), 40, 4, 40);
    const auto off = logits(ctx.get());
    remove(ctx.get(), 40);
    CHECK(steerway_set_bias(ctx.get(), 10, 30, 1.0f) == STEERWAY_OK);
    decode(ctx.get(), 40, 4, 40);
    CHECK(!same(logits(ctx.get()), off));
    remove(ctx.get(), 40);
    CHECK(steerway_set_features(ctx.get(), k_all) == STEERWAY_OK); // forgets it
    decode(ctx.get(), 40, 4, 40);
    CHECK(same(logits(ctx.get()), off));
    for (const float bias : { NAN, INFINITY, -INFINITY, 10001.0f }) {
        CHECK(steerway_set_bias(ctx.get(), 0, 5, bias) == STEERWAY_BAD_ARGUMENT);
    }
    CHECK(steerway_set_bias(ctx.get(), -1, 5, 1.0f) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_set_bias(ctx.get(), 5, 4, 1.0f) == STEERWAY_BAD_ARGUMENT);
}

void test_refusals_change_nothing(llama_model * model) {
    auto ctx = open(model);
    decode(ctx.get(), 0, 20, 0);
    const auto rows = read(ctx.get(), 0, 20);
    const auto size = rows.size();
    std::vector<uint8_t> out(size);

    const auto put = [&](llama_seq_id seq, llama_pos p0, int n, int first, int n_src, llama_pos delta, float scale, int type, const void * src, size_t bytes) {
        return steerway_kv_write(ctx.get(), seq, p0, n, first, n_src, delta, scale, (ggml_type) type, src, bytes);
    };
    const int f16 = GGML_TYPE_F16;
    CHECK(put(-1, 20, 20, 0, 20, 0, 1, f16, rows.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(1 << 20, 20, 20, 0, 20, 0, 1, f16, rows.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, -1, 20, 0, 20, 0, 1, f16, rows.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, INT32_MAX - 10, 20, 0, 20, 0, 1, f16, rows.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, 20, -1, 0, 20, 0, 1, f16, rows.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, 20, 20, 1, 20, 0, 1, f16, rows.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, 20, INT32_MAX, INT32_MAX, 20, 0, 1, f16, rows.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, 20, 20, 0, 20, 0, 0, f16, rows.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, 20, 20, 0, 20, 0, NAN, f16, rows.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, 20, 20, 0, 20, 0, 1, 12345, rows.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, 20, 20, 0, 20, 0, 1, f16, nullptr, size) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, 20, 20, 0, 20, 0, 1, f16, rows.data(), size - 2) == STEERWAY_BAD_ARGUMENT);
    CHECK(put(0, 20, 20, 0, 20, 0, 1, f16, rows.data() + 1, size) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_read(ctx.get(), 0, 5, 4, GGML_TYPE_F16, out.data(), 0) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_read(ctx.get(), 0, -1, 4, GGML_TYPE_F16, out.data(), size) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_read(ctx.get(), 0, 0, 20, GGML_TYPE_F16, out.data(), size + 1) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_read(ctx.get(), 0, 0, 20, GGML_TYPE_F16, nullptr, size) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_read(ctx.get(), 0, 1, 21, GGML_TYPE_F16, out.data(), size) == STEERWAY_NOT_ONCE);
    CHECK(steerway_kv_read(ctx.get(), 1, 0, 20, GGML_TYPE_F16, out.data(), size) == STEERWAY_NOT_ONCE);
    CHECK(read(ctx.get(), 0, 20) == rows);
    CHECK(steerway_kv_free_cells(ctx.get()) == 236);

    for (int p0 = 20; p0 < 240; p0 += 20) {
        CHECK(put(0, p0, 20, 0, 20, 0, 1, f16, rows.data(), size) == 20);
    }
    CHECK(put(0, 240, 20, 0, 20, 0, 1, f16, rows.data(), size) == STEERWAY_NO_ROOM);
    CHECK(put(0, 240, 16, 0, 20, 0, 1, f16, rows.data(), size) == 16);
}

void test_other_contexts_are_refused(llama_model * model) {
    std::vector<uint8_t> rows(16);
    for (const uint32_t mask : { 0u, (uint32_t) STEERWAY_RANGED_SHIFT, (uint32_t) STEERWAY_LOOSE_POSITIONS }) {
        auto ctx = open(model, mask);
        CHECK(steerway_kv_read(ctx.get(), 0, 0, 0, GGML_TYPE_F16, rows.data(), 0) == STEERWAY_SWITCHED_OFF);
        CHECK(write(ctx.get(), {}, 0, 0, 0, 0) == STEERWAY_SWITCHED_OFF);
        CHECK(steerway_set_bias(ctx.get(), 0, 0, 0.0f) == STEERWAY_SWITCHED_OFF);
    }
    auto quantised = open(model, k_all, GGML_TYPE_Q8_0);
    CHECK(steerway_kv_row_bytes(quantised.get(), GGML_TYPE_F16) == STEERWAY_CELL_TYPE);
    CHECK(write(quantised.get(), {}, 0, 0, 0, 0) == STEERWAY_CELL_TYPE);
    CHECK(steerway_kv_row_bytes(nullptr, GGML_TYPE_F16) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_free_cells(nullptr) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_layers(nullptr, nullptr, 0) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_layers(quantised.get(), nullptr, 1) == STEERWAY_BAD_ARGUMENT);
}

} // namespace

int main(int argc, char ** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s MODEL.gguf\n", argv[0]);
        return 2;
    }

    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    auto * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) {
        std::fprintf(stderr, "%s does not load\n", argv[1]);
        return 2;
    }

    test_layers_and_sizes(model);
    test_there_and_back(model);
    test_rotations_add_up(model);
    test_loose_positions(model);
    test_bias(model);
    test_refusals_change_nothing(model);
    test_other_contexts_are_refused(model);

    llama_model_free(model);
    std::printf("%d failed\n", failures);
    return failures != 0;
}
