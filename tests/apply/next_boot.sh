#!/bin/sh
# What is not tried live: for the next boot because the owner wants it so, or because it takes a reboot. And the restart as the
# last resort of a machine that nobody reaches.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
configure '.boot_seconds = 20 | .return_seconds = 15'

installed() {
    shows router state reboot-pending && runs_good && [ "$(profile_of router)" = "$(boot_entry_of router)" ] &&
        [ "$(profile_of router)" != "$good" ]
}

start_fleet
remember
policy 'action = "boot";'
publish ''
expect "action boot: installed, the old system runs" wait_for 30 "reboot-pending" installed
expect "action boot: nothing was tried" log_has_times 'begin action=test' 1
by_hand "action boot"
expect "action boot: it is reached" in_time 30 up-to-date
settles "action boot" up-to-date '' new

remember
publish 'mode = "boot-blackhole";'
expect "bad after a boot: installed" wait_for 30 "reboot-pending" installed
by_hand "bad after a boot"
need "bad after a boot: it goes back by itself" lab_rebooted router 60
expect "bad after a boot: and says so" in_time 30 rolled-back
settles "bad after a boot" rolled-back CONNECTIVITY good

policy ''
publish 'inhibitors = { systemd = "257"; };'
expect "from none to an inhibitor: tried live" in_time 30 up-to-date
remember
publish 'inhibitors = { systemd = "258"; };'
expect "another inhibitor: installed for the next boot" wait_for 30 "reboot-pending" installed
expect "another inhibitor: the log says why" grep -q 'switch-inhibitors' "$LAB/router/var/lib/bento/apply/jobs/obtain.out"
by_hand "another inhibitor"
expect "another inhibitor: it is reached" in_time 30 up-to-date
settles "another inhibitor" up-to-date '' new

# Neither the new system nor the old one is reached: the machine restarts once, into the old one.
remember
policy 'last_resort = "reboot";'
publish 'inhibitors = { systemd = "258"; }; hold = "test";'
need "the switch waits" wait_for 30 "the switch" holds test
lab_cut router
let_go
need "last resort: the machine restarts" lab_rebooted router 60
lab_cut router
waits() {
    journal_has 'to=WAITING'
}
expect "last resort: then it waits for the network" wait_for 30 "the end of the way back" waits
expect "last resort: the old system runs" runs_good
expect "last resort: and is what boots" consistent router
lab_restore router
let_go
expect "last resort: the cable is back, it is tried again" in_time 40 up-to-date
expect "last resort: the admin saw why it took so long" was_reported inconclusive
finish
