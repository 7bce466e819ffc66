#!/bin/sh
# Somebody restarts the machine, in an orderly way, while bento works: systemd ends its jobs, which is nobody's fault. Whatever
# was going on goes on after the boot.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

start_fleet

# goes_on WHAT: after the boot, to its good end, and nothing bad was said of it.
goes_on() {
    expect "$1: the old system was booted" [ "$(booted_of router)" = "$good" ]
    let_go
    expect "$1: tried again" wait_for 30 "up-to-date" up_to_date router
    settles "$1" up-to-date '' new
    expect "$1: nobody is blamed" not was_reported failed
    expect "$1: nor rolled back" not was_reported rolled-back
}

# While it is built.
remember
publish 'delay = 10;'
need "the build runs" wait_for 20 "the build" journal_has 'job runs kind=obtain'
by_hand "in the build"
goes_on "in the build"

# In the switch.
remember
publish 'hold = "test";'
need "the switch waits" wait_for 20 "the switch" holds test
by_hand "in the switch"
goes_on "in the switch"

# Inside the window.
remember
open_window
by_hand "in the window"
goes_on "in the window"

# Profile written, boot entry not.
remember
publish 'hold = "boot";'
need "the commit waits" wait_for 20 "the commit" holds boot
by_hand "in the commit"
goes_on "in the commit"

# On the way back.
deploy 'hold = "revert";'
remember
publish 'mode = "cut-net";'
need "the revert waits" wait_for 30 "the revert" holds revert
by_hand "in the revert"
let_go
expect "in the revert: it goes on" wait_for 30 "rolled-back" shows router state rolled-back
settles "in the revert" rolled-back CONNECTIVITY good
finish
