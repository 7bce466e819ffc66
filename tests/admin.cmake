# tests of admin; test_select stands in status.cmake
bento_unit_test(fleet admin)
bento_unit_test(host admin)
bento_unit_test(cache admin)
bento_unit_test(newest admin rt)
bento_unit_test(rotation admin)
bento_unit_test(server admin)
bento_unit_test(waves admin)
bento_unit_test(change admin)
bento_unit_test(plan admin)

add_test(NAME e2e/publish
    COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/admin/publish.sh $<TARGET_FILE_DIR:bento-broker>
    $<TARGET_FILE_DIR:bento-pub>)
set_tests_properties(e2e/publish PROPERTIES LABELS e2e TIMEOUT 900 SKIP_RETURN_CODE 77)

# --wait against a real bento-broker.
bento_unit_test(follow admin broker)
target_compile_definitions(test_follow PRIVATE BROKER="$<TARGET_FILE:bento-broker>")
add_dependencies(test_follow bento-broker)
set_tests_properties(unit/follow PROPERTIES LABELS e2e)

bento_unit_test(terminal admin)
bento_unit_test(progress admin)
bento_unit_test(pool admin rt)

# What a person types. Label admin.
add_test(NAME admin/help COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/admin/help.sh $<TARGET_FILE_DIR:bento>)
set_tests_properties(admin/help PROPERTIES LABELS admin TIMEOUT 600)
foreach(test repository signers build deploy day)
    add_test(NAME admin/${test} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/admin/${test}.sh)
    set_tests_properties(admin/${test} PROPERTIES LABELS admin TIMEOUT 900 SKIP_RETURN_CODE 77
        ENVIRONMENT BENTO_BIN=$<TARGET_FILE_DIR:bento>)
endforeach()
