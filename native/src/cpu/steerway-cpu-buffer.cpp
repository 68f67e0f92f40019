#include "steerway-cpu-buffer.h"

#include "steerway-cpu-packed.h"

#include "ggml-backend-impl.h"
#include "ggml-cpu.h"

#include <cstring>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

// Other tensors than these lie in the buffer as they are; no product takes them, and nothing puts them there.
bool is_packed(const ggml_tensor * tensor) {
    return tensor->view_src == nullptr && tensor->ne[2] == 1 && tensor->ne[3] == 1 && steerway_packed_has(tensor->type)
        && ggml_is_contiguous(tensor);
}

std::vector<uint8_t> unpacked(const ggml_tensor * tensor) {
    std::vector<uint8_t> rows(ggml_nbytes(tensor));
    steerway_packed_unpack(tensor, tensor->data, rows.data());
    return rows;
}

void set_tensor(ggml_backend_buffer_t, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    if (!is_packed(tensor)) {
        memcpy((char *) tensor->data + offset, data, size);
    } else if (size == ggml_nbytes(tensor)) {
        steerway_packed_pack(tensor, data, tensor->data);
    } else {
        auto rows = unpacked(tensor);
        memcpy(rows.data() + offset, data, size);
        steerway_packed_pack(tensor, rows.data(), tensor->data);
    }
}

void get_tensor(ggml_backend_buffer_t, const ggml_tensor * tensor, void * data, size_t offset, size_t size) {
    if (!is_packed(tensor)) {
        memcpy(data, (const char *) tensor->data + offset, size);
    } else if (size == ggml_nbytes(tensor)) {
        steerway_packed_unpack(tensor, tensor->data, data);
    } else {
        const auto rows = unpacked(tensor);
        memcpy(data, rows.data() + offset, size);
    }
}

void memset_tensor(ggml_backend_buffer_t buffer, ggml_tensor * tensor, uint8_t value, size_t offset, size_t size) {
    const std::vector<uint8_t> data(size, value);
    set_tensor(buffer, tensor, data.data(), offset, size);
}

} // namespace

ggml_backend_buffer_t steerway_buffer_new(ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size);
    if (buffer == nullptr) {
        return nullptr;
    }
    buffer->buft                = type;
    buffer->iface.set_tensor    = set_tensor;
    buffer->iface.get_tensor    = get_tensor;
    buffer->iface.memset_tensor = memset_tensor;
    buffer->iface.cpy_tensor    = nullptr; // through get and set
    return buffer;
}

size_t steerway_buffer_alloc_size(ggml_backend_buffer_type_t, const ggml_tensor * tensor) {
    return is_packed(tensor) ? steerway_packed_bytes(tensor) : ggml_nbytes(tensor);
}
