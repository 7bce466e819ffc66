#!/bin/sh
# Somebody works at the machine, by hand, while bento does: neither is in the other's way, and nobody is blamed for it.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

start_fleet
lock=/run/nixos/switch-to-configuration.lock

# A switch of theirs is under way when ours is to begin.
lab_exec router flock "$lock" sh -c 'until [ -e /run/bento-test/theirs ]; do sleep 0.05; done' &
theirs=$!
is_locked() {
    ! lab_exec router flock --nonblock "$lock" true
}
need "their switch is under way" wait_for 10 "the lock" is_locked
remember
publish ''
expect "ours waits for it" wait_for 30 "the waiting" tried_with 'another switch is under way'
lab_exec router touch /run/bento-test/theirs
wait "$theirs"
expect "ours comes after theirs" in_time 30 up-to-date
settles "ours comes after theirs" up-to-date '' new
expect "ours comes after theirs: nobody is blamed" not was_reported rolled-back

# Only what a target wants goes on running, and what is ours.
remember
publish 'hold = "test";'
need "the switch waits" wait_for 20 "the switch" holds test
lab_exec router systemctl isolate multi-user.target
let_go
expect "another target: the switch goes on" in_time 30 up-to-date
settles "another target" up-to-date '' new
expect "another target: nobody is blamed" not was_reported rolled-back

# A boot loader's disk that an error has made read-only.
remember
lab_exec router mount --bind /boot /boot
lab_exec router mount -o remount,bind,ro /boot
deploy ''
settles "/boot is read-only" failing BUILD good
expect "/boot is read-only: the log says what to do" \
    grep -q '/boot is read-only: look why (dmesg), then mount -o remount,rw /boot' "$LAB/router/var/lib/bento/apply/jobs/obtain.out"
finish
