#!/bin/sh
# Full disks: the store, /boot, and the folder where bento itself keeps its state. Nothing is half done, and the way back is open.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

# The host sees what is mounted on its disk before it starts.
small() {
    mkdir -p "$LAB/router/$1"
    mount -t tmpfs -o "size=$2,mode=755" tmpfs "$LAB/router/$1"
}

# fill FOLDER [BYTES]: but for so many.
fill() {
    filled=$LAB/router/$1/filling
    dd if=/dev/zero of="$filled" bs=4k 2>/dev/null || :
    truncate -s "-${2:-0}" "$filled"
}

make_room() {
    rm "$filled"
}

small nix 96m
small boot 4m
small var/lib/bento 4m
start_fleet

remember
fill nix 65536
deploy '' --eval-only
settles "a full store" failing BUILD good
make_room
deploy '' --retry router
settles "a store with room again" up-to-date '' new

remember
fill boot
deploy ''
settles "a full /boot" failing BUILD good
expect "a full /boot: the log says what to do" \
    grep -q '/boot has 0 KiB free, and .* are needed: make room there' "$LAB/router/var/lib/bento/apply/jobs/obtain.out"
make_room
# It would come to that by itself, in ten minutes.
expect "a /boot with room again: somebody asks for it" asks
expect "a /boot with room again: built, and tried" in_time 30 up-to-date
settles "a /boot with room again" up-to-date '' new

remember
# Full from one moment to the next, between preflight and commit: the new kernel does not fit any more.
publish 'hold = "boot"; kernel = "6.6.2"; kernelKiB = 512;'
need "the commit waits" wait_for 30 "the commit" holds boot
fill boot 65536
let_go
expect "/boot fills up in the commit" in_time 30 rolled-back
settles "/boot fills up in the commit" rolled-back COMMIT good
make_room

publish 'hold = "test"; mode = "cut-net";'
need "the switch waits" wait_for 30 "the switch" holds test
fill var/lib/bento
let_go
came_back() {
    log_has 'no_check=1' && runs_good
}
expect "bento's own disk is full: the old system comes back" wait_for 40 "the way back" came_back
make_room
expect "bento's own disk has room again: the admin learns of it" in_time 40 rolled-back
settles "bento's own disk is full" rolled-back CONNECTIVITY good

# A word that nothing depends on is not lost either, or the machine would be silent from then on.
heard() {
    bento-status --json --history router | jq length
}
fill var/lib/bento
journal_from_here
need "there is no room for what is said at every poll" wait_for 60 "the failure" journal_has 'status not queued'
before=$(heard)
make_room
is_heard_again() {
    [ "$(heard)" -gt "$before" ]
}
expect "with room again it is heard" wait_for 60 "another status" is_heard_again
finish
