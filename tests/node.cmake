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
