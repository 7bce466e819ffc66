#!/bin/sh
# The tunnel account opens the broker's two ports and nothing else: with both layers, the key's line and sshd's configuration,
# and with either of them alone as far as it reaches.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

lab_up router
lab_sshd
fleet_repository
BENTO_DIR=/root/fleet
export BENTO_DIR
need "a node is enrolled" fleet_enrol router
bento authorized-keys >"$LAB/authorized"
need "one line a node" [ "$(wc -l <"$LAB/authorized")" = 1 ]
lab_authorize <"$LAB/authorized"
broker_config
need "the broker runs" broker_start

key=$LAB/router/var/lib/bento/node/tunnel
echo "[$lab_hub]:$lab_ssh_port $(lab_host_key)" >/root/known_hosts
# Becomes ssh.
tunnel() {
    exec timeout 10 ssh -F none -p "$lab_ssh_port" -i "$key" -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes \
        -o StrictHostKeyChecking=yes -o UserKnownHostsFile=/root/known_hosts -o ExitOnForwardFailure=yes "$@"
}

# forward TARGET: what a byte of handshake sent to TARGET through the tunnel brings back, in hex; nothing if refused.
forward() {
    rm -f /root/local.sock
    (tunnel -N -T -L "/root/local.sock:$1" "$lab_tunnel_user@$lab_hub" 2>"$LAB/ssh.log") &
    forward_pid=$!
    wait_for 10 "the tunnel" [ -S /root/local.sock ]
    python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect("/root/local.sock")
try:
    s.sendall(bytes.fromhex("0053500000210000" if sys.argv[1].endswith("6") else "0053500000300000"))
    print(s.recv(8).hex())
except ConnectionError:
    pass' "$1" || :
    kill "$forward_pid"
    wait "$forward_pid" || :
}

refused() {
    status=0
    (tunnel "$@") >"$LAB/ssh.out" 2>"$LAB/ssh.log" </dev/null || status=$?
    # The account's shell, nologin, has nothing but this to say.
    [ "$status" != 0 ] && [ "$status" != 124 ] && ! grep -qv 'This account is currently not available' "$LAB/ssh.out"
}

account=$lab_tunnel_user@$lab_hub
no_more_than_two_ports() {
    expect "$1: PUB answers through the tunnel" [ "$(forward 127.0.0.1:23686)" = 0053500000200000 ]
    expect "$1: REP answers through the tunnel" [ "$(forward 127.0.0.1:23687)" = 0053500000310000 ]
    expect "$1: sshd's own port does not" [ -z "$(forward "$lab_hub:$lab_ssh_port")" ]
    expect "$1: nor does the broker's port under another name" [ -z "$(forward "localhost:23687")" ]
    expect "$1: no connection for standard input and output" refused -W "$lab_hub:$lab_ssh_port" "$account"
    expect "$1: no command" refused "$account" id
    expect "$1: no shell" refused "$account"
    expect "$1: no terminal" refused -tt "$account"
    expect "$1: no subsystem" refused -s "$account" sftp
    expect "$1: no listener on the server" refused -N -T -R 127.0.0.1:9999:127.0.0.1:22 "$account"
    expect "$1: no listener for everybody" refused -N -T -R '*:9999:127.0.0.1:22' "$account"
    expect "$1: no listener of the server's choice" refused -N -T -R 127.0.0.1:0:127.0.0.1:22 "$account"
    expect "$1: not even the one that permitlisten names" refused -N -T -R 127.0.0.1:1:127.0.0.1:22 "$account"
    expect "$1: no password" refused -N -T -o PubkeyAuthentication=no "$account"
}

# Only sshd's configuration speaks of these: restrict does not close them.
no_sockets() {
    expect "$1: the admin socket does not answer" [ -z "$(forward "$fleet_admin_socket")" ]
    expect "$1: no Unix listener on the server" refused -N -T -R /tmp/remote.sock:127.0.0.1:22 "$account"
    expect "$1: none is there" [ ! -e /tmp/remote.sock ]
}

restart() {
    kill "$(cat "$LAB/sshd.pid")"
    wait "$(cat "$LAB/sshd.pid")" || :
    lab_sshd_start
}

no_more_than_two_ports "both"
no_sockets "both"

sed 's/.*\(ssh-ed25519 .*\)/\1/' "$LAB/authorized" | lab_authorize
no_more_than_two_ports "sshd_config alone"
no_sockets "sshd_config alone"

lab_authorize <"$LAB/authorized"
sed -i '/^Match User/,$d' /etc/ssh/sshd_config
restart
no_more_than_two_ports "authorized_keys alone"

ssh-keygen -q -t ed25519 -N '' -f /root/stranger
key=/root/stranger
expect "no stranger" refused "$account" id
finish
