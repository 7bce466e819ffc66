# tests/attacks: one test a folder, see attacks/README.md
add_executable(flips attacks/flips.c)
target_link_libraries(flips PRIVATE node_apply)

file(GLOB attacks CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/attacks/*/attack.py)
foreach(file ${attacks})
    get_filename_component(folder ${file} DIRECTORY)
    get_filename_component(attack ${folder} NAME)
    add_test(NAME attacks/${attack}
        COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/attacks/run.sh $<TARGET_FILE_DIR:bento-apply> ${folder})
    set_tests_properties(attacks/${attack} PROPERTIES LABELS attacks TIMEOUT 900 SKIP_RETURN_CODE 77
        ENVIRONMENT "BENTO_FLIPS=$<TARGET_FILE:flips>;NM=${CMAKE_NM}")
endforeach()
set_tests_properties(attacks/16-local-user PROPERTIES LABELS "attacks;apply")
