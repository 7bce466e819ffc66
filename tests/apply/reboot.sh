#!/bin/sh
# Reboots by themselves: forward into another kernel, with a proof after the boot, and back once where that fails.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
configure '.boot_seconds = 20'

start_fleet
reboots_by when-needed
remember
publish 'kernel = "6.6.2";'
need "another kernel: the machine restarts by itself" lab_rebooted router 40
expect "another kernel: it is reached again" in_time 30 up-to-date
settles "another kernel" up-to-date '' new
expect "another kernel: it is the booted one" [ "$(booted_of router)" = "$(system_of router)" ]
expect "another kernel: what it went through" [ "$(reported)" = \
    "building checking trying confirming committing reboot-pending confirming up-to-date" ]

remember
publish 'kernel = "6.6.3"; mode = "boot-blackhole";'
need "unreachable once booted: it restarts" lab_rebooted router 40
expect "unreachable once booted: it is the new system" not runs_good
need "unreachable once booted: it restarts again" lab_rebooted router 60
expect "unreachable once booted: the way back is told" in_time 30 rolled-back
settles "unreachable once booted" rolled-back CONNECTIVITY good
expect "unreachable once booted: the old kernel" [ "$(booted_of router)" = "$good" ]

# Every other second, so that the test need not wait for the night; and there is no kexec here.
reboots_by 'kexec *:*:0/2'
publish 'kernel = "6.6.4";'
need "at a calendar time: the machine restarts" lab_rebooted router 40
expect "at a calendar time: it is reached again" in_time 30 up-to-date
settles "at a calendar time" up-to-date '' new

# It is not restarted again for what it runs.
reboots_by when-needed
deploy 'kernel = "6.6.4";'
settles "the same kernel" up-to-date '' new
finish
