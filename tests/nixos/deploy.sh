#!/bin/sh
# What a user of NixOS writes, on real systemd: a server whose units, accounts and sshd_config come from nixos/broker.nix, and a
# node whose system brings the units of nixos/node.nix; enrolled, deployed to, switched to another configuration of bento,
# brought back, and booted.
set -eu
LAB_SYSTEMD=1
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
fleet_nodes=router
server=$lab_network.2

# The server's, which is not the hub here.
lab_host_key() {
    cut -d' ' -f1,2 "$LAB/server/etc/ssh/ssh_host_ed25519_key.pub"
}

# ---- the server: what NixOS makes of its configuration ----

# server_make: evaluates it and puts the files, units and accounts where NixOS would.
server_make() {
    nix-instantiate --eval --strict --json --argstr fleet /root/fleet/fleet.nix -E '{ fleet }:
        let server = import '"$LAB_PROJECT"'/tests/nixos/server.nix { fleet = /. + fleet; };
        in { inherit (server) units etc sshd tmpfiles; inherit (server.config.users) users groups; }' \
        >"$LAB/server.json" || return 1
    server_etc=$LAB/server/etc
    server_files '.units | to_entries[] | [.key, .value]' "$server_etc/static/systemd/system"
    server_files '.etc | to_entries[] | [.key, .value]' "$server_etc"
    server_files '["bento.conf", (.tmpfiles | join("\n"))]' "$server_etc/tmpfiles.d"
    server_files '["sshd_config", .sshd]' "$server_etc/ssh"
}

# server_files JQ FOLDER: writes each [name, text] into the folder.
server_files() {
    jq -r "$1 | .[0]" "$LAB/server.json" | while read -r server_file; do
        mkdir -p "$(dirname "$2/$server_file")"
        jq -r --arg name "$server_file" "$1 | select(.[0] == \$name) | .[1]" "$LAB/server.json" >"$2/$server_file"
    done
}

server_accounts() {
    sed -i '/^bento/d' "$server_etc/passwd" "$server_etc/group" "$server_etc/shadow"
    server_id=61100
    for server_group in $(jq -r '.groups | keys[]' "$LAB/server.json"); do
        server_id=$((server_id + 1))
        echo "$server_group:x:$server_id:" >>"$server_etc/group"
    done
    for server_user in $(jq -r '.users | keys[]' "$LAB/server.json"); do
        server_id=$((server_id + 1))
        server_group=$(jq -r --arg user "$server_user" '.users[$user].group' "$LAB/server.json")
        echo "$server_user:x:$server_id:$(sed -n "s/^$server_group:x:\([0-9]*\):.*/\1/p" "$server_etc/group")::/var/empty:/bin/sh" \
            >>"$server_etc/passwd"
        echo "$server_user:*:19000:0:99999:7:::" >>"$server_etc/shadow"
    done
}

server_start() {
    mkdir -p "$LAB/server/root/.ssh" "$LAB/server/var/empty" "$LAB/server/opt/server/bin"
    # (Its own copy: what the lab shows of the machine may lie in /tmp, and the unit has another.)
    cp "$BENTO_BIN/bento-broker" "$LAB/server/opt/server/bin/"
    mkdir -p "$LAB/server/var/lib/bento-cache"
    echo "StoreDir: /nix/store" >"$LAB/server/var/lib/bento-cache/nix-cache-info"
    cp /root/.ssh/id_ed25519.pub "$LAB/server/root/.ssh/authorized_keys"
    chmod -R go= "$LAB/server/root/.ssh"
    lab_exec server sh -ec 'mkdir -p /run/sshd
        systemd-tmpfiles --create /etc/tmpfiles.d/bento.conf
        systemctl daemon-reload
        systemd-run --quiet --unit=sshd --service-type=notify /usr/sbin/sshd -D -f /etc/ssh/sshd_config
        systemctl start bento-broker bento-cache'
}

server_logs() {
    lab_exec server journalctl -q --no-pager -n 40 >&2
    finish
}

# ---- the node ----

# The owner's configuration of the router, with or without the file that add-host wrote.
router_write() {
    mkdir -p /root/fleet/hosts/router/nixos /root/fleet/hosts/router/modules
    cp "$LAB_PROJECT"/tests/nixos/*.nix /root/fleet/hosts/router/nixos/
    cp "$LAB_PROJECT"/nixos/node.nix "$LAB_PROJECT"/nixos/settings.nix /root/fleet/hosts/router/modules/
    cp "$LAB_PROJECT"/tests/nixos/router/*.nix /root/fleet/hosts/router/
    [ -e /root/fleet/router.bootstrap.json ] || sed -i '/bootstrap/d; /settings/d' /root/fleet/hosts/router/bento.nix
    [ ! -e /root/fleet/router.bootstrap.json ] || cp /root/fleet/router.bootstrap.json /root/fleet/hosts/router/
}

# What nixos-rebuild switch does, on the router itself.
router_switch() {
    lab_exec router sh -ec 'nix-build "<nixpkgs/nixos>" -A system -I nixos-config="$1" -o /root/system
        nix-env -p /nix/var/nix/profiles/system --set "$(readlink -f /root/system)"
        NIXOS_INSTALL_BOOTLOADER=1 /root/system/bin/switch-to-configuration switch' \
        sh "$LAB/hub/root/fleet/hosts/router/configuration.nix" >>"$LAB/router.switch.out" 2>&1
}

router_keys() {
    lab_exec router bento-apply keys >"$LAB/router.keys"
}

deploy() {
    deploy_status=0
    bento-pub --wait=60 router >"$LAB/deploy.log" 2>&1 || deploy_status=$?
    [ "$deploy_status" = "$1" ] || cat "$LAB/deploy.log"
    [ "$deploy_status" = "$1" ]
}

runs_own() {
    lab_exec router sh -ec '[ "$(readlink -f "/proc/$(systemctl show --value --property=MainPID "$1")/exe")" = \
        "$(readlink -f "/run/current-system/sw/bin/$1")" ]' sh "$1"
}

page_is_at() {
    lab_exec router curl -sf "http://localhost:$1/status.json" >/dev/null
}

lab_up server router
mkdir -p "$LAB/server/etc/ssh"
ssh-keygen -q -t ed25519 -N '' -C server -f "$LAB/server/etc/ssh/ssh_host_ed25519_key"
fleet_endpoints="\"ssh://$server\""
fleet_admin_socket="ssh://root@$server"
fleet_repository
sed -i '/broker = {/a cache = { url = "http://127.0.0.1:5000"; key = "none:AAAA"; forward = true; };' /root/fleet/fleet.nix
BENTO_DIR=/root/fleet
export BENTO_DIR
echo "$server $(lab_host_key)" >/root/.ssh/known_hosts

host_write router 'text = "installed";'
router_write
need "a machine with the module alone" router_switch
node_boot router
expect "waits for its enrolment" not lab_exec router systemctl is-active --quiet bento-apply bento-node
need "and shows its keys" router_keys
need "which enrol it" bento add-host router --keys "$LAB/router.keys"

need "the server's configuration is evaluated" server_make
server_accounts
expect "its broker starts" server_start
[ "$failures" = 0 ] || server_logs
host_write router 'text = "enrolled";'
router_write
need "the node with its bootstrap file" router_switch
expect "runs bento-apply" lab_exec router systemctl is-active --quiet bento-apply
expect "runs bento-node" lab_exec router systemctl is-active --quiet bento-node

need "the first release" deploy 0
expect "is what the node runs" up_to_date router
expect "the server's cache comes along" lab_exec router curl -sf -o /dev/null http://127.0.0.1:5000/nix-cache-info

host_write router 'text = "second";'
sed -i 's/settings = {/settings = { page_port = 8042;/' /root/fleet/hosts/router/bento.nix
need "another system, with another configuration of bento" deploy 0
expect "was tried and committed" consistent router
expect "bento-apply is its own" runs_own bento-apply
expect "and bento-node" runs_own bento-node
expect "the configuration holds" page_is_at 8042

good=$(system_of router)
host_write router 'mode = "cut-net"; text = "third";'
need "a system that cannot be reached" deploy 3
expect "is rolled back" shows router state rolled-back
expect "to the one before" [ "$(system_of router)" = "$good" ]
expect "which never ceased to be profile and boot entry" consistent router

lab_crash router
lab_up router
expect "after a power cut it is there again" wait_for 60 "the router" page_is_at 8042
host_write router 'text = "fourth";'
need "and takes the next release" deploy 0
expect "nothing was restarted by a watchdog or a refusal" \
    [ "$(lab_exec router systemctl show --value --property=NRestarts bento-apply bento-node | tr -d '\n')" = 00 ]
expect "the server neither" [ "$(lab_exec server systemctl show --value --property=NRestarts bento-broker)" = 0 ]
finish
