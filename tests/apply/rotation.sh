#!/bin/sh
# A new system with another configuration of bento: one that would not believe this very release is the last that a machine
# ever got, so it is refused; one that believes old and new signers is taken.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

# system_believes KEY…: the router's next system brings a configuration with these signers.
system_believes() {
    jq '.signers = $ARGS.positional' --args "$@" <"$LAB/router/etc/bento/node.json" >/root/fleet/hosts/router/node.json
}

start_fleet
own=$(cat /root/.ssh/id_ed25519.pub)
ssh-keygen -q -t ed25519 -N '' -C other -f /root/other
other=$(cat /root/other.pub)

remember
system_believes "$other"
deploy 'etcConfig = builtins.fromJSON (builtins.readFile ./node.json);'
settles "its own signer dropped" refused LOCKOUT good
expect "its own signer dropped: nothing was tried" log_has_times 'begin action=test' 1
expect "its own signer dropped: the log says why" sh -c 'bento-status --log router | grep -q SIGNER'

system_believes "$own" "$other"
deploy 'etcConfig = builtins.fromJSON (builtins.readFile ./node.json);'
settles "a second signer" up-to-date '' new
expect "a second signer: the configuration is the system's" \
    [ "$(lab_exec router readlink -f /etc/bento/node.json)" = "$(lab_exec router readlink -f /run/current-system/etc/bento/node.json)" ]
finish
