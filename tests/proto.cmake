# tests of proto
foreach(module err bytes wire sshkey sshsig merkle seal head trust ticket tree bundle roster status message release)
    bento_unit_test(${module} proto)
endforeach()

add_test(NAME unit/purity COMMAND ${CMAKE_CURRENT_LIST_DIR}/unit/test_purity.sh
    ${CMAKE_NM} ${CMAKE_C_COMPILER} $<TARGET_FILE:proto>)
set_tests_properties(unit/purity PROPERTIES LABELS unit TIMEOUT 300)

# proto/vectors against our decoders, a node's checks in their order, and the broker's replies
bento_unit_test(vectors node_apply PkgConfig::JANSSON)
bento_unit_test(served broker PkgConfig::JANSSON)
foreach(test test_vectors test_served)
    target_compile_definitions(${test} PRIVATE VECTORS_DIR="${PROJECT_SOURCE_DIR}/proto/vectors")
endforeach()

# The vectors are what their generator makes (77: no PyNaCl), and PROTOCOL.md has the tables of the headers.
find_program(BENTO_PYTHON3 python3 HINTS /usr/bin)
if(BENTO_PYTHON3)
    add_test(NAME unit/vectors_made
        COMMAND ${BENTO_PYTHON3} -B ${CMAKE_CURRENT_LIST_DIR}/vectors/make_vectors.py --check)
    add_test(NAME unit/protocol_text
        COMMAND ${BENTO_PYTHON3} -B ${CMAKE_CURRENT_LIST_DIR}/vectors/check_protocol.py)
    set_tests_properties(unit/vectors_made unit/protocol_text
        PROPERTIES LABELS unit TIMEOUT 300 SKIP_RETURN_CODE 77)
endif()
