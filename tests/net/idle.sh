#!/bin/sh
# What an idle node costs in a day, counted at its network interface over short periods: a tick, and a report with the
# poll that it saves.
# Most of it are 576 ticks and 48 reports, each of which opens and closes a channel of ssh. The short periods count some frames
# of the network itself many times over.
set -eu
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$LAB_PROJECT/tests/net/common.sh"

# Nothing here is about a window that is too short.
fleet_node_settings=$(echo "$fleet_node_settings" | jq '.confirm_seconds = 60')
fleet_new
bento-pub --wait=240 >"$LAB/deploy.log" 2>&1 || :
need "alpha follows the first release" wait_for 30 "alpha" up_to_date alpha
for node in router beta; do node_stop "$node"; done

bytes() {
    ip -s -j link show "lab$(lab_link alpha)" | jq '.[0].stats64 | .rx.bytes + .tx.bytes'
}

# settings TICK POLL: both programs start anew and have settled.
settings() {
    node_config alpha ".tick_seconds = $1 | .poll_seconds = $2"
    broker_stop
    jq ".tick_seconds = $1" /etc/bento-broker/broker.json >/root/broker.json
    cat /root/broker.json >/etc/bento-broker/broker.json
    broker_start
    node_stop alpha
    mark alpha
    node_start alpha
}

# bytes_within SECONDS
bytes_within() {
    bytes_before=$(bytes)
    sleep "$1" # the period that is measured
    echo $(($(bytes) - bytes_before))
}

# Connected, and its connection for questions, which is kept for 5 s, has gone.
calm() {
    wait_for 60 "alpha" connected alpha && sleep 8
}

settings 1 86400
need "alpha is back" calm
ticks=$(bytes_within 10)
settings 4 8
need "alpha is back" calm
mark alpha
has_reported() {
    [ "$(since alpha | grep -c 'status delivered')" -ge "$1" ]
}
need "it reports" wait_for 60 "a report" has_reported 1
began=$(date +%s)
before=$(bytes)
need "and again" wait_for 60 "two more" has_reported 3
polls=$(($(bytes) - before))
ticked=$(($(date +%s) - began))
per_tick=$((ticks / 10))
per_poll=$(((polls - per_tick * (ticked / 4)) / 2))
per_day=$((per_tick * 86400 / 150 + per_poll * 86400 / 1800))
echo "a tick: $per_tick bytes; a report: $per_poll bytes; a day: $((per_day / 1000)) kB"
# 250 kB is wanted; a tenth more is what the short periods add.
expect "an idle node costs some 250 kB a day at the most" [ "$per_day" -le 275000 ]
expect "and is not silent" [ "$per_tick" -ge 100 ]
finish
