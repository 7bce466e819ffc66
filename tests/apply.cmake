# tests/apply: a node that cannot be bricked. One scenario a script, on a node with the machine's systemd.
foreach(test upgrade bento hang network crash shutdown by_hand units full suspend reboot next_boot self_update classic
    specialisation fallback garbage rotation secrets health)
    bento_e2e_test(${test} ${CMAKE_CURRENT_LIST_DIR}/apply/${test}.sh 900)
    set_tests_properties(e2e/${test} PROPERTIES LABELS "e2e;apply")
endforeach()
set_tests_properties(e2e/secrets PROPERTIES LABELS "e2e;apply;admin")

# Jobs, and bento-apply as a service: each boots a host of its own.
foreach(test job_systemd service)
    add_test(NAME apply/${test} COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/apply/${test}.sh)
    set_tests_properties(apply/${test} PROPERTIES LABELS apply TIMEOUT 900 SKIP_RETURN_CODE 77
        ENVIRONMENT BENTO_BUILD=${CMAKE_BINARY_DIR})
endforeach()

# tests/apply: bento-apply killed at every system call, and machines whose power is cut; with BENTO_LONG=1 at all of them, which
# takes hours: each step of theirs has a deadline of its own.
function(bento_crash_test name)
    string(REPLACE "/" ";" words ${name})
    add_test(NAME apply/${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/apply/run.sh ${words})
    set_tests_properties(apply/${name} PROPERTIES LABELS apply TIMEOUT 86400 SKIP_RETURN_CODE 77
        ENVIRONMENT BENTO_BIN=${CMAKE_BINARY_DIR}/bin)
endfunction()
foreach(test kill_verify kill_intake kill_life kill_job kill_commit kill_revert power_cut/life power_cut/commit power_cut/revert
    power_cut_collector crash_loop full_btrfs)
    bento_crash_test(${test})
endforeach()

# A binary cache between the admin and the nodes.
bento_e2e_test(cache ${CMAKE_CURRENT_LIST_DIR}/admin/cache.sh 900)
set_tests_properties(e2e/cache PROPERTIES LABELS "e2e;admin")
