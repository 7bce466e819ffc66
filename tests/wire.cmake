# A second implementation of the protocol, in Python, from proto/PROTOCOL.md alone: against the vectors and the real programs.
function(bento_wire_test name)
    add_test(NAME wire/${name} COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/wire/run.sh test_${name}.py)
    set_tests_properties(wire/${name} PROPERTIES LABELS wire TIMEOUT 600 SKIP_RETURN_CODE 77
        ENVIRONMENT "BENTO_BIN=$<TARGET_FILE_DIR:bento-broker>")
endfunction()

bento_wire_test(vectors)
bento_wire_test(broker)
bento_wire_test(node)
bento_wire_test(page)
set_tests_properties(wire/page PROPERTIES LABELS "wire;apply")
bento_wire_test(admin)
