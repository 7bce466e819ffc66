#!/bin/sh
# The preset tor through a private Tor network: release, rebuild and status of a node that has no other way, and again after
# either Tor was killed.
set -eu
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$LAB_PROJECT/tests/net/common.sh"
# shellcheck source-path=SCRIPTDIR source=../lab/tor.sh
. "$LAB_SOURCE/tor.sh"
for tool in tor tor-gencert socat; do
    command -v "$tool" >/dev/null || lab_skip "$tool is not installed (script/packages installs what is missing)"
done

started=$(date +%s)
say() {
    echo "[$(($(date +%s) - started)) s] $*"
}

need "keys for a Tor network" tor_make 23686 23687
tor_start
fleet_endpoints="\"tor://$tor_onion\" \"ssh://$lab_tunnel_user@$lab_hub:$lab_ssh_port\""
# Circuits take their time.
fleet_node_settings=$(echo "$fleet_node_settings" | jq '.confirm_seconds = 60 | .tick_seconds = 4')
fleet_new
for node in router beta; do
    node_config "$node" '.endpoints |= [.[1]]'
    node_restart "$node"
done
expect "fleet.nix's tor:// became a tunnel" [ "$(jq -r '.endpoints[0] | .tunnel + " " + .host' \
    "$LAB/alpha/etc/bento/node.json")" = "tor $tor_onion" ]
node_config alpha '.endpoints |= [.[0]]'
tor_wait
say "the network is there"
tor_client alpha
node_restart alpha
need "alpha subscribes through the onion service" wait_for 120 "alpha" connected alpha
say "alpha is connected"
expect "two socat, one a port" [ "$(children alpha socat | wc -w)" -ge 2 ]
users() {
    for child in $(children alpha socat); do
        tr '\0' '\n' <"/proc/$child/cmdline" | sed -n 's/.*socksuser=//p'
    done | sort -u
}
user=$(users)
expect "with circuits of their own" [ "$(echo "$user" | wc -w)" = 1 ]

deploy() {
    bento-pub --wait="$1" >"$LAB/deploy.log" 2>&1 || :
    wait_for "$1" "alpha" up_to_date alpha
}
need "a release is installed and reported through it" deploy 120
say "the first release is on alpha"
expect "over a tunnel that was dialled after the switch" [ "$(users)" != "$user" ]
expect "nothing but Tor leads from alpha to the hub" \
    [ -z "$(lab_exec alpha ss -Htn state established dst "$lab_hub" | grep -v "$lab_hub:21" || :)" ]

left() {
    for pid in $sockets; do ! kill -0 "$pid" 2>/dev/null || return 1; done
}
sockets=$(children alpha socat)
node_restart alpha KILL
expect "kill -9 of bento-node leaves no socat" wait_for 20 "their end" left
need "started again it connects" wait_for 60 "alpha" connected alpha

tor_kill alpha
tor_run alpha
host_write alpha 'mode = "ok"; text = "second";'
need "after the client's Tor was killed" deploy 120
say "the client's Tor is back"

tor_kill service
tor_run service
host_write alpha 'mode = "ok"; text = "third";'
need "after the service's Tor was killed" deploy 180
say "the service's Tor is back"
expect "every status arrived" wait_for 60 "alpha" delivered alpha
finish
