# How a room of the house becomes a target: mmu_library() and mmu_test() set the
# include root (the source tree), the warnings and the tools that are present.
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Dependency files in place of a second preprocessor run; the rest lets it cache precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_DEPEND=1
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_library(mmu_flags INTERFACE)
target_include_directories(mmu_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(mmu_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion
  -Wno-sign-conversion -Wnon-virtual-dtor -Wimplicit-fallthrough)
if(MMUCHECK_WERROR)
  # GCC 12 warns of its own inlined library code at -O3; these stay warnings.
  target_compile_options(mmu_flags INTERFACE -Werror -Wno-error=array-bounds
    -Wno-error=maybe-uninitialized -Wno-error=restrict -Wno-error=stringop-overflow
    -Wno-error=stringop-overread)
endif()

# For code where a run spends no time but a build does: programs, writers, tests. Optimizing what
# CLI11, GoogleTest and nlohmann-json inline took two thirds of a cold build.
add_library(mmu_edge INTERFACE)
target_compile_options(mmu_edge INTERFACE $<$<NOT:$<CONFIG:Debug>>:-O1> $<$<NOT:$<CONFIG:Debug>>:-g1>)
# With sanitizers (the presets asan and tsan) their build takes twice as long as their tests.
target_compile_options(mmu_edge INTERFACE $<$<CONFIG:RelWithDebInfo>:-O0>)

# For rooms that run under ASan only as what mmucheck-fuzz is linked with: a build at -O1 took
# longer than all their tests. ThreadSanitizer is for long explorations and keeps -O1.
add_library(mmu_fuzzed INTERFACE)
if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=address")
  target_compile_options(mmu_fuzzed INTERFACE -O0)
endif()

# mmu_precompiled(name DEPS... HEADERS...): headers that many edge targets include, parsed once.
function(mmu_precompiled name)
  cmake_parse_arguments(ARG "" "" "DEPS;HEADERS" ${ARGN})
  set(empty ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  file(CONFIGURE OUTPUT ${empty} CONTENT "")
  add_library(${name} OBJECT ${empty})
  target_link_libraries(${name} PRIVATE mmu_flags mmu_edge ${ARG_DEPS})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()

# mmu_program(target...): edge targets that include CLI11.
function(mmu_program)
  foreach(target ${ARGN})
    target_link_libraries(${target} PRIVATE mmu_flags mmu_edge)
    target_precompile_headers(${target} REUSE_FROM mmu_cli_headers)
  endforeach()
endfunction()

# mmu_library(name SOURCES... [DEPS targets...] [EDGE] [FUZZED] [UNITY]); no sources: a header-only
# room.
function(mmu_library name)
  cmake_parse_arguments(ARG "EDGE;FUZZED;UNITY" "" "SOURCES;DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC mmu_flags ${ARG_DEPS})
    if(ARG_EDGE)
      target_link_libraries(${name} PRIVATE mmu_edge)
    endif()
    if(ARG_FUZZED)
      target_link_libraries(${name} PRIVATE mmu_fuzzed)
    endif()
    if(ARG_UNITY AND MMUCHECK_UNITY)
      set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 5)
    endif()
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE mmu_flags ${ARG_DEPS})
  endif()
endfunction()

# The programs that also run under ASan in CI, where bytes from outside enter: see mmu_test().
add_custom_target(asan_tests)

# mmu_test(name SOURCES... [DEPS targets...] [LABELS l...] [TIMEOUT s] [UNITY] [PLAIN]): one
# GoogleTest program, one ctest. Tests of readers, importers and the model get the label `asan` by
# where they stand. UNITY is for files that make the same templates: most of their time is that.
# PLAIN: not under ASan, for rules of values that other tests run there.
function(mmu_test name)
  cmake_parse_arguments(ARG "UNITY;PLAIN" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_UNITY AND MMUCHECK_UNITY)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
  endif()
  target_link_libraries(${name} PRIVATE mmu_flags mmu_edge ${ARG_DEPS} GTest::gtest GTest::gtest_main)
  target_precompile_headers(${name} REUSE_FROM mmu_test_headers)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(CMAKE_BUILD_TYPE STREQUAL "Debug")  # not optimized: mutants of obligations are built so
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 5")
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY ${CMAKE_SOURCE_DIR}
    OUTPUT_VARIABLE room)
  if(room MATCHES "^(model|checker/trace|tools/import)(/|$)" AND NOT ARG_PLAIN)
    list(APPEND ARG_LABELS asan)
    list(REMOVE_DUPLICATES ARG_LABELS)
    add_dependencies(asan_tests ${name})
  endif()
  if(ARG_LABELS)
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
  endif()
endfunction()
