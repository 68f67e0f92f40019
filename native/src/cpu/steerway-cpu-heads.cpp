#include "steerway-cpu-heads.h"

#include "ggml-cpu-impl.h"
#include "simd-mappings.h"

#include <atomic>
#include <cstring>

namespace {

std::atomic<uint64_t> g_done{0};
std::atomic<uint64_t> g_skipped{0};

const float * table_row(const ggml_tensor * table, int64_t i) {
    return (const float *) ((const char *) table->data + i*table->nb[1]);
}

bool is_computed(const float * row) {
    return (int) row[STEERWAY_TABLE_MODE] == STEERWAY_MODE_REWEIGHT;
}

// out += weight*V[cell] of one key head; nothing for a cell that is not there.
void add_row(float * out, const ggml_tensor * v, int64_t key_head, int32_t cell, float weight) {
    if (cell < 0 || cell >= v->ne[1] || weight == 0.0f) {
        return;
    }
    const auto * row = (const ggml_fp16_t *) ((const char *) v->data + cell*v->nb[1] + key_head*v->nb[2]);
    for (int64_t i = 0; i < v->ne[0]; i++) {
        out[i] += weight*GGML_CPU_FP16_TO_FP32(row[i]);
    }
}

void write_head(ggml_tensor * op, const float * row, const int32_t * cells, int64_t token) {
    const ggml_tensor * v = op->src[2];
    const int64_t head     = (int64_t) row[STEERWAY_TABLE_HEAD];
    const int64_t key_head = head/(op->src[0]->ne[2]/op->src[1]->ne[2]);
    float *       out      = (float *) ((char *) op->data + head*op->nb[1] + token*op->nb[2]);
    const int32_t count    = cells[STEERWAY_PLAN_COUNT];
    float         rest     = 1.0f;

    memset(out, 0, v->ne[0]*sizeof(float));
    if (!cells[STEERWAY_PLAN_FIRST]) {
        memcpy(out, row + STEERWAY_TABLE_CONSTANT, v->ne[0]*sizeof(float));
    }
    for (int32_t i = 0; i < count; i++) {
        add_row(out, v, key_head, cells[STEERWAY_PLAN_CELLS + i], row[STEERWAY_TABLE_WEIGHT]/count);
    }
    rest -= count ? row[STEERWAY_TABLE_WEIGHT] : 0.0f;
    if (cells[STEERWAY_PLAN_PREVIOUS] >= 0) {
        add_row(out, v, key_head, cells[STEERWAY_PLAN_PREVIOUS], row[STEERWAY_TABLE_PREVIOUS]);
        rest -= row[STEERWAY_TABLE_PREVIOUS];
    }
    add_row(out, v, key_head, cells[STEERWAY_PLAN_SINK], rest);
}

} // namespace

steerway_head_list::steerway_head_list(const ggml_tensor * op)
    : plan(op->src[STEERWAY_PLAN_OPERAND]), table(op->src[STEERWAY_TABLE_OPERAND]) {
    const int heads = op->src[0]->ne[2];
    const int group = heads/op->src[1]->ne[2];
    bool given[STEERWAY_MOST_HEADS] = {};
    memset(bias, 0, sizeof(bias));
    for (int64_t i = 0; plan && i < table->ne[1]; i++) {
        const float * row  = table_row(table, i);
        const int     head = (int) row[STEERWAY_TABLE_HEAD];
        given[head] = !is_computed(row);
        if (is_computed(row)) {
            bias[head] = row[STEERWAY_TABLE_WEIGHT];
            biased     = biased || bias[head] != 0.0f;
        }
    }
    for (int key_head = 0; key_head < heads/group; key_head++) {
        int n = 0;
        for (int head = key_head*group; head < (key_head + 1)*group; head++) {
            if (!given[head]) {
                computed[key_head*group + n++] = (int16_t) head;
            }
        }
        n_computed[key_head] = (int16_t) n;
    }
}

bool steerway_heads_fit(const ggml_tensor * op) {
    const ggml_tensor * plan  = op->src[STEERWAY_PLAN_OPERAND];
    const ggml_tensor * table = op->src[STEERWAY_TABLE_OPERAND];
    if (op->src[0]->ne[2] > STEERWAY_MOST_HEADS) {
        return false;
    }
    if (!plan) {
        return !table;
    }
    return table && plan->type == GGML_TYPE_I32 && table->type == GGML_TYPE_F32 &&
        plan->ne[0] == STEERWAY_PLAN_WIDTH && plan->ne[1] == op->src[0]->ne[1] &&
        table->ne[0] == STEERWAY_TABLE_CONSTANT + op->src[2]->ne[0] && plan->nb[0] == sizeof(int32_t) && table->nb[0] == sizeof(float);
}

void steerway_gather_heads(ggml_tensor * op, const steerway_head_list & heads, int ith, int nth) {
    const int64_t tokens = op->src[0]->ne[1];
    for (int64_t i = 0; i < heads.table->ne[1]; i++) {
        const float * row = table_row(heads.table, i);
        if (is_computed(row)) {
            continue;
        }
        for (int64_t token = ith; token < tokens; token += nth) {
            write_head(op, row, heads.cells(token), token);
        }
    }
}

void steerway_count_heads(const ggml_tensor * op, const steerway_head_list & heads) {
    uint64_t computed = 0;
    for (int64_t i = 0; i < op->src[1]->ne[2]; i++) {
        computed += heads.n_computed[i];
    }
    const uint64_t each = op->src[0]->ne[1]*op->src[1]->ne[1];
    g_done    += computed*each;
    g_skipped += (op->src[0]->ne[2] - computed)*each;
}

void steerway_cpu_head_counts(uint64_t * done, uint64_t * skipped) {
    *done    = g_done;
    *skipped = g_skipped;
}
