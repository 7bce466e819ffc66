#!/bin/sh
# Health commands: they decide in the window of a switch and after a boot, and what passed in one boot says nothing of the next.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
configure '.boot_seconds = 40'
sick=$LAB/router/var/sick # what the command looks for

start_fleet
remember
policy 'health = [ { command = [ "sh" "-c" "echo looking; ! test -e /var/sick" ]; } ];'
deploy ''
settles "well" up-to-date '' new

remember
touch "$sick"
deploy ''
settles "sick" rolled-back HEALTH good
expect "sick: what the command said" sh -c 'bento-status --log router | grep -qF looking'
rm "$sick"

# Well in its first boot, which ends before anybody was reached, and sick in the second.
reboots_by when-needed
publish 'kernel = "6.6.2";'
need "the machine restarts by itself" wait_for 40 "the end of the router" lab_ended router
broker_stop
need "and comes up" lab_rebooted router
need "well in the first boot" wait_for 30 "the health command" journal_has 'job ended kind=check status=0'
touch "$sick"
lab_crash router
broker_start
need "it boots again" lab_up router
need "sick in the second boot: it goes back by itself" lab_rebooted router 120
expect "sick in the second boot: and says so" in_time 30 rolled-back
settles "sick in the second boot" rolled-back HEALTH good
finish
