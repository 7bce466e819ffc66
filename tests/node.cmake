# tests of node

bento_unit_test(apply apply_core)

# bento_sim_test(name libraries…): tests/sim/test_name.c, label sim
function(bento_sim_test name)
    add_executable(test_${name} sim/test_${name}.c)
    target_link_libraries(test_${name} PRIVATE ${ARGN} cmocka)
    add_test(NAME sim/${name} COMMAND test_${name})
    set_tests_properties(sim/${name} PROPERTIES LABELS sim TIMEOUT 60)
endfunction()
bento_sim_test(apply_table apply_core)
bento_sim_test(apply_sim apply_core)

# node/APPLY.md is what the state machine does: compared here, written anew by the target apply-md.
add_executable(apply_table_md sim/apply_table_md.c)
target_link_libraries(apply_table_md PRIVATE apply_core)
add_test(NAME sim/apply_md COMMAND apply_table_md ${PROJECT_SOURCE_DIR}/node/APPLY.md)
set_tests_properties(sim/apply_md PROPERTIES LABELS sim TIMEOUT 60)
add_custom_target(apply-md COMMAND apply_table_md > ${PROJECT_SOURCE_DIR}/node/APPLY.md VERBATIM)

bento_unit_test(config node_common)
bento_unit_test(spool node_common)
bento_unit_test(journal node_apply)
bento_unit_test(blobs node_link)
bento_unit_test(verify node_apply)

# Real processes, with the real bento-apply as the wrapper of jobs.
bento_unit_test(job node_apply)
target_compile_definitions(test_job PRIVATE BENTO_APPLY="$<TARGET_FILE:bento-apply>")
add_dependencies(test_job bento-apply)

# The ends of a trial on a real Nix profile; skipped where there is no Nix.
bento_unit_test(trial node_apply)
target_compile_definitions(test_trial PRIVATE
    BENTO_APPLY="$<TARGET_FILE:bento-apply>" FLEET="${CMAKE_CURRENT_SOURCE_DIR}/fleet")
add_dependencies(test_trial bento-apply)
set_tests_properties(unit/trial PROPERTIES LABELS e2e TIMEOUT 300)

# Waits for real processes: not what one wants to wait for at every save.
set_tests_properties(unit/job PROPERTIES LABELS e2e)
