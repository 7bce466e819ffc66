#!/bin/sh
# The programs read what the modules write, and write themselves what the modules take or make: bootstrap file, broker.json,
# authorized_keys.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
programs=${BENTO_BIN:?}

# written MODULE FILE: a file below /etc of that configuration.
written() {
    value "(system ($1)).etc.\"$2\"" | jq -rj . >"$work/$(basename "$2")"
}

reads() {
    "$programs/$1" --check-config --config "$work/$2" >"$work/said" 2>&1 && grep -qx "$work/$2: ok" "$work/said" && return
    cat "$work/said"
    return 1
}

written everyNodeSetting bento/node.json
expect "bento-node reads every setting" reads bento-node node.json
# refuses PROGRAM FILE WORD: which it names.
refuses() {
    ! "$programs/$1" --check-config --config "$work/$2" >"$work/said" 2>&1 && grep -qF "$3" "$work/said"
}

jq '.switch_secnds = 1' "$work/node.json" >"$work/typo.json"
expect "and refuses a misspelt one" refuses bento-node typo.json switch_secnds
written everyBrokerSetting bento/broker.json
expect "bento-broker reads every setting" reads bento-broker broker.json
jq '.tick_secnds = 1' "$work/broker.json" >"$work/typo.json"
expect "and refuses a misspelt one" refuses bento-broker typo.json tick_secnds

# ---- a repository of the admin's ----

mkdir "$work/fleet"
cp tests/nixos/fleet.nix "$work/fleet/"
sed '/nodes.router/d' tests/nixos/fleet.nix >"$work/fleet/fleet.nix"
jq 'del(.beta)' tests/nixos/nodes.json >"$work/fleet/nodes.json"
printf 'experimental-features = nix-command flakes\nflake-registry =\n' >"$work/nix.conf"
bento() {
    "$programs/bento" "$@"
}
export BENTO_DIR="$work/fleet"
server="broker { fleet = /. + \"$work/fleet/fleet.nix\"; }"

jq -r '.beta | "\(.key) identity\n\(.tunnelKey) tunnel"' tests/nixos/nodes.json >"$work/beta.keys"
bento add-host beta --keys "$work/beta.keys" >"$work/said" 2>&1 || cat "$work/said" >&2
written "{ services.bento.node = { enable = true; bootstrap = /. + \"$work/fleet/beta.bootstrap.json\"; }; }" bento/node.json
expect "a node believes the file that add-host wrote" reads bento-node node.json
expect "and all of it" holds --slurpfile given "$work/fleet/beta.bootstrap.json" 'del(.path) == $given[0]' "$work/node.json"

written "$server" bento/broker.json
bento broker-config >"$work/own.json"
expect "a broker is configured as bento broker-config has it" holds --slurpfile own "$work/own.json" \
    '. == ($own[0] | if .threshold == 1 then del(.threshold) else . end)' "$work/broker.json"
expect "and reads it" reads bento-broker broker.json
written "$server" ssh/authorized_keys.d/bento-tunnel
bento authorized-keys >"$work/own"
expect "the tunnel account lets in whom bento authorized-keys names" diff "$work/own" "$work/bento-tunnel"
expect "two of them" [ "$(wc -l <"$work/own")" = 2 ]
finish
