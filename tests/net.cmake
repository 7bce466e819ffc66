# The network: real sshd, a private Tor, hosts with bad weather between them. Label net.
add_executable(delaywire lab/delaywire.c)
set_target_properties(delaywire PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${BENTO_BIN})

function(bento_net_test name timeout)
    add_test(NAME net/${name} COMMAND ${ARGN})
    set_tests_properties(net/${name} PROPERTIES LABELS net TIMEOUT ${timeout} SKIP_RETURN_CODE 77
        ENVIRONMENT "BENTO_BIN=${BENTO_BIN};PYTHONDONTWRITEBYTECODE=1")
endfunction()

foreach(test ssh tor weather upload idle)
    bento_net_test(${test} 1800 sh ${CMAKE_CURRENT_LIST_DIR}/net/${test}.sh)
endforeach()
foreach(test transfer broker)
    bento_net_test(${test} 900 sh ${CMAKE_CURRENT_LIST_DIR}/net/python.sh ${test}.py)
endforeach()

# A broker that lies: its machines keep the cores busy. LIAR_SEED=n repeats one scenario; BENTO_LONG=1: 10 000 of them.
bento_net_test(liar 86400 sh ${CMAKE_CURRENT_LIST_DIR}/net/python.sh -rP liar.py)
set_tests_properties(net/liar PROPERTIES LABELS "net;attacks" RUN_SERIAL ON)

# The link itself, over sockets of its own: waits for ticks that do not come.
bento_unit_test(link node_link)
target_link_options(test_link PRIVATE -Wl,--wrap=clock_boottime_ms)
set_tests_properties(unit/link PROPERTIES LABELS net TIMEOUT 600)
