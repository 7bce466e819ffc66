#!/bin/sh
# A random word is planted as alpha's secret and another one in the router's tree; both are deployed for real. Then they are
# looked for in whatever anybody but the admin and that node could get at: the networks, the broker's sockets, state and
# memory dumps, every disk, every store, every log.
set -eu
LAB_SOURCE=$(realpath "$(dirname "$0")/../lab")
if ! /usr/bin/python3 -c 'import msgpack, nacl' 2>/dev/null; then
    echo "skipped: Python has no msgpack or no nacl (script/packages)"
    exit 77
fi
# A sanitized program forbids core dumps by itself, and then nothing would be tested.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}disable_coredump=0
export ASAN_OPTIONS
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
here=$LAB_PROJECT/tests/attacks
# shellcheck disable=SC3045 # dash and bash know it; without it the control below says so
ulimit -c unlimited 2>/dev/null || :
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE

# ---- the recorder stands between the admin's socket and the broker's ---------------------------------------------------------

broker_config() {
    mkdir -p /etc/bento-broker /var/lib/bento-broker /run/bento-broker/behind "$LAB/record"
    bento broker-config | jq '. + {tick_seconds: 2, admin: "/run/bento-broker/behind/admin.sock"}' \
        >/etc/bento-broker/broker.json || return 1
    /usr/bin/python3 "$here/record.py" "$LAB/record" \
        /run/bento-broker/admin.sock=/run/bento-broker/behind/admin.sock \
        /run/bento-broker/events.sock=/run/bento-broker/behind/events.sock >"$LAB/record.out" 2>"$LAB/record.log" &
    recorder=$!
    wait_for 10 "the recorder" grep -q recording "$LAB/record.out"
}

word() {
    head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \n'
}

# absent WORDS PATH…, found WORDS PATH…
absent() {
    absent_words=$1
    shift
    echo "$absent_words" | /usr/bin/python3 "$here/find_words.py" "$@" >&2
}

found() {
    found_words=$1 found_status=0
    shift
    echo "$found_words" | /usr/bin/python3 "$here/find_words.py" "$@" >/dev/null || found_status=$?
    [ "$found_status" = 1 ]
}

# ---- core dumps --------------------------------------------------------------------------------------------------------------

# A program's working folder: / of a node, /root of the hub.
no_cores() {
    [ -z "$(find "$1" -maxdepth 2 \( -name core -o -name 'core.[0-9]*' \) -type f)" ]
}

# That this machine writes them, where we look, is what makes their absence worth something.
machine_dumps() {
    # shellcheck disable=SC2016 # not ours to expand
    lab_exec alpha sh -c 'kill -ABRT $$' 2>/dev/null || :
    no_cores "$LAB/alpha" && return 1
    rm -f "$LAB/alpha/core" "$LAB/alpha"/core.[0-9]*
}

restarts() {
    grep -c 'ended with 134' "$LAB/$1.bento-apply.log" || :
}

abort_apply() {
    before=$(restarts "$1")
    kill -ABRT "$(lab_exec "$1" cat /run/bento-test/bento-apply.pid)"
    wait_for 10 "another start of bento-apply" aborted_more_than "$before" "$1"
}

aborted_more_than() {
    [ "$(restarts "$2")" -gt "$1" ]
}

# ---- deploy ------------------------------------------------------------------------------------------------------------------

need "a fleet" fleet_new
secret=$(word) secret_again=$(word) in_tree=$(word)
secrets="$secret $secret_again"
mkdir -p /root/fleet/hosts/servers/secrets/alpha
printf '%s' "$secret" >/root/fleet/hosts/servers/secrets/alpha/password
echo "$in_tree" >/root/fleet/hosts/router/planted.txt
deploy() {
    VERBOSE=1 bento-pub --wait=240 "$@" >>"$LAB/deploy.log" 2>&1
}
need "both words are deployed" deploy

if machine_dumps; then
    abort_apply alpha
    expect "bento-apply aborted while idle leaves no core" no_cores "$LAB/alpha"
    expect "and goes on" wait_for 30 "alpha up to date" up_to_date alpha
    cores_work=yes
else
    echo "not tried: core dumps (this machine writes none into the folder of the program)"
    cores_work=no
fi

# A build that fails sends its log to the broker; the secret is another one by now.
printf '%s' "$secret_again" >/root/fleet/hosts/servers/secrets/alpha/password
host_write alpha 'mode = "build-error"; text = "second";'
deploy --eval-only alpha || :
expect "a failed build is told" shows alpha state failing
host_write alpha 'mode = "ok"; text = "third"; delay = 2;'
if [ $cores_work = yes ]; then
    bento-pub --eval-only alpha >>"$LAB/deploy.log" 2>&1
    alpha_builds() {
        shows alpha state building
    }
    expect "alpha builds" wait_for 20 "a build on alpha" alpha_builds
    abort_apply alpha
    expect "bento-apply aborted in a deploy leaves no core" no_cores "$LAB/alpha"
fi
expect "the last deploy ends well" deploy alpha

# bento-pub holds all secrets in clear when the command of one ends it.
if [ $cores_work = yes ]; then
    mkdir -p /root/abort
    cp /root/fleet/fleet.nix "$LAB/fleet.nix.good"
    # shellcheck disable=SC2016 # not ours to expand
    sed -i 's|^}$|  nodes.alpha.secrets.zz.command = "kill -ABRT $PPID";\n}|' /root/fleet/fleet.nix
    status=0
    (cd /root/abort && exec bento-pub alpha >>"$LAB/abort.log" 2>&1) || status=$?
    expect "bento-pub is aborted in the middle" [ "$status" = 134 ]
    expect "and leaves no core" no_cores /root
    cp "$LAB/fleet.nix.good" /root/fleet/fleet.nix
fi

# ---- look --------------------------------------------------------------------------------------------------------------------

mkdir "$LAB/shown"
bento-status >"$LAB/shown/table" || :
bento-status --json >"$LAB/shown/json" || :
for node in $fleet_nodes; do
    bento-status --log "$node" >"$LAB/shown/$node.log" 2>&1 || :
    bento-status --json --history "$node" >"$LAB/shown/$node.history" || :
    bento-status --history "$node" >>"$LAB/shown/$node.history" || :
done
expect "the failed build's log came along" grep -q 'compile error on purpose' "$LAB/record"/socket-admin* --text
kill "$recorder"
recorder_status=0
wait "$recorder" || recorder_status=$?
expect "the recorder missed nothing" [ "$recorder_status" = 0 ]
expect "the bus was recorded" grep -q --text bento-published "$LAB/record"/stream-*-23686-*
expect "questions were recorded" grep -q --text bento-req "$LAB/record"/stream-*-23687
expect "tunnels were recorded" grep -q --text SSH-2.0 "$LAB/record"/stream-*-"$lab_ssh_port"
expect "the admin's socket was recorded" grep -q --text bento-req "$LAB/record"/socket-admin.sock-*

expect "the admin's repository holds the secret" found "$secret_again" /root/fleet
expect "the router's store holds its own tree" found "$in_tree" "$LAB/router/nix/store"

expect "no secret in anything that crossed a wire or a socket" absent "$secrets $in_tree" "$LAB/record"
expect "none with the broker" absent "$secrets $in_tree" /var/lib/bento-broker /etc/bento-broker
expect "none in what bento-status shows" absent "$secrets $in_tree" "$LAB/shown"
expect "none in any log" absent "$secrets $in_tree" "$LAB"/*.log "$LAB"/*.out
expect "no secret on the admin's machine outside the repository" absent "$secrets" --not /root/fleet \
    --not "$LAB" /boot /etc /home /nix /root /run /tmp /var
expect "no file of a tree there but in the store" absent "$in_tree" --not /root/fleet \
    --not "$LAB" /boot /etc /home /root /run /tmp /var
expect "no secret in clear on its own node's disk" absent "$secrets" "$LAB/alpha"
expect "none on the disks of others" absent "$secrets" "$LAB/beta" "$LAB/router"
expect "the router's tree is not on alpha and beta" absent "$in_tree" "$LAB/alpha" "$LAB/beta"
expect "nor in clear in the router's own state" absent "$in_tree" "$LAB/router/var/lib/bento"
for node in $fleet_nodes; do
    in_run() {
        echo "$secrets $in_tree" | lab_exec "$node" /usr/bin/python3 "$here/find_words.py" \
            --not /run/bento-secrets --not /run/bento-secrets.d /run >&2
    }
    expect "none in the running $node, but in its place" in_run
done
in_processes() {
    # Our own shell, which made the words, is not looked at.
    for folder in /proc/[0-9]*; do
        [ "$folder" = "/proc/$$" ] || set -- "$@" "$folder/cmdline" "$folder/environ"
    done
    absent "$secrets $in_tree" "$@"
}
expect "none in a command line or an environment" in_processes

# ---- open everything that the broker has, with every key there is --------------------------------------------------------------

set --
for node in $fleet_nodes; do
    set -- "$@" "$node=$LAB/$node/var/lib/bento/apply/identity"
done
/usr/bin/python3 "$here/open_all.py" /var/lib/bento-broker/bento.sqlite "$LAB/opened" "$@" >"$LAB/opened.out" || fail "open_all.py"
expect "each node opens its own tickets, and no other" [ "$(cat "$LAB/opened.out")" = "alpha opens alpha
beta opens beta
router opens router" ]
expect "alpha reads its secret" found "$secret_again" "$LAB/opened/alpha"
expect "the router reads its tree" found "$in_tree" "$LAB/opened/router"
expect "beta, of the same flake, does not read alpha's secret" absent "$secrets" "$LAB/opened/beta"
expect "nor does the router" absent "$secrets" "$LAB/opened/router"
expect "alpha and beta do not read the router's tree" absent "$in_tree" "$LAB/opened/alpha" "$LAB/opened/beta"
finish
