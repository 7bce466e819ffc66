# tests of broker
bento_unit_test(store broker)
bento_unit_test(publish broker)
bento_unit_test(inbox broker)

# The real daemon, asked by a second implementation of SP and msgpack.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
    add_test(NAME e2e/broker
        COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/e2e/test_broker.py
            $<TARGET_FILE:bento-broker>)
    set_tests_properties(e2e/broker PROPERTIES LABELS e2e TIMEOUT 900)
endif()
