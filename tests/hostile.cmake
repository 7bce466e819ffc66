# The chain under a hostile eye: attacks that need running services.
function(bento_hostile_test name timeout)
    add_test(NAME attacks/${name} COMMAND ${ARGN})
    set_tests_properties(attacks/${name} PROPERTIES LABELS attacks TIMEOUT ${timeout} SKIP_RETURN_CODE 77
        ENVIRONMENT "BENTO_BIN=${BENTO_BIN};PYTHONDONTWRITEBYTECODE=1")
endfunction()

bento_hostile_test(status_rows 180 /usr/bin/python3 ${CMAKE_CURRENT_LIST_DIR}/attacks/status_rows.py ${BENTO_BIN})
bento_hostile_test(planted_secret 300 sh ${CMAKE_CURRENT_LIST_DIR}/attacks/planted_secret.sh)

# For script/bench-release.
add_executable(bench_release bench/release.c)
target_link_libraries(bench_release PRIVATE node_apply admin)
set_target_properties(bench_release PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${BENTO_BIN})
