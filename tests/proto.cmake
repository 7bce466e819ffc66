# tests of proto
foreach(module err bytes wire sshkey sshsig merkle seal head trust ticket tree bundle roster status message release)
    bento_unit_test(${module} proto)
endforeach()

add_test(NAME unit/purity COMMAND ${CMAKE_CURRENT_LIST_DIR}/unit/test_purity.sh
    ${CMAKE_NM} ${CMAKE_C_COMPILER} $<TARGET_FILE:proto>)
set_tests_properties(unit/purity PROPERTIES LABELS unit TIMEOUT 60)
