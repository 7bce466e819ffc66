# tests of node

bento_unit_test(apply apply_core)

# bento_sim_test(name libraries…): tests/sim/test_name.c, label sim
function(bento_sim_test name)
    add_executable(test_${name} sim/test_${name}.c)
    target_link_libraries(test_${name} PRIVATE ${ARGN} cmocka)
    add_test(NAME sim/${name} COMMAND test_${name})
    set_tests_properties(sim/${name} PROPERTIES LABELS "sim;apply" TIMEOUT 300)
endfunction()
bento_sim_test(apply_table apply_core)
bento_sim_test(apply_sim apply_core)
# The same without the sanitizers, for what tries millions of steps.
get_target_property(apply_core_sources apply_core SOURCES)
list(TRANSFORM apply_core_sources PREPEND ${PROJECT_SOURCE_DIR}/node/)
add_library(apply_core_quick STATIC ${apply_core_sources})
target_compile_options(apply_core_quick PUBLIC -O2 -fno-sanitize=all "SHELL:-iquote ${PROJECT_SOURCE_DIR}/node")
target_link_libraries(apply_core_quick PUBLIC proto)
add_executable(apply_sim_long sim/test_apply_sim.c)
target_link_libraries(apply_sim_long PRIVATE apply_core_quick cmocka)
add_test(NAME sim/apply_sim_long COMMAND apply_sim_long 100000)
set_tests_properties(sim/apply_sim_long PROPERTIES LABELS "sim;apply" TIMEOUT 300)

# node/APPLY.md is what the state machine does: compared here, written anew by the target apply-md.
# Tries millions of combinations.
add_executable(apply_table_md sim/apply_table_md.c)
target_link_libraries(apply_table_md PRIVATE apply_core_quick)
add_test(NAME sim/apply_md COMMAND apply_table_md ${PROJECT_SOURCE_DIR}/node/APPLY.md)
set_tests_properties(sim/apply_md PROPERTIES LABELS "sim;apply" TIMEOUT 300)
add_custom_target(apply-md COMMAND apply_table_md > ${PROJECT_SOURCE_DIR}/node/APPLY.md VERBATIM)

bento_unit_test(config node_common)
bento_unit_test(spool node_common)
bento_unit_test(journal node_apply)
bento_unit_test(blobs node_link)
bento_unit_test(page node_link)
bento_unit_test(snapshot node_apply)
bento_unit_test(verify node_apply)
foreach(module reboot failed_units secrets system)
    bento_unit_test(${module} node_apply)
endforeach()
bento_unit_test(outbox node_apply)

# Real processes, with the real bento-apply as the wrapper of jobs.
bento_unit_test(job node_apply)
target_compile_definitions(test_job PRIVATE BENTO_APPLY="$<TARGET_FILE:bento-apply>")
add_dependencies(test_job bento-apply)

# The ends of a trial on a real Nix profile; skipped where there is no Nix.
bento_unit_test(trial node_apply)
target_compile_definitions(test_trial PRIVATE
    BENTO_APPLY="$<TARGET_FILE:bento-apply>" FLEET="${CMAKE_CURRENT_SOURCE_DIR}/fleet")
add_dependencies(test_trial bento-apply)
set_tests_properties(unit/trial PROPERTIES LABELS e2e TIMEOUT 900)

# Waits for real processes: not what one wants to wait for at every save.
set_tests_properties(unit/job PROPERTIES LABELS e2e)

bento_unit_test(unit node_apply)
