#!/bin/sh
# Every way in which a new system can be bad: what the node does, and what the admin sees. After each of them the old system
# runs, is the profile and is the boot loader's entry.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

fleet_node_settings=$(echo "$fleet_node_settings" | jq '.switch_seconds = 20')
need "a fleet" fleet_new
need "a first deploy" bento-pub --wait=240
text=0

# deploy ATTRIBUTES ARGUMENTS…: a new system for the router, followed to its end.
deploy() {
    text=$((text + 1))
    host_write router "text = \"run $text\"; $1"
    shift
    deploy_status=0
    bento-pub --wait=240 router "$@" >"$LAB/deploy.log" 2>&1 || deploy_status=$?
}

deploy_ends_with() {
    [ "$deploy_status" = "$1" ]
}

# goes_back MODE STATE CODE
goes_back() {
    good=$(system_of router)
    deploy "mode = \"$1\";" --eval-only
    expect "$1: bento-pub ends with 3" deploy_ends_with 3
    expect "$1: $2" shows router state "$2"
    expect "$1: $3" shows router code "$3"
    expect "$1: the old system runs" [ "$(system_of router)" = "$good" ]
    expect "$1: profile and boot entry are the old system's" consistent router
}

goes_back fail rolled-back SWITCH
goes_back hang rolled-back SWITCH
goes_back cut-net rolled-back CONNECTIVITY
goes_back blackhole rolled-back CONNECTIVITY
goes_back fail-boot rolled-back COMMIT
goes_back build-error failing BUILD

good=$(system_of router)
deploy 'mode = "ok"; bento = false;'
expect "a system without bento: LOCKOUT" shows router code LOCKOUT
expect "and it does not run" [ "$(system_of router)" = "$good" ]
deploy 'mode = "eval-error";'
expect "an evaluation error: bento-pub ends with 1" deploy_ends_with 1
expect "and names the host and the reason" grep -q 'router.*evaluation error on purpose' "$LAB/deploy.log"

deploy 'mode = "fail-units";'
expect "failed units are reported, the system stays" [ "$(system_of router)" != "$good" ]
expect "and is committed" consistent router
deploy 'mode = "ok"; kernel = "6.6.2";'
expect "a new kernel: reboot pending" shows router state reboot-pending
expect "and committed" consistent router

# A power cut inside the window: the boot loader still has the old system.
good=$(system_of router)
text=$((text + 1))
host_write router "text = \"run $text\"; mode = \"cut-net\";"
bento-pub router >"$LAB/deploy.log"
tries() {
    lab_exec router grep -q 'mode=cut-net end action=test' /run/bento-test/switch.log
}
need "the trial of a system that cuts the network" wait_for 20 "the trial" tries
lab_crash router
lab_up router
node_boot router
node_start router
expect "after a power cut in the window: rolled back" wait_for 30 "rolled-back" shows router state rolled-back
expect "the old system runs" [ "$(system_of router)" = "$good" ]
expect "and is what boots" consistent router

# bento-apply killed by the very system that it tries, and started again by the service manager.
deploy 'mode = "kill-agent"; kernel = "6.6.2";'
expect "bento-apply killed in a switch goes on where it was" up_to_date router
expect "and commits" consistent router
expect "it was killed" grep -q 'ended with 137' "$LAB/router.bento-apply.log"
finish
