#!/bin/sh
# Bad input: a one-line error that names the file or host and says what to do, exit 1 (usage: 64), and nothing half-written.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

need "a fleet" fleet_new
need "a first deploy" bento-pub --wait=240

# Of everything that a failed command may not have touched.
fingerprint() {
    find /root/fleet /etc/bento-broker /root/.ssh "$LAB/router/etc/bento" -type f -exec sha256sum {} + | sort | sha256sum
}

# refuses WHAT STATUS PATTERN COMMAND…: the command ends with STATUS and one line on stderr that matches PATTERN. (A host
# has one line of its own, with the tail of its log indented below.)
refuses() {
    what=$1 wanted=$2 pattern=$3
    shift 3
    before=$(fingerprint) status=0
    timeout 30 "$@" >"$LAB/refuses.out" 2>"$LAB/refuses.log" </dev/null || status=$?
    if [ "$status" != "$wanted" ]; then
        fail "$what: exit $status, not $wanted: $(cat "$LAB/refuses.log")"
    elif [ "$(grep -vcE '^( |$)|every named host failed' "$LAB/refuses.log")" != 1 ]; then
        fail "$what: not one line: $(cat "$LAB/refuses.log")"
    elif ! grep -qE "$pattern" "$LAB/refuses.log"; then
        fail "$what: does not name /$pattern/: $(cat "$LAB/refuses.log")"
    elif [ "$before" != "$(fingerprint)" ]; then
        fail "$what: something was written"
    else
        echo "ok: $what: $(cat "$LAB/refuses.log")"
    fi
}

node_json=$LAB/router/etc/bento/node.json
broker_json=/etc/bento-broker/broker.json

# changed FILE JQ-FILTER: a changed copy of a configuration, by its path.
changed() {
    rm -f "$(dirname "$1")/changed.json"
    jq "$2" "$1" >"$(dirname "$1")/changed.json"
    echo "$(dirname "$1")/changed.json"
}

# ---- usage ----
for program in bento bento-pub bento-status bento-broker bento-node bento-apply; do
    refuses "$program with an unknown option" 64 'no-such-option' "$program" --no-such-option
done
refuses "bento with an unknown command" 64 'deplyo' bento deplyo

# ---- configuration files ----
changed "$node_json" '. + {confirm_secnds: 3}' >/dev/null
refuses "bento-node, unknown key" 1 'changed.json.*confirm_secnds' on router bento-node --config /etc/bento/changed.json
refuses "bento-apply, unknown key" 1 'changed.json.*confirm_secnds' \
    on router bento-apply --config /etc/bento/changed.json --no-systemd
changed "$node_json" 'del(.fleet)' >/dev/null
refuses "bento-node, missing key" 1 'changed.json.*fleet' on router bento-node --config /etc/bento/changed.json
changed "$node_json" '.endpoints[0].host = "-oProxyCommand=reboot"' >/dev/null
refuses "bento-node, an option as host" 1 'changed.json.*host' on router bento-node --config /etc/bento/changed.json
changed "$node_json" '.threshold = 2' >/dev/null
refuses "bento-apply, more signatures than signers" 1 'changed.json.*signers' \
    on router bento-apply --config /etc/bento/changed.json --no-systemd
changed "$node_json" '.signers += .signers' >/dev/null
refuses "bento-apply, one signer twice" 1 'changed.json.*signers' \
    on router bento-apply --config /etc/bento/changed.json --no-systemd
cp "$node_json" "$LAB/router/etc/bento/changed.json"
chmod 666 "$LAB/router/etc/bento/changed.json"
refuses "bento-apply, writable for all" 1 'changed.json.*chmod' \
    on router bento-apply --config /etc/bento/changed.json --no-systemd
refuses "bento-node, no file" 1 'absent.json' on router bento-node --config /etc/bento/absent.json
refuses "bento-broker, unknown key" 1 'changed.json.*reb' bento-broker --config "$(changed $broker_json '. + {reb: "x"}')"
refuses "bento-broker, not JSON" 1 'fleet.nix' bento-broker --config /root/fleet/fleet.nix
cp $broker_json /etc/bento-broker/changed.json
chmod 666 /etc/bento-broker/changed.json
refuses "bento-broker, writable for all" 1 'changed.json.*chmod' bento-broker --config /etc/bento-broker/changed.json

# ---- keys ----
ssh-keygen -q -t ed25519 -N secret -f /root/encrypted
ssh-keygen -q -t ed25519 -N '' -f /root/stranger
refuses "bento-pub, no such key" 1 '/root/absent' bento-pub --key /root/absent
refuses "bento-pub, a key that is no signer" 1 'signer' bento-pub --key /root/stranger
changed "$node_json" '.identity = "/etc/bento/identity"' >/dev/null
cp /root/encrypted "$LAB/router/etc/bento/identity"
chmod 600 "$LAB/router/etc/bento/identity"
refuses "bento-apply, encrypted identity" 1 '/etc/bento/identity.*(encrypted|passphrase)' \
    on router bento-apply --config /etc/bento/changed.json keys
cp /root/stranger "$LAB/router/etc/bento/identity"
chmod 644 "$LAB/router/etc/bento/identity"
refuses "bento-apply, identity that others can read" 1 '/etc/bento/identity.*chmod' \
    on router bento-apply --config /etc/bento/changed.json keys
echo damaged >"$LAB/router/etc/bento/identity"
chmod 600 "$LAB/router/etc/bento/identity"
refuses "bento-apply, damaged identity" 1 '/etc/bento/identity' on router bento-apply --config /etc/bento/changed.json keys

# ---- the repository ----
# broken NAME: a copy of the repository to spoil.
broken() {
    rm -rf "/root/$1"
    cp -R /root/fleet "/root/$1"
    cd "/root/$1"
}
broken twins
jq '.beta.key = .alpha.key' nodes.json >nodes.tmp
mv nodes.tmp nodes.json
refuses "two nodes with one key" 1 'alpha.*beta|beta.*alpha' bento-pub -C /root/twins
broken extra
mkdir hosts/extra
cp hosts/router/*.nix hosts/extra/
refuses "a host without a node" 1 'extra.*add-host|add-host.*extra' bento-pub -C /root/extra
broken absent
rm -r hosts/router
refuses "a node without a host" 1 'router' bento-pub -C /root/absent
broken syntax
echo '{ fleet = ' >fleet.nix
refuses "a broken fleet.nix" 1 'fleet.nix' bento-pub -C /root/syntax
broken typo
sed -i 's/signers =/expires_dayz = 3; signers =/' fleet.nix
refuses "an unknown key in fleet.nix" 1 'fleet.nix.*expires_dayz' bento-pub -C /root/typo
broken empty
rm fleet.nix
refuses "no fleet.nix" 1 'fleet.nix.*bento init|bento init.*fleet.nix' bento-pub -C /root/empty
broken lock
mkdir -p /root/input
echo '{ outputs = { self }: { }; }' >/root/input/flake.nix
sed -i 's|description = .*|inputs.other.url = "path:/root/input";|; s/{ self }/{ self, other }/' hosts/servers/flake.nix
refuses "a missing lock" 1 'alpha.*flake.lock.*nix flake lock' bento-pub -C /root/lock alpha
broken unlocked
sed -i 's|description = .*|inputs.other.url = "path:/root/input";|; s/{ self }/{ self, other }/' hosts/servers/flake.nix
echo '{ "nodes": { "root": { } }, "root": "root", "version": 7 }' >hosts/servers/flake.lock
refuses "an incomplete lock" 1 'alpha.*flake.lock.*nix flake lock' bento-pub -C /root/unlocked alpha
cd /root

# ---- the broker ----
broken nowhere
sed -i "s|admin = .*|admin = \"/run/nowhere/admin.sock\";|" fleet.nix
cd /root
refuses "bento-pub, no broker" 1 '/run/nowhere/admin.sock' bento-pub -C /root/nowhere
refuses "bento-status, no broker" 1 '/run/nowhere/admin.sock' bento-status -C /root/nowhere

second_broker() {
    changed $broker_json ".state = \"$1\" | .admin = \"/run/second.sock\" | .pub = \"tcp://127.0.0.1:23696\"
        | .rep = \"tcp://127.0.0.1:23697\"" >/dev/null
}
mkdir -p /root/newer
python3 -c '
import sqlite3
db = sqlite3.connect("/root/newer/bento.sqlite")
db.execute("CREATE TABLE future (x)")
db.execute("PRAGMA user_version = 999")
db.commit()'
second_broker /root/newer
sum=$(sha256sum /root/newer/bento.sqlite)
refuses "a database of a newer schema" 1 'bento.sqlite.*(999|newer)' bento-broker --config /etc/bento-broker/changed.json
expect "which stays as it is" [ "$sum" = "$(sha256sum /root/newer/bento.sqlite)" ]
mkdir -p /root/full
mount -t tmpfs -o size=16k tmpfs /root/full
head -c 16k /dev/zero >/root/full/filler || :
second_broker /root/full
refuses "a full disk" 1 '/root/full' bento-broker --config /etc/bento-broker/changed.json
mkdir -p /root/taken
refuses "a taken port" 1 '23686' bento-broker --config "$(changed $broker_json '.admin = "/run/second.sock" | .state = "/root/taken"')"
rm -f /etc/bento-broker/changed.json

# ---- garbage on the ports ----
garbage() {
    timeout 60 python3 - "$@" <<'PYTHON'
import os, socket, sys, struct
port = int(sys.argv[1])
hello = {23686: b"\0SP\0\0\x21\0\0", 23687: b"\0SP\0\0\x30\0\0"}[port]
for i in range(60):
    s = socket.socket()
    s.settimeout(5)
    s.connect(("127.0.0.1", port))
    try:
        if i % 3 == 0:
            s.sendall(os.urandom(512))
        elif i % 3 == 1:
            s.sendall(hello + struct.pack(">Q", 1 << 60) + os.urandom(512))
        else:
            body = struct.pack(">I", 0x80000001) + os.urandom(64)
            s.sendall(hello + struct.pack(">Q", len(body)) + body)
        if i % 3 != 2:
            while s.recv(4096):
                pass
    except (ConnectionError, socket.timeout) as problem:
        if isinstance(problem, socket.timeout):
            sys.exit("a connection with garbage stays open")
    s.close()
PYTHON
}
lines=$(wc -l <"$LAB/broker.log")
expect "garbage on PUB: closed" garbage 23686
expect "garbage on REP: closed" garbage 23687
logged=$(($(wc -l <"$LAB/broker.log") - lines))
expect "garbage is logged, with a rate limit ($logged lines)" [ "$logged" -le 20 ]
expect "the broker is unharmed" kill -0 "$broker_pid"
host_write router 'mode = "ok"; text = "after garbage";'
expect "and serves" bento-pub --wait=240
finish
