#!/bin/sh
# SELF_UPDATE: a machine that takes newer inputs by itself, through the same trial, and what a later release does to it.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

# What is upstream: arguments of the system, fetched by URL.
upstream() {
    mkdir -p /root/www/upstream
    echo "{ $1 }" >/root/www/upstream/system.nix
    tar -C /root/www -czf /root/www/upstream.tar.gz.tmp upstream
    mv /root/www/upstream.tar.gz.tmp /root/www/upstream.tar.gz
}

# The router becomes a flake with one input.
flake_host() {
    rm /root/fleet/hosts/router/configuration.nix
    for name in mksystem.nix switch-to-configuration activate; do
        ln -s "../../utils/$name" "/root/fleet/hosts/router/$name"
    done
    cat >/root/fleet/hosts/router/flake.nix <<NIX
{
  inputs.upstream = { url = "http://$lab_hub:8080/upstream.tar.gz"; flake = false; };
  outputs = { self, upstream }: {
    nixosConfigurations.router =
      import ./mksystem.nix ({ hostName = "router"; } // import ./demo.nix // import "\${upstream}/system.nix");
  };
}
NIX
    touch /root/fleet/hosts/router/SELF_UPDATE
    echo '{ }' >/root/fleet/hosts/router/demo.nix
    nix flake lock /root/fleet/hosts/router 2>"$LAB/lock.log"
}

served() {
    curl -fs "http://$lab_hub:8080/upstream.tar.gz" >/dev/null
}

# Somebody at the machine presses the button; it takes one in a while.
asks_until() {
    asks && "$@"
}

upstream 'interface = "systemd 3";'
/usr/bin/python3 -m http.server --bind "$lab_hub" --directory /root/www 8080 >"$LAB/http.log" 2>&1 &
need "the upstream is there" wait_for 10 "its server" served
need "a fleet starts" fleet_new
need "the lock is made" flake_host
deploy ''
need "a first deploy converges" up_to_date router

remember
updated() {
    shows router state auto-upgraded && not runs_good
}
upstream 'units.newer = "true";'
expect "the button: updated" wait_for 40 "auto-upgraded" asks_until updated
settles "the button" auto-upgraded '' new
expect "the button: said as what it is" [ "$(shown router auto)" = true ]

remember
bento-pub >"$LAB/deploy.log" 2>&1
expect "the same configuration in a newer release: noted" wait_for 20 "the release" noted router
settles "the same configuration in a newer release" auto-upgraded '' good

upstream 'mode = "cut-net";'
expect "a bad update: it goes back" wait_for 60 "rolled-back" asks_until shows router state rolled-back
settles "a bad update" rolled-back CONNECTIVITY good
tries=$(lab_exec router grep -c 'mode=cut-net begin action=test' /run/bento-test/switch.log)
judged() {
    [ "$(lab_exec router journalctl -q -b -o cat -u bento-apply | grep -c 'job ended kind=update status=0')" -ge "$1" ]
}
expect "a bad update: looked at again" wait_for 40 "another update" asks_until judged 3
expect "a bad update: not tried again" log_has_times 'mode=cut-net begin action=test' "$tries"

upstream 'units.newest = "true";'
lab_exec router sh -ec 'jq ".self_update_seconds = 2" /etc/bento/node.json >/etc/bento/node.json.new
    mv /etc/bento/node.json.new /etc/bento/node.json; systemctl restart bento-apply'
expect "the timer: updated" wait_for 30 "auto-upgraded" updated
settles "the timer" auto-upgraded '' new
lab_exec router sh -ec 'jq "del(.self_update_seconds)" /etc/bento/node.json >/etc/bento/node.json.new
    mv /etc/bento/node.json.new /etc/bento/node.json; systemctl restart bento-apply'

remember
rm /root/fleet/hosts/router/SELF_UPDATE
deploy 'units.another = "true";'
expect "another configuration: replaces it" deploy_ends_with 0
settles "another configuration" up-to-date '' new
finish
