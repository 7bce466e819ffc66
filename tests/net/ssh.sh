#!/bin/sh
# The preset ssh on a real sshd: pinned host key, jump host and proxy, several endpoints, the cache's forward, orphans, a
# transfer that is cut again and again, and many nodes that come back at once.
set -eu
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$LAB_PROJECT/tests/net/common.sh"
# shellcheck source-path=SCRIPTDIR source=../lab/weather.sh
. "$LAB_SOURCE/weather.sh"

# Nothing here is about a window that is too short.
fleet_node_settings=$(echo "$fleet_node_settings" | jq '.confirm_seconds = 60 | .tick_seconds = 6')
fleet_new
for node in alpha beta; do host_write "$node" 'mode = "ok"; text = "word-that-nobody-should-read";'; done
bento-pub --wait=240 >"$LAB/deploy.log" 2>&1 || :
for node in $fleet_nodes; do
    need "$node follows the first release" up_to_date "$node"
done
host_key=$(lab_host_key)

# ---- whoever is on the node, too ----

# ids: what is known to everybody who may read the roster.
somebody() {
    ports=$(grep -o 'tunnel started.*' "$(node_log alpha)" | tail -n 1 | grep -o '[0-9]*\( \|$\)' | tr -d '\n')
    ids=$(jq -r '.[].key' /root/fleet/nodes.json | cut -d' ' -f2 |
        while read -r key; do echo "$key" | base64 -d | sha256sum | cut -d' ' -f1; done)
    # shellcheck disable=SC2086 # lists
    lab_exec alpha setpriv --reuid=65534 --regid=65534 --clear-groups env PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 \
        "$LAB_PROJECT/tests/net/local_user.py" $ports /var/lib/bento word-that-nobody-should-read $ids
}
if [ "$LAB_UID" = 0 ] && /usr/bin/python3 -c 'import msgpack, nacl' 2>/dev/null; then
    found=$(somebody 2>&1 || echo failed)
    expect "a local user gets ciphertext, and only signed statuses in: $(echo "$found" | tail -n 3)" [ "$found" = "done" ]
fi

# ---- children ----

gone() {
    ! kill -0 "$1" 2>/dev/null
}

old=$(children alpha ssh)
need "one ssh on alpha" [ "$(echo "$old" | wc -w)" = 1 ]
node_restart alpha KILL
expect "kill -9 of bento-node leaves no ssh" wait_for 10 "end of ssh" gone "$old"
need "started again it connects" wait_for 20 "alpha" connected alpha
mark alpha
kill -9 "$(children alpha ssh)"
need "a dead ssh is replaced" wait_for 20 "alpha" connected alpha
expect "and named in the log" says alpha 'reason="ssh ended with 137"'
mark alpha
broker_stop
broker_start
expect "a broker that restarts is redialled" wait_for 40 "alpha" connected alpha
expect "through the same tunnel" not says alpha 'tunnel started'

# ---- the host key is pinned ----

rm /etc/ssh/ssh_host_ed25519_key
lab_host_key >/dev/null
mark alpha
sshd_kill
lab_sshd
need "alpha dials the changed server" wait_for 30 "alpha" says alpha 'Host key verification failed'
expect "and does not talk to it" not connected alpha
cat >"$LAB/alpha/etc/bento/ssh_config" <<'CONF'
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
GlobalKnownHostsFile /dev/null
ControlMaster auto
ControlPath /tmp/control-%h
ClearAllForwardings yes
BatchMode no
CONF
node_config alpha '.endpoints[0].ssh_config = "/etc/bento/ssh_config"'
node_restart alpha
need "with an ssh_config that would trust anybody" wait_for 30 "alpha" says alpha 'Host key verification failed'
expect "it does not either" not connected alpha
new_key=$(lab_host_key)
node_config alpha ".endpoints[0].host_key = \"$new_key\""
node_restart alpha
need "the new key's owner is let in, whatever the ssh_config wants" wait_for 20 "alpha" connected alpha
chmod 666 "$LAB/alpha/etc/bento/ssh_config"
node_restart alpha
expect "an ssh_config that others may write is not used" wait_for 20 "alpha" says alpha 'others may write'
chmod 644 "$LAB/alpha/etc/bento/ssh_config"

# ---- jump host and proxy ----

python3 "$LAB_PROJECT/tests/net/proxy.py" "$lab_hub" 3128 >"$LAB/proxy.log" 2>&1 &
if command -v corkscrew >/dev/null; then
    echo "ProxyCommand corkscrew $lab_hub 3128 %h %p" >"$LAB/alpha/etc/bento/ssh_config"
    node_restart alpha
    expect "through a proxy, with corkscrew" wait_for 20 "alpha" connected alpha
    expect "which was asked" grep -q "CONNECT $lab_hub:$lab_ssh_port" "$LAB/proxy.log"
else
    echo "not tried: corkscrew is not installed"
fi

sed "s/^Port .*/Port 2224/; s/^PidFile .*/PidFile none/; s/PermitOpen .*/PermitOpen $lab_hub:$lab_ssh_port/
    s|^AuthorizedKeysFile .*|AuthorizedKeysFile /etc/ssh/jump.keys|" /etc/ssh/sshd_config >/etc/ssh/jump_config
ssh-keygen -y -f "$LAB/alpha/var/lib/bento/node/tunnel" >/etc/ssh/jump.keys
set -- /usr/sbin/sshd -D -e -f /etc/ssh/jump_config
[ "$LAB_UID" = 0 ] || set -- unshare --user --map-user="$LAB_UID" --map-group="$LAB_GID" -- "$@"
"$@" 2>"$LAB/jump.log" &
need "a jump host" wait_for 10 "its sshd" grep -q 'Server listening' "$LAB/jump.log"
echo "[$lab_hub]:2224 $new_key" >"$LAB/alpha/etc/bento/jump_hosts"
cat >"$LAB/alpha/etc/bento/ssh_config" <<CONF
Host jump
    HostName $lab_hub
    Port 2224
    User $lab_tunnel_user
    IdentityFile /var/lib/bento/node/tunnel
    UserKnownHostsFile /etc/bento/jump_hosts
Host $lab_hub
    ProxyJump jump
CONF
node_restart alpha
expect "through a jump host" wait_for 20 "alpha" connected alpha
expect "which let it pass" grep -q 'Accepted publickey' "$LAB/jump.log"

# ---- several endpoints ----

node_config alpha '.endpoints[0] |= del(.ssh_config) | .endpoints |= [(.[0] | .port = 1),
    {tunnel: "command", argv: ["false", "{pub}", "{rep}"]}, (.[0] | .port = 2224 | .host_key = $other), .[0]]' \
    --arg other "$host_key"
rm -f "$LAB/alpha/var/lib/bento/node/endpoint"
node_restart alpha
need "the fourth of four endpoints is found" wait_for 40 "alpha" connected alpha
expect "the refused port is named" says alpha "endpoint=\"ssh://bento-tunnel@$lab_hub:1\" reason=\"ssh ended with 255\""
expect "the program that does nothing is named" \
    says alpha 'endpoint="command false {pub} {rep}" reason="false ended with 1"'
remembered() {
    grep -qF "$lab_hub:$lab_ssh_port" "$LAB/alpha/var/lib/bento/node/endpoint"
}
need "the good one is remembered" wait_for 10 "endpoint" remembered
node_restart alpha
need "a restart" wait_for 20 "alpha" connected alpha
expect "begins with it" not says alpha 'link lost'
# Words of the owner's own, ports of bento-node's.
node_config alpha '.endpoints |= [{tunnel: "command", argv: ["ssh", "-F", "none", "-N", "-p", (.[3].port | tostring),
    "-i", "/var/lib/bento/node/tunnel", "-o", "UserKnownHostsFile=/var/lib/bento/node/known_hosts",
    "-o", "HostKeyAlias=bento-broker", "-o", "IdentitiesOnly=yes", "-L", "127.0.0.1:{pub}:127.0.0.1:23686",
    "-L", "127.0.0.1:{rep}:127.0.0.1:23687", "bento-tunnel@" + .[3].host]}, .[3]]'
node_restart alpha
expect "a command with placeholders" wait_for 20 "alpha" connected alpha
node_config alpha '.endpoints |= [.[1]]'

# ---- the cache's forward ----

sed -i 's/PermitOpen .*/& 127.0.0.1:5000/' /etc/ssh/sshd_config
sed -i 's/,permitlisten=/,permitopen="127.0.0.1:5000"&/' /etc/ssh/bento-tunnel.keys
sshd_kill
lab_sshd_start
mkdir /root/cache
echo narinfo >/root/cache/nix-cache-info
(cd /root/cache && exec python3 -m http.server --bind 127.0.0.1 5000 >"$LAB/cache.log" 2>&1) &
node_config alpha '.endpoints[0].cache_port = 5000 | .cache_port = 5001'
node_restart alpha
cache_answers() {
    [ "$(lab_exec alpha python3 -c 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:5001/nix-cache-info", timeout=5).read())' \
        2>&1)" = "b'narinfo\\n'" ]
}
need "with a forward for the cache" wait_for 20 "alpha" connected alpha
expect "the server's cache answers on the node" wait_for 10 "the cache" cache_answers
kill -STOP "$(node_pid alpha bento-node)"
kill -9 "$(children alpha ssh)"
lab_exec alpha python3 -c 'import socket, time; s = socket.create_server(("127.0.0.1", 5001)); print("ready", flush=True); time.sleep(600)' \
    >"$LAB/squatter.log" &
wait_for 10 "the squatter" grep -q ready "$LAB/squatter.log"
mark alpha
kill -CONT "$(node_pid alpha bento-node)"
expect "who takes its port does not cut off the broker" wait_for 20 "alpha" connected alpha
expect "and is told of" says alpha 'tunnel without the binary cache port=5001'

# ---- a transfer that is cut again and again ----

node_config alpha '.endpoints[0] |= del(.cache_port)'
node_restart alpha
need "without the cache again" wait_for 20 "alpha" connected alpha
head -c 20000000 /dev/urandom >/root/fleet/hosts/servers/ballast
lab_rate alpha 24mbit
publish() {
    bento-pub alpha >"$LAB/deploy.log" 2>&1
}
arrived() {
    [ -n "$(find "$LAB/alpha/var/lib/bento/spool/in/blobs" "$LAB/alpha/var/lib/bento/apply" -size +19000k)" ]
}
need "20 MB are published" publish
cuts=0
deadline=$(($(date +%s) + 400))
until arrived || [ "$(date +%s)" -ge "$deadline" ]; do
    mark alpha
    sshd_kill sessions
    cuts=$((cuts + 1))
    wait_for 20 "alpha" connected alpha || break
    sleep 1.5 # of fair weather, then the next cut
done
expect "they arrive" arrived
expect "over a link that was cut all the time ($cuts times)" [ "$cuts" -ge 3 ]
lab_rate alpha off
expect "and are installed" wait_for 30 "alpha" up_to_date alpha
expect "nothing of it is left in parts" [ -z "$(ls "$LAB/alpha/var/lib/bento/node/partial")" ]

# ---- thirty at once ----

# More bento-node on the router, each with a folder of its own.
for number in $(seq 28); do
    folder=$LAB/router/var/lib/more/$number
    mkdir -p "$folder/node" "$folder/spool/in/blobs" "$folder/spool/out"
    cp "$LAB/router/var/lib/bento/node/tunnel" "$folder/node/"
    jq --arg state "/var/lib/more/$number" --arg key "$new_key" '.state = $state | .endpoints[0].host_key = $key' \
        "$LAB/router/etc/bento/node.json" >"$LAB/router/etc/bento/more.$number.json"
    sh "$LAB_SOURCE/on.sh" router bento-node --config "/etc/bento/more.$number.json" 2>"$LAB/more.$number.out" &
done
all_connected() {
    [ "$(grep -l 'subscription up' "$LAB"/more.*.out | wc -l)" = 28 ]
}
need "28 more nodes connect" wait_for 60 "them" all_connected
for number in $(seq 28); do : >"$LAB/more.$number.out"; done
sshd_kill
lab_sshd_start
started=$(date +%s)
expect "they all come back when sshd does" wait_for 60 "them" all_connected
echo "28 nodes were back after $(($(date +%s) - started)) s"
finish
