# tests of proto/rt
bento_unit_test(log rt)
bento_unit_test(fs rt)
bento_unit_test(slots rt)
bento_unit_test(loop rt)
bento_unit_test(proc rt)
bento_unit_test(conf rt)
bento_unit_test(cli rt)
bento_unit_test(notify rt)
bento_unit_test(treefs rt)
bento_unit_test(bus bus)
bento_unit_test(web web)

# Waits until nng gives up: not what one wants to wait for at every save.
set_tests_properties(unit/bus PROPERTIES LABELS e2e)
