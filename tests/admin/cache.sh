#!/bin/sh
# A binary cache on the server: bento-pub signs and copies what it built, nodes with nothing in their stores fetch it through
# their tunnels and build nothing; what is not signed by the key of the fleet, or not there, goes nowhere.
set -eu
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
fleet_nodes='alpha beta'
python3 -c 'import http.server' 2>/dev/null || lab_skip "python3 is not installed (script/packages installs what is missing)"

cache_is() {
    sed -i '/^  broker.cache = /d; /^  nodes\.[a-z]* = { substitute_only/d; $d' /root/fleet/fleet.nix
    printf '  broker.cache = { url = "http://127.0.0.1:5000"; forward = true; %s };\n  %s\n}\n' "$1" "${2-}" >>/root/fleet/fleet.nix
}

# new_key NAME: a key pair of a cache in keys/NAME and keys/NAME.pub.
new_key() {
    mkdir -p /root/fleet/keys
    nix-store --generate-binary-cache-key "$1" "/root/fleet/keys/$1" "/root/fleet/keys/$1.pub"
}

deploy() {
    bento-pub --wait=60 "$@" >"$LAB/deploy.log" 2>&1
}

log_says() {
    grep -qF "$1" "$LAB/deploy.log" || { cat "$LAB/deploy.log" && return 1; }
}

# The forward is part of the node's configuration, and of what the tunnel account may do.
with_forward() {
    jq '.endpoints[0].cache_port = 5000 | .cache_port = 5000' "$LAB/$1/etc/bento/node.json" >"$LAB/node.json"
    cat "$LAB/node.json" >"$LAB/$1/etc/bento/node.json"
}

need "a fleet" fleet_new
rm -r /root/fleet/hosts/router # has no machine here
new_key fleet-1
new_key stranger-1
key=$(cat /root/fleet/keys/fleet-1.pub)
sed -i 's/PermitOpen .*/& 127.0.0.1:5000/' /etc/ssh/sshd_config
kill -HUP "$(cat "$LAB/sshd.pid")"
mkdir /root/cache
(cd /root/cache && exec python3 -m http.server --bind 127.0.0.1 5000 >"$LAB/cache.log" 2>&1) &
cache_is "key = \"$key\"; upload = \"file:///root/cache\"; secret_key = \"keys/fleet-1\";" \
    'nodes.alpha = { substitute_only = true; }; nodes.beta = { substitute_only = true; };'
bento authorized-keys | lab_authorize
for node in $fleet_nodes; do
    node_stop "$node"
    with_forward "$node"
    node_start "$node"
done

expect "a release through the cache" deploy
expect "it was copied" log_says 'to the binary cache'
for node in $fleet_nodes; do
    expect "$node is up to date" up_to_date "$node"
    expect "$node fetched its system" grep -qF "$(basename "$(system_of "$node")" | cut -c 1-32).narinfo" "$LAB/cache.log"
    expect "$node built nothing" [ -z "$(find "$LAB/$node/nix/store" -maxdepth 1 -name '*-source')" ]
done
expect "it is signed with the fleet's key" grep -q '^Sig: fleet-1:' "/root/cache/$(basename "$(system_of alpha)" | cut -c 1-32).narinfo"
expect "the secret key stays where it is" not grep -rqsF "$(cut -d: -f2 /root/fleet/keys/fleet-1)" /root/cache "$LAB/deploy.log"

# What somebody else signed.
cache_is "key = \"$key\"; upload = \"file:///root/cache\"; secret_key = \"keys/stranger-1\";" \
    'nodes.alpha = { substitute_only = true; };'
good=$(system_of alpha)
host_write alpha 'text = "signed by a stranger";'
expect "another key: the deploy fails" not deploy alpha
expect "another key: the node refuses" shows alpha code BUILD
expect "another key: the node keeps its system" [ "$(system_of alpha)" = "$good" ]

# What is not there.
cache_is "key = \"$key\"; upload = \"file:///root/cache\";" 'nodes.alpha = { substitute_only = true; };'
released() {
    bento-status --json | jq -r .release
}
before=$(released)
host_write alpha 'text = "nobody has it";'
expect "not in the cache: refused" not deploy --no-build alpha
expect "not in the cache: which" log_says 'alpha may only substitute'
expect "not in the cache: nothing was published" [ "$(released)" = "$before" ]

cache_is "key = \"$key\"; upload = \"file:///root/cache\"; secret_key = \"keys/nowhere\";"
expect "no secret key: refused" not deploy alpha
expect "no secret key: how to make one" log_says 'generate-binary-cache-key NAME'
expect "no secret key: nothing was published" [ "$(released)" = "$before" ]
finish
