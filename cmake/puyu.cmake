# puyu_library(NAME DEPS ...): a folder's *.cc become libpuyu_NAME; its *_test.cc become test_NAME.
# DEPS are folders this one may include; tests/check_layers.sh checks the same order in the includes.
set(PUYU_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wno-psabi)
set(PUYU_TEST_WARNINGS -Wno-conversion)
set(PUYU_SAN_FLAGS "")
if(PUYU_SANITIZE)
  set(PUYU_SAN_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=address,undefined)
endif()

if(PUYU_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

function(puyu_flags target)
  target_compile_options(${target} PRIVATE ${PUYU_WARNINGS} ${PUYU_SAN_FLAGS})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/src)
endfunction()

# Sanitized tests run several times slower.
set(PUYU_FAST_TIMEOUT 300)
if(PUYU_SANITIZE)
  set(PUYU_FAST_TIMEOUT 900)
endif()

function(puyu_library name)
  cmake_parse_arguments(A "" "" "DEPS;LIBS;TEST_LIBS;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc *.S)
  list(FILTER sources EXCLUDE REGEX "_(test|bench)\\.cc$")
  foreach(skip ${A_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX "/${skip}$")
  endforeach()
  add_library(puyu_${name} STATIC ${sources})
  puyu_flags(puyu_${name})
  list(TRANSFORM A_DEPS PREPEND puyu_)
  target_link_libraries(puyu_${name} PUBLIC ${A_DEPS} ${A_LIBS} Threads::Threads OpenMP::OpenMP_CXX)

  file(GLOB benches CONFIGURE_DEPENDS *_bench.cc)
  if(PUYU_BENCH AND benches)
    find_package(benchmark REQUIRED)
    add_executable(bench_${name} ${benches})
    puyu_flags(bench_${name})
    target_compile_options(bench_${name} PRIVATE ${PUYU_TEST_WARNINGS})
    target_link_libraries(bench_${name} PRIVATE puyu_${name} benchmark::benchmark)
  endif()

  file(GLOB tests CONFIGURE_DEPENDS *_test.cc)
  if(PUYU_TESTS AND tests)
    find_package(GTest REQUIRED)
    include(GoogleTest)
    add_executable(test_${name} ${tests})
    puyu_flags(test_${name})
    target_compile_options(test_${name} PRIVATE ${PUYU_TEST_WARNINGS})
    target_link_libraries(test_${name} PRIVATE puyu_${name} ${A_TEST_LIBS} GTest::gtest GTest::gtest_main)
    # Only where it is used: the path in every command would make a compiler cache useless from one clone to the next.
    foreach(test ${tests})
      file(STRINGS ${test} uses_source_dir REGEX "PUYU_SOURCE_DIR|text_testing.h" LIMIT_COUNT 1)
      if(uses_source_dir)
        set_property(SOURCE ${test} APPEND PROPERTY COMPILE_DEFINITIONS PUYU_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
      endif()
    endforeach()
    # One ctest entry a test; names that start with Slow carry the label "slow", the rest "fast".
    gtest_discover_tests(test_${name} TEST_PREFIX "${name}." TEST_FILTER "-Slow*:*.Slow*" DISCOVERY_TIMEOUT 60
                         PROPERTIES LABELS fast TIMEOUT ${PUYU_FAST_TIMEOUT})
    gtest_discover_tests(test_${name} TEST_PREFIX "${name}." TEST_FILTER "Slow*:*.Slow*" DISCOVERY_TIMEOUT 60
                         TEST_LIST slow_${name} PROPERTIES LABELS slow TIMEOUT 900)
  endif()
endfunction()
