# Included by the patched ggml-cpu/CMakeLists.txt where a variant of the CPU back end collects its sources.

list(APPEND GGML_CPU_SOURCES
    ggml-cpu/steerway/steerway-cpu.cpp
    ggml-cpu/steerway/steerway-cpu-attention.cpp
    ggml-cpu/steerway/steerway-cpu-buffer.cpp
    ggml-cpu/steerway/steerway-cpu-heads.cpp
    ggml-cpu/steerway/steerway-cpu-matmul.cpp
    ggml-cpu/steerway/steerway-cpu-measure.cpp
    ggml-cpu/steerway/steerway-cpu-packed.cpp
    ggml-cpu/steerway/steerway-cpu-types.c)
