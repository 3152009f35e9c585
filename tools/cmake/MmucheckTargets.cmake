# How a room of the house becomes a target: mmu_library() and mmu_test() set the
# include root (the source tree), the warnings and the tools that are present.
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
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

# mmu_library(name SOURCES... [DEPS targets...]); no sources: a header-only room.
function(mmu_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC mmu_flags ${ARG_DEPS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE mmu_flags ${ARG_DEPS})
  endif()
endfunction()

# The programs that also run under ASan in CI, where bytes from outside enter: see mmu_test().
add_custom_target(asan_tests)

# mmu_test(name SOURCES... [DEPS targets...] [LABELS l...] [TIMEOUT s]): one GoogleTest program,
# one ctest. Tests of readers, importers and the model get the label `asan` by where they stand.
function(mmu_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE mmu_flags ${ARG_DEPS} GTest::gtest GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY ${CMAKE_SOURCE_DIR}
    OUTPUT_VARIABLE room)
  if(room MATCHES "^(model|checker/trace|tools/import)(/|$)")
    list(APPEND ARG_LABELS asan)
    list(REMOVE_DUPLICATES ARG_LABELS)
    add_dependencies(asan_tests ${name})
  endif()
  if(ARG_LABELS)
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
  endif()
endfunction()
