# shellcheck shell=sh disable=SC2154 # the names of lab.sh
# A fleet on the lab's hosts, set up with the commands that a user types: the broker and the admin on the hub, nodes router,
# alpha and beta. Sourced after lab.sh; everything is called inside.
#
# On a node with systemd (LAB_SYSTEMD, see lab.sh) bento runs as the units that its system brings, from its own store path, and
# comes up by itself whenever the node is booted. On others program.sh stands in for the service manager.
#
#   fleet_new              repository /root/fleet, admin's key, nodes enrolled and started, broker started. $fleet_nodes: which
#   host_write NODE ATTRS  what a host is, as Nix attributes (tests/fleet/utils/mksystem.nix): 'mode = "ok"; text = "two";'
#   broker_start, broker_stop, node_start NODE, node_stop NODE
#   shown NODE KEY         a field of bento-status --json; shows NODE KEY VALUE: it is that
#   noted, up_to_date, consistent NODE
#   switched NODE ACTION TIMES     how often switch-to-configuration was called with it
#   system_of, profile_of, boot_entry_of NODE     store paths: what runs, what is set, what would be booted
#   fleet_logs             the last lines of every log, for a failure

fleet_nodes='router alpha beta'
fleet_admin_socket=/run/bento-broker/admin.sock
# LAB_WINDOW: the seconds of the confirm window; short ones show quickly what is not reached, on a machine that has nothing else
# to do.
fleet_node_settings='{"confirm_seconds": '"${LAB_WINDOW:-6}"', "switch_seconds": 40, "return_seconds": 20, "poll_seconds": 20,
    "tick_seconds": 2, "path": "/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin"}'

fleet_new() {
    # shellcheck disable=SC2086 # a list
    lab_up $fleet_nodes
    lab_sshd
    fleet_repository
    BENTO_DIR=/root/fleet
    export BENTO_DIR
    for fleet_node in $fleet_nodes; do
        node_install "$fleet_node" || return 1
        node_boot "$fleet_node" || return 1
        fleet_enrol "$fleet_node" || return 1
    done
    bento authorized-keys | lab_authorize
    broker_config
    broker_start
    for fleet_node in $fleet_nodes; do
        node_start "$fleet_node"
    done
}

# `bento init` makes the fleet's id; the rest is what its admin would write into fleet.nix.
fleet_repository() {
    mkdir -p /root/fleet /root/.ssh
    [ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -C admin -f /root/.ssh/id_ed25519
    bento -C /root/fleet init >"$LAB/init.out"
    fleet_id=$(nix eval --raw -f /root/fleet/fleet.nix fleet)
    rm -rf /root/fleet/hosts
    cp -R "$LAB_PROJECT/tests/fleet/hosts" "$LAB_PROJECT/tests/fleet/utils" /root/fleet/
    case " $fleet_nodes " in
    *' alpha '* | *' beta '*) ;;
    *) rm -r /root/fleet/hosts/servers ;;
    esac
    cat >/root/fleet/fleet.nix <<NIX
{
  fleet = "$fleet_id";
  signers = [ "$(cat /root/.ssh/id_ed25519.pub)" ];
  broker = {
    endpoints = [ ${fleet_endpoints:-"\"ssh://$lab_tunnel_user@$lab_hub:$lab_ssh_port\""} ];
    host_key = "$(lab_host_key)";
    admin = "$fleet_admin_socket";
  };
}
NIX
}

# The node shows its keys, the admin enrols it, the file that add-host writes becomes the node's configuration.
fleet_enrol() {
    fleet_keys "$1" && (cd /root && bento add-host "$1" --keys "$LAB/$1.keys" >"$LAB/$1.add-host.out") && fleet_take "$1"
}

# The keys of a machine: $LAB/NODE.keys
fleet_keys() {
    mkdir -p "$LAB/$1/etc/bento"
    fleet_bootstrap >"$LAB/$1/etc/bento/node.json"
    lab_exec "$1" bento-apply --config /etc/bento/node.json keys >"$LAB/$1.keys"
}

fleet_take() {
    jq -s '.[0] * .[1]' "/root/fleet/$1.bootstrap.json" - >"$LAB/$1/etc/bento/node.json" <<JSON
$fleet_node_settings
JSON
}

# What the image of a new machine brings along: everything but the node itself.
fleet_bootstrap() {
    jq -n --arg fleet "$fleet_id" --arg signer "$(cat /root/.ssh/id_ed25519.pub)" --arg host "$lab_hub" \
        --argjson port "$lab_ssh_port" --arg key "$(lab_host_key)" '{fleet: $fleet, signers: [$signer], endpoints:
        [{tunnel: "ssh", host: $host, port: $port, user: "bento-tunnel", host_key: $key}]}'
}

broker_config() {
    mkdir -p /etc/bento-broker /var/lib/bento-broker /run/bento-broker
    bento broker-config >"$LAB/broker.json" || return 1
    jq '. + {tick_seconds: 2}' "$LAB/broker.json" >/etc/bento-broker/broker.json
}

broker_start() {
    bento-broker --config /etc/bento-broker/broker.json 2>>"$LAB/broker.log" &
    broker_pid=$!
    wait_for 10 "start of the broker" broker_ready && kill -0 "$broker_pid" 2>/dev/null
}

# It answers, or has ended.
broker_ready() {
    bento-status >/dev/null 2>&1 || [ $? != 1 ] || ! kill -0 "$broker_pid" 2>/dev/null
}

broker_stop() {
    kill "$broker_pid"
    wait "$broker_pid" || :
}

# The system that an installer leaves: in the profile and in the boot loader.
node_install() {
    lab_exec "$1" nix build -o /root/installed --impure --expr \
        "(import $LAB_PROJECT/tests/fleet/utils/mksystem.nix { hostName = \"$1\"; text = \"installed\"; }).config.system.build.toplevel" \
        2>"$LAB/$1.install.out" || return 1
    lab_exec "$1" sh -ec 'nix-env -p /nix/var/nix/profiles/system --set "$(readlink -f /root/installed)"
        NIXOS_INSTALL_BOOTLOADER=1 /root/installed/bin/switch-to-configuration boot' >>"$LAB/$1.install.out" 2>&1
}

# What the boot loader and stage 2 do: the system of the default entry becomes the booted and the current one.
node_boot() {
    if lab_has_systemd "$1"; then
        lab_exec "$1" systemctl reboot 2>>"$LAB/$1.install.out" || return 1
        lab_rebooted "$1"
        return
    fi
    lab_exec "$1" sh -ec 'ln -sfn "$1" /run/booted-system; "$1/activate"' sh "$(boot_entry_of "$1")" >>"$LAB/$1.install.out" 2>&1
}

node_start() {
    if lab_has_systemd "$1"; then
        lab_exec "$1" systemctl start bento-apply bento-node
        return
    fi
    for fleet_program in bento-apply bento-node; do
        sh "$LAB_SOURCE/on.sh" "$1" sh "$LAB_SOURCE/program.sh" "$fleet_program" 2>>"$LAB/$1.$fleet_program.log" &
        echo "$!" >"$LAB/$1.$fleet_program.pid"
    done
}

node_stop() {
    if lab_has_systemd "$1"; then
        lab_exec "$1" systemctl stop bento-node bento-apply
        return
    fi
    for fleet_program in bento-node bento-apply; do
        fleet_pid=$(cat "$LAB/$1.$fleet_program.pid")
        kill "$fleet_pid" 2>/dev/null || :
        wait "$fleet_pid" 2>/dev/null || :
    done
}

host_write() {
    case $1 in
    router) echo "{ $2 }" >/root/fleet/hosts/router/demo.nix ;;
    *) echo "{ $2 }" >"/root/fleet/hosts/servers/$1.nix" ;;
    esac
}

shown() {
    bento-status --json | jq -r --arg name "$1" --arg key "$2" '.nodes[] | select(.name == $name) | .[$key] | tostring'
}

shows() {
    [ "$(shown "$1" "$2")" = "$3" ]
}

# Has heard of the newest release, whatever came of it.
noted() {
    shows "$1" local_release "$(bento-status --json | jq -r .release)"
}

up_to_date() {
    noted "$1" && shows "$1" state up-to-date
}

switched() {
    [ "$(lab_exec "$1" grep -c " begin action=$2 " /run/bento-test/switch.log)" = "$3" ]
}

# One system runs, is the profile and is the boot loader's entry.
consistent() {
    [ "$(system_of "$1")" = "$(profile_of "$1")" ] && [ "$(system_of "$1")" = "$(boot_entry_of "$1")" ]
}

system_of() {
    lab_exec "$1" readlink -f /run/current-system
}

profile_of() {
    lab_exec "$1" readlink -f /nix/var/nix/profiles/system
}

boot_entry_of() {
    sed -n 's|^options init=\(.*\)/init$|\1|p' "$LAB/$1/boot/loader/entries/nixos.conf"
}

fleet_logs() {
    for fleet_log in "$LAB"/*.log; do
        [ -s "$fleet_log" ] || continue
        echo "--- $(basename "$fleet_log" .log)" >&2
        tail -n "${FLEET_LOG_LINES:-8}" "$fleet_log" >&2
    done
    for fleet_node in $fleet_nodes; do
        lab_has_systemd "$fleet_node" || continue
        echo "--- journal of $fleet_node" >&2
        journalctl -q --no-pager -o short-monotonic -D "$LAB/$fleet_node/var/log/journal" \
            -n "$((${FLEET_LOG_LINES:-8} * 4))" >&2
    done
}
