# Fuzzing with clang's libFuzzer, preset `fuzz`: script/test fuzz for a short while, script/fuzz for as long as you like.
# Other builds have none of its programs.
set(fuzz ${CMAKE_CURRENT_LIST_DIR}/fuzz)

# A small fleet with one release, made by the encoders themselves: for the corpora, and to be damaged by unit/flips.
add_library(fuzz_world STATIC ${fuzz}/world.c)
target_compile_options(fuzz_world PUBLIC "SHELL:-iquote ${fuzz}")
target_link_libraries(fuzz_world PUBLIC proto)
bento_unit_test(flips node_apply fuzz_world)

if(NOT BENTO_FUZZ)
    return()
endif()
set(FUZZ_SECONDS 1 CACHE STRING "how long a target runs as a test")

add_library(fuzz_common STATIC ${fuzz}/fuzz.c)
target_link_libraries(fuzz_common PUBLIC fuzz_world rt)
add_executable(fuzz_seeds ${fuzz}/seeds.c)
target_link_libraries(fuzz_seeds PRIVATE fuzz_world node_apply)
add_custom_target(fuzz DEPENDS fuzz_seeds)

# The corpora are what the encoders make today.
add_test(NAME fuzz/seeds COMMAND sh ${fuzz}/seeds.sh $<TARGET_FILE:fuzz_seeds> ${fuzz}/corpus)
set_tests_properties(fuzz/seeds PROPERTIES LABELS fuzz TIMEOUT 60)

# bento_fuzz(target dictionary max_bytes library): tests/fuzz/fuzz_TARGET.c with the seeds tests/fuzz/corpus/TARGET. What it
# finds is kept in the build folder, what breaks it lies in crashes/.
function(bento_fuzz target dictionary max_bytes library)
    add_executable(fuzz_${target} ${fuzz}/fuzz_${target}.c)
    target_link_libraries(fuzz_${target} PRIVATE fuzz_common ${library})
    target_link_options(fuzz_${target} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzz fuzz_${target})
    set(found ${CMAKE_BINARY_DIR}/fuzz/${target})
    file(MAKE_DIRECTORY ${found} ${CMAKE_BINARY_DIR}/crashes)
    add_test(NAME fuzz/${target} COMMAND fuzz_${target} -max_total_time=${FUZZ_SECONDS}
        -max_len=${max_bytes} -timeout=10 -rss_limit_mb=512 -malloc_limit_mb=16
        -dict=${fuzz}/${dictionary}.dict -artifact_prefix=${CMAKE_BINARY_DIR}/crashes/${target}-
        -print_final_stats=1 ${found} ${fuzz}/corpus/${target})
    set_tests_properties(fuzz/${target} PROPERTIES LABELS fuzz)
endfunction()

foreach(target head ticket proven status request reply)
    bento_fuzz(${target} wire 1200 proto)
endforeach()
foreach(target envelope bundle tree roster signed published)
    bento_fuzz(${target} wire 4096 proto)
endforeach()
foreach(target sshsig armor public_key secret_key)
    bento_fuzz(${target} ssh 1200 proto)
endforeach()
bento_fuzz(unpack wire 4096 rt)
bento_fuzz(slots wire 400 rt)
bento_fuzz(conf json 2048 rt)
bento_fuzz(config json 2048 node_common)
bento_fuzz(web http 1200 web)
foreach(target want acks spool_name)
    bento_fuzz(${target} wire 1200 node_common)
endforeach()
bento_fuzz(floor wire 128 node_apply)
bento_fuzz(decision wire 128 node_apply)
bento_fuzz(journal wire 4096 node_apply)
bento_fuzz(inbox wire 2048 broker)
