// The C API of native/src/steerway.h, without Python: what a C++ caller sees.
// Usage: test_shift MODEL.gguf. Prints each failed check; exit code 1 if there is one.

#include "steerway.h"

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

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

context_ptr open(llama_model * model, ggml_type type_k = GGML_TYPE_F16) {
    auto params = llama_context_default_params();
    params.n_ctx           = 256;
    params.n_seq_max       = 2;
    params.kv_unified      = true;
    params.type_k          = type_k;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.n_threads       = 2;
    params.n_threads_batch = 2;
    return context_ptr(llama_init_from_model(model, params));
}

// Decodes n tokens at positions from pos; the logits of the last one.
std::vector<float> decode(llama_context * ctx, int n, llama_pos pos, llama_seq_id seq = 0) {
    auto batch = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; ++i) {
        batch.token[i]     = 100 + 7*i;
        batch.pos[i]       = pos + i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = seq;
        batch.logits[i]    = i == n - 1;
    }
    batch.n_tokens = n;
    CHECK(llama_decode(ctx, batch) == 0);
    llama_batch_free(batch);

    const auto * vocab = llama_model_get_vocab(llama_get_model(ctx));
    const float * row = llama_get_logits_ith(ctx, -1);
    return std::vector<float>(row, row + llama_vocab_n_tokens(vocab));
}

std::vector<uint8_t> state(llama_context * ctx) {
    std::vector<uint8_t> res(llama_state_seq_get_size(ctx, 0));
    CHECK(llama_state_seq_get_data(ctx, res.data(), res.size(), 0) == res.size());
    return res;
}

bool same(const std::vector<float> & a, const std::vector<float> & b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()*sizeof(float)) == 0;
}

void test_without_a_context() {
    CHECK(steerway_api_version() == STEERWAY_API_VERSION);
    CHECK(std::string(steerway_version()).find("+steerway.") != std::string::npos);
    CHECK(steerway_features() & STEERWAY_RANGED_SHIFT);
    CHECK(std::string(steerway_feature_name(STEERWAY_RANGED_SHIFT)) == "ranged-shift");
    CHECK(steerway_feature_name(1u << 31) == nullptr);
    CHECK(steerway_set_features(nullptr, 0) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_get_features(nullptr) == 0);
    CHECK(steerway_kv_shift_range(nullptr, 0, 0, 1, 1) == STEERWAY_BAD_ARGUMENT);
    for (int status = STEERWAY_INTERNAL - 1; status <= 1; ++status) {
        CHECK(std::strlen(steerway_status_text(status)) > 1);
    }
}

void test_switches(llama_model * model) {
    auto ctx = open(model);
    CHECK(steerway_get_features(ctx.get()) == 0);
    CHECK(steerway_set_features(ctx.get(), 1u << 31) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_set_features(ctx.get(), STEERWAY_RANGED_SHIFT) == STEERWAY_OK);
    CHECK(steerway_get_features(ctx.get()) == STEERWAY_RANGED_SHIFT);
    CHECK(steerway_set_features(ctx.get(), 0) == STEERWAY_OK);
    CHECK(steerway_get_features(ctx.get()) == 0);
}

void test_ranged_equals_full(llama_model * model, ggml_type type_k) {
    std::vector<std::vector<uint8_t>> states;
    std::vector<std::vector<float>> logits;
    for (const uint32_t mask : { 0u, (uint32_t) STEERWAY_RANGED_SHIFT }) {
        auto ctx = open(model, type_k);
        steerway_set_features(ctx.get(), mask);
        decode(ctx.get(), 40, 0);
        CHECK(steerway_kv_shift_range(ctx.get(), 0, 10, -1, 5) == 30);
        CHECK(steerway_kv_shift_range(ctx.get(), 0, 20, 30, -2) == 10);
        states.push_back(state(ctx.get()));
        logits.push_back(decode(ctx.get(), 1, 45));
    }
    CHECK(states[0] == states[1]);
    CHECK(same(logits[0], logits[1]));
}

// A shift there and back restores f32 keys up to rounding, and the decode graph goes on being reused.
void test_between_decodes(llama_model * model) {
    auto ctx = open(model, GGML_TYPE_F32);
    steerway_set_features(ctx.get(), STEERWAY_RANGED_SHIFT);
    decode(ctx.get(), 40, 0);
    for (int i = 0; i < 20; ++i) {
        CHECK(steerway_kv_shift_range(ctx.get(), 0, 10, -1, 1) == 30 + i);
        decode(ctx.get(), 1, 41 + 2*i);
    }
    CHECK(llama_perf_context(ctx.get()).n_reused > 10);
}

void test_refusals_change_nothing(llama_model * model) {
    auto ctx = open(model);
    steerway_set_features(ctx.get(), STEERWAY_RANGED_SHIFT);
    decode(ctx.get(), 20, 0);
    llama_memory_seq_cp(llama_get_memory(ctx.get()), 0, 1, 0, 5);
    const auto before = state(ctx.get());
    CHECK(steerway_kv_shift_range(ctx.get(), -1, 0, -1, 1) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_shift_range(ctx.get(), 1 << 20, 0, -1, 1) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_shift_range(ctx.get(), 0, 9, 8, 1) == STEERWAY_BAD_ARGUMENT);
    CHECK(steerway_kv_shift_range(ctx.get(), 0, 0, 10, 1) == STEERWAY_SHARED_CELLS);
    CHECK(steerway_kv_shift_range(ctx.get(), 0, 10, -1, -11) == STEERWAY_BAD_POSITION);
    CHECK(steerway_kv_shift_range(ctx.get(), 0, 10, -1, INT32_MAX) == STEERWAY_BAD_POSITION);
    CHECK(steerway_kv_shift_range(ctx.get(), 0, 10, -1, INT32_MIN) == STEERWAY_BAD_POSITION);
    CHECK(steerway_kv_shift_range(ctx.get(), 0, 10, 10, 1) == 0);
    CHECK(state(ctx.get()) == before);
}

// A new context may get the address of a freed one, but not its switches.
void test_switches_end_with_their_context(llama_model * model) {
    for (int i = 0; i < 8; ++i) {
        auto ctx = open(model);
        CHECK(steerway_get_features(ctx.get()) == 0);
        steerway_set_features(ctx.get(), STEERWAY_RANGED_SHIFT);
    }
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

    test_without_a_context();
    test_switches(model);
    test_ranged_equals_full(model, GGML_TYPE_F16);
    test_ranged_equals_full(model, GGML_TYPE_Q8_0);
    test_between_decodes(model);
    test_refusals_change_nothing(model);
    test_switches_end_with_their_context(model);

    llama_model_free(model);
    std::printf("%d failed\n", failures);
    return failures != 0;
}
