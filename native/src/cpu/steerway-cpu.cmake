# Included by the patched ggml-cpu/CMakeLists.txt where a variant of the CPU back end collects its sources.

list(APPEND GGML_CPU_SOURCES
    ggml-cpu/steerway/steerway-cpu.cpp
    ggml-cpu/steerway/steerway-cpu-attention.cpp
    ggml-cpu/steerway/steerway-cpu-matmul.cpp)
