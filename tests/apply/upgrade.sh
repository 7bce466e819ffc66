#!/bin/sh
# An upgrade of bento by bento: the switch restarts both programs in the middle of their own trial.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

start_fleet
remember
deploy 'bentoTag = "0.2.0";'
expect "bento-pub ends with 0" deploy_ends_with 0
settles "an upgrade" up-to-date '' new
expect "bento-apply is the new system's" runs_from bento-apply bento-0.2.0/bin
expect "bento-node is the new system's" runs_from bento-node bento-0.2.0/bin
expect "the switch restarted both" grep -q 'restarting the following units: bento-apply.service bento-node.service' \
    "$LAB/router/var/lib/bento/apply/jobs/try.out"
expect "it was tried once" log_has_times 'begin action=test' 2
expect "every phase was reported once" [ "$(reported)" = "building checking trying confirming committing up-to-date" ]

# Both keep the service manager's watchdog quiet: one that does not is killed after ten seconds.
undisturbed() {
    lab_exec router sh -ec 'read -r now _ </proc/uptime
        since=$(systemctl show --value --property=ActiveEnterTimestampMonotonic "$1")
        [ "${now%.*}" -gt "$((since / 1000000 + 11))" ]' sh "$1"
}
for unit in bento-apply bento-node; do
    expect "$unit goes on" wait_for 20 "$unit to have run for 11 s" undisturbed "$unit"
    expect "$unit was not started again" [ "$(restarts_of "$unit")" = 0 ]
done
finish
