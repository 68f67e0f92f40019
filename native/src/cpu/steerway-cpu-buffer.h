// Buffers of packed weights.

#pragma once

#include "ggml-backend.h"

// A buffer of the type, in which tensors of packed types are packed as they are written. NULL without memory.
ggml_backend_buffer_t steerway_buffer_new(ggml_backend_buffer_type_t type, size_t size);

size_t steerway_buffer_alloc_size(ggml_backend_buffer_type_t type, const ggml_tensor * tensor);
