# tests/nixos: the flake, the package and the NixOS modules, as far as a machine without nixpkgs can tell. Label nixos.
function(bento_nixos_test name timeout)
    add_test(NAME nixos/${name} COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/nixos/${name}.sh)
    set_tests_properties(nixos/${name} PROPERTIES LABELS nixos TIMEOUT ${timeout} SKIP_RETURN_CODE 77
        ENVIRONMENT "BENTO_BIN=${BENTO_BIN};BENTO_BUILD=${CMAKE_BINARY_DIR}")
endfunction()

foreach(test evaluate programs units install flake readme)
    bento_nixos_test(${test} 600)
endforeach()
bento_nixos_test(deploy 600)
