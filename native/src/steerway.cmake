# Included by the patched src/CMakeLists.txt, after target `llama` exists.

set(STEERWAY_SOURCES
    steerway.cpp
    steerway-attention.cpp
    steerway-heads.cpp
    steerway-kernels.cpp
    steerway-kv-plain.cpp
    steerway-kv-rows.cpp
    steerway-kv-shift.cpp
    steerway-rotation.cpp
    steerway-switches.cpp)
target_sources(llama PRIVATE ${STEERWAY_SOURCES})
set_source_files_properties(steerway-heads.cpp PROPERTIES INCLUDE_DIRECTORIES ${CMAKE_CURRENT_SOURCE_DIR}/../ggml/src)
set_source_files_properties(${STEERWAY_SOURCES} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)

# The stock library, for the bit-identity test: the unpatched sources in place of the patched ones (the build back end
# puts them in steerway-stock/), all other objects shared with `llama`. Never installed.
file(GLOB STEERWAY_STOCK_SOURCES steerway-stock/*.cpp)
set(STEERWAY_REPLACED "/steerway[-a-z]*[.]cpp[.]")
foreach(source ${STEERWAY_STOCK_SOURCES})
    get_filename_component(name ${source} NAME)
    string(REPLACE "." "[.]" name ${name})
    string(APPEND STEERWAY_REPLACED "|/${name}[.]")
endforeach()

add_library(llama-stock SHARED ${STEERWAY_STOCK_SOURCES}
    $<FILTER:$<TARGET_OBJECTS:llama>,EXCLUDE,${STEERWAY_REPLACED}>)
set_target_properties(llama-stock PROPERTIES
    OUTPUT_NAME llama
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/steerway-stock
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/steerway-stock
    POSITION_INDEPENDENT_CODE ON
    INSTALL_RPATH "$<IF:$<PLATFORM_ID:Darwin>,@loader_path,$ORIGIN>" # runs beside a copy of the ggml libraries
    BUILD_WITH_INSTALL_RPATH ON)
target_include_directories(llama-stock PRIVATE . ${CMAKE_CURRENT_BINARY_DIR} PUBLIC ../include)
target_compile_features(llama-stock PRIVATE cxx_std_17)
target_compile_definitions(llama-stock PRIVATE LLAMA_BUILD PUBLIC LLAMA_SHARED)
target_link_libraries(llama-stock PUBLIC ggml)
