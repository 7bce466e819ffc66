# tests of bento-status and of the admin's side of the wire
bento_unit_test(view admin)
bento_unit_test(table admin_status)
bento_unit_test(report admin_status broker)
bento_unit_test(status_lines admin_status broker)
bento_unit_test(select admin)

# remote.c against a real bento-broker, near and behind a real sshd: not one of the fast ones.
bento_unit_test(remote admin broker)
target_compile_definitions(test_remote PRIVATE BROKER="$<TARGET_FILE:bento-broker>")
add_dependencies(test_remote bento-broker)
set_tests_properties(unit/remote PROPERTIES LABELS e2e)

# bento-status as its users meet it.
bento_unit_test(status_program admin broker)
target_compile_definitions(test_status_program PRIVATE
    BROKER="$<TARGET_FILE:bento-broker>" STATUS="$<TARGET_FILE:bento-status>")
add_dependencies(test_status_program bento-broker bento-status)
set_tests_properties(unit/status_program PROPERTIES LABELS e2e)

# On terminals, with three machines and with a thousand.
add_test(NAME admin/status COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/admin/status.sh)
set_tests_properties(admin/status PROPERTIES LABELS admin TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "BENTO_BIN=$<TARGET_FILE_DIR:bento-broker>")
