#!/bin/sh
# The power goes at the worst moments. Whatever was not committed is gone after the next boot, whatever was is not.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

start_fleet

# power_cut: and back. The node comes up by itself, with what its boot loader has.
power_cut() {
    lab_crash router
    need "$1: the node boots" lab_up router
}

# Inside the window: the switch is done, nobody has been reached yet.
remember
open_window
power_cut "in the window"
expect "in the window: the old system was booted" [ "$(booted_of router)" = "$good" ]
let_go
expect "in the window: tried again" wait_for 30 "up-to-date" up_to_date router
settles "in the window" up-to-date '' new

# Profile written, boot entry not.
remember
publish 'hold = "boot";'
need "the commit waits" wait_for 20 "the commit" holds boot
expect "in the commit: the profile is the new system's" not [ "$(profile_of router)" = "$good" ]
power_cut "in the commit"
expect "in the commit: the old system was booted" [ "$(booted_of router)" = "$good" ]
let_go
expect "in the commit: tried again" wait_for 30 "up-to-date" up_to_date router
settles "in the commit" up-to-date '' new

# On the way back.
deploy 'hold = "revert";'
remember
publish 'mode = "cut-net";'
need "the revert waits" wait_for 30 "the revert" holds revert
power_cut "in the revert"
let_go
expect "in the revert: it goes on" wait_for 30 "rolled-back" shows router state rolled-back
settles "in the revert" rolled-back CONNECTIVITY good
finish
