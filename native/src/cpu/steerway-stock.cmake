# Included by the patched ggml-cpu/CMakeLists.txt once the CPU back end's target has all its sources and flags.
#
# The stock CPU back end, for the bit-identity test: the unpatched sources in place of the patched ones and ours, all other
# objects shared. Never installed.

if (GGML_CPU_NAME STREQUAL "ggml-cpu" AND NOT GGML_BACKEND_DL)
    file(GLOB STEERWAY_STOCK_CPU ggml-cpu/steerway-stock/*.c ggml-cpu/steerway-stock/*.cpp)
    set(STEERWAY_REPLACED_CPU "/steerway-cpu[-a-z0-9]*[.]c(pp)?[.]")
    foreach(source ${STEERWAY_STOCK_CPU})
        get_filename_component(name ${source} NAME)
        string(REPLACE "." "[.]" name ${name})
        string(APPEND STEERWAY_REPLACED_CPU "|/${name}[.]")
    endforeach()
    if (NOT MSVC) # types that they do not know
        set_source_files_properties(${STEERWAY_STOCK_CPU} PROPERTIES COMPILE_OPTIONS -Wno-switch)
    endif()
    add_library(ggml-cpu-stock SHARED ${STEERWAY_STOCK_CPU}
        $<FILTER:$<TARGET_OBJECTS:ggml-cpu>,EXCLUDE,${STEERWAY_REPLACED_CPU}>)
    foreach (property COMPILE_OPTIONS COMPILE_DEFINITIONS INCLUDE_DIRECTORIES LINK_LIBRARIES COMPILE_FEATURES)
        set_target_properties(ggml-cpu-stock PROPERTIES ${property} "$<TARGET_PROPERTY:ggml-cpu,${property}>")
    endforeach()
    set_target_properties(ggml-cpu-stock PROPERTIES
        OUTPUT_NAME ggml-cpu
        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/steerway-stock
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/steerway-stock
        POSITION_INDEPENDENT_CODE ON
        INSTALL_RPATH "$<IF:$<PLATFORM_ID:Darwin>,@loader_path,$ORIGIN>" # runs beside copies of the other libraries
        BUILD_WITH_INSTALL_RPATH ON)
endif()
