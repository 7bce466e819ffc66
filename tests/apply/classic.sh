#!/bin/sh
# Classic hosts: a configuration.nix evaluated from the added tree, with a nixpkgs that is pinned (the path is expected) or not;
# and dry runs.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

# What stands in for nixpkgs, as a tarball at a URL.
serve_nixpkgs() {
    mkdir -p /root/www/pinned
    cp -R "$LAB_PROJECT/tests/fleet/nixpkgs/nixos" "$LAB_PROJECT/tests/fleet/utils" /root/www/pinned/
    sed -i 's|import ../../utils|import ../utils|' /root/www/pinned/nixos/default.nix
    tar -C /root/www -czf /root/www/nixpkgs.tar.gz pinned
    /usr/bin/python3 -m http.server --bind "$lab_hub" --directory /root/www 8080 >"$LAB/http.log" 2>&1 &
    wait_for 10 "the server" curl -fs -o /dev/null "http://$lab_hub:8080/nixpkgs.tar.gz"
}

start_fleet
expect "unpinned: nothing is expected" shows router remote unpinned

need "a nixpkgs is served" serve_nixpkgs
hash=$(nix-prefetch-url --unpack "http://$lab_hub:8080/nixpkgs.tar.gz" 2>/dev/null)
policy "nixpkgs = { url = \"http://$lab_hub:8080/nixpkgs.tar.gz\"; sha256 = \"$hash\"; };"
remember
deploy 'units.pinned = "true";'
settles "pinned" up-to-date '' new
expect "pinned: the path is the expected one" shows router remote same
expect "pinned: the node fetched it itself" grep -q "nix-prefetch-url .*$hash" "$LAB/router/var/lib/bento/apply/jobs/obtain.out"

# Evaluated on the admin's machine it is another system than on the node: signed is the one, and the other is not built.
remember
deploy 'kernel = "6.${toString (builtins.stringLength (builtins.readFile /etc/hostname))}";'
settles "what evaluates to something else here" refused EXPECTED good
expect "what evaluates to something else here: was not tried" log_has_times 'begin action=test' 2

remember
policy "action = \"dry\"; nixpkgs = { url = \"http://$lab_hub:8080/nixpkgs.tar.gz\"; sha256 = \"$hash\"; };"
publish 'units.dry = "true";'
expect "dry: said so" in_time 30 dry-activated
expect "dry: the old system runs" runs_good
expect "dry: and is profile and boot entry" consistent router
expect "dry: nothing was tried" log_has_times 'begin action=test' 2
expect "dry: the log has what would be restarted" sh -c \
    'bento-status --log router | grep -q "would start the following units: dry.service"'

policy "nixpkgs = { url = \"http://$lab_hub:8080/nixpkgs.tar.gz\"; sha256 = \"0000000000000000000000000000000000000000000000000000\"; };"
publish 'units.wrong = "true";'
expect "a wrong hash: bento-pub refuses" not deploy_ends_with 0
expect "a wrong hash: and says which" grep -q 'router.*hash' "$LAB/deploy.log"
finish
