# Included by the patched ggml/src/CMakeLists.txt, after target `ggml-base` exists.

target_sources(ggml-base PRIVATE steerway/steerway-types.c)
if (NOT MSVC)
    # the search for a scale adds up errors: the same bytes on processors that could fuse the product with the sum
    set_source_files_properties(steerway/steerway-types.c PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
endif()

# ggml's base library without our types, for the bit-identity test: the unpatched sources in place of the patched ones
# and ours, all other objects shared. Never installed.
if (BUILD_SHARED_LIBS)
    file(GLOB STEERWAY_STOCK_BASE steerway-stock/*.c steerway-stock/*.cpp)
    set(STEERWAY_REPLACED_BASE "/steerway-types[.]c[.]")
    foreach(source ${STEERWAY_STOCK_BASE})
        get_filename_component(name ${source} NAME)
        string(REPLACE "." "[.]" name ${name})
        string(APPEND STEERWAY_REPLACED_BASE "|/${name}[.]")
    endforeach()

    add_library(ggml-base-stock SHARED ${STEERWAY_STOCK_BASE}
        $<FILTER:$<TARGET_OBJECTS:ggml-base>,EXCLUDE,${STEERWAY_REPLACED_BASE}>)
    foreach (property COMPILE_OPTIONS COMPILE_DEFINITIONS INCLUDE_DIRECTORIES LINK_LIBRARIES COMPILE_FEATURES)
        set_target_properties(ggml-base-stock PROPERTIES ${property} "$<TARGET_PROPERTY:ggml-base,${property}>")
    endforeach()
    set_target_properties(ggml-base-stock PROPERTIES
        OUTPUT_NAME ggml-base
        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/steerway-stock
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/steerway-stock
        POSITION_INDEPENDENT_CODE ON)
endif()
