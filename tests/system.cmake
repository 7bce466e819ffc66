# Tests of the system as a whole: lint, and e2e with real ssh, real Nix and several hosts in namespaces.

set(BENTO_BIN ${CMAKE_BINARY_DIR}/bin)

# Exit status 77: skipped, and the output says why.
foreach(check format shell includes)
    add_test(NAME lint/${check} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/lint/${check}.sh)
    set_tests_properties(lint/${check} PROPERTIES LABELS lint TIMEOUT 600 SKIP_RETURN_CODE 77)
endforeach()

add_test(NAME lint/man COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/lint/man.sh ${BENTO_BIN})
set_tests_properties(lint/man PROPERTIES LABELS lint TIMEOUT 300 SKIP_RETURN_CODE 77)

function(bento_e2e_test name script timeout)
    add_test(NAME e2e/${name} COMMAND sh ${script})
    set_tests_properties(e2e/${name} PROPERTIES LABELS e2e TIMEOUT ${timeout} SKIP_RETURN_CODE 77
        ENVIRONMENT BENTO_BIN=${BENTO_BIN})
endfunction()

bento_e2e_test(demo ${PROJECT_SOURCE_DIR}/script/demo 900)
set_property(TEST e2e/demo APPEND PROPERTY ENVIRONMENT LAB_WINDOW=15)
foreach(test lab systemd tunnel trees modes bad_input)
    bento_e2e_test(${test} ${CMAKE_CURRENT_SOURCE_DIR}/e2e/${test}.sh 900)
endforeach()

# A bento of the future, for tests that go back from it: its journal has a version that the one of today cannot read.
get_target_property(node_apply_sources node_apply SOURCES)
list(TRANSFORM node_apply_sources PREPEND ${PROJECT_SOURCE_DIR}/node/)
add_executable(bento-apply-future ${PROJECT_SOURCE_DIR}/node/apply_main.c ${node_apply_sources})
target_compile_definitions(bento-apply-future PRIVATE JOURNAL_VERSION=2u)
target_link_libraries(bento-apply-future PRIVATE apply_core node_common)
target_compile_options(bento-apply-future PRIVATE "SHELL:-iquote ${PROJECT_SOURCE_DIR}/node")
set_target_properties(bento-apply-future PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${BENTO_BIN})

# For script/bench.
add_executable(bench_verify bench/verify.c)
target_link_libraries(bench_verify PRIVATE node_apply)
set_target_properties(bench_verify PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${BENTO_BIN})
