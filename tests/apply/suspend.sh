#!/bin/sh
# A machine that sleeps inside the window has not been unreachable: it gets another minute from when it wakes. (Its clocks are
# those of a time namespace: the one that counts sleep is an hour ahead, as after an hour of it.)
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

uptime_ms() {
    lab_exec router awk '{ printf "%d", $1 * 1000 }' /proc/uptime
}

# sleep_for_an_hour: bento-apply finds out when it looks at its clocks.
sleep_for_an_hour() {
    lab_exec router sh -ec 'mkdir -p /run/systemd/system/bento-apply.service.d
        start=$(sed -n "s/^ExecStart=//p" /etc/systemd/system/bento-apply.service)
        printf "[Service]\nExecStart=\nExecStart=unshare --time --boottime 3600 %s\n" "$start" \
            >/run/systemd/system/bento-apply.service.d/asleep.conf
        systemctl daemon-reload
        systemctl restart bento-apply'
}

start_fleet
remember
open_window
opened=$(uptime_ms)
sleep_for_an_hour
is_over() {
    [ "$(uptime_ms)" -gt $((opened + 17000)) ]
}
wait_for 20 "the end of the window as it was" is_over
lab_restore router
expect "it is reached after the window as it was" in_time 30 up-to-date
settles "asleep in the window" up-to-date '' new
expect "it never went back" not was_reported reverting
finish
