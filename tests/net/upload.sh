#!/bin/sh
# An admin far away: bento-pub through ssh while the weather is bad. Either it publishes, or it says why not, nothing is published,
# and the next run goes on where this one stopped.
set -eu
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
# shellcheck source-path=SCRIPTDIR source=../lab/weather.sh
. "$LAB_SOURCE/weather.sh"

fleet_nodes=router
need "a fleet starts" fleet_new
bento-pub --wait=240 >"$LAB/deploy.log" 2>&1 || :
need "the router follows the first release" up_to_date router

# ---- the admin's desk: a host of its own, with the repository and the key ----

lab_up desk
desk_port=2225
sed "s/^Port .*/Port $desk_port/; s/^AllowUsers .*//; /^Match /,\$d; s|^AuthorizedKeysFile .*|AuthorizedKeysFile /etc/ssh/admin.keys|
    s/^PidFile .*/PidFile none/" /etc/ssh/sshd_config >/etc/ssh/admin_config
cp /root/.ssh/id_ed25519.pub /etc/ssh/admin.keys
set -- /usr/sbin/sshd -D -e -f /etc/ssh/admin_config
[ "$LAB_UID" = 0 ] || set -- unshare --user --map-user="$LAB_UID" --map-group="$LAB_GID" -- "$@"
"$@" 2>"$LAB/admin.log" &
need "the server's sshd for admins" wait_for 10 "it" grep -q 'Server listening' "$LAB/admin.log"
cp -R /root/fleet /root/.ssh "$LAB/desk/root/"
echo "[$lab_hub]:$desk_port $(lab_host_key)" >"$LAB/desk/root/.ssh/known_hosts"
sed -i "s|admin = .*|admin = \"ssh://root@$lab_hub:$desk_port$fleet_admin_socket\";|" "$LAB/desk/root/fleet/fleet.nix"

# publish: from the desk, in the background; its end is in desk.status
publish() {
    rm -f "$LAB/desk.status"
    (
        status=0
        lab_exec desk env BENTO_DIR=/root/fleet bento-pub >"$LAB/desk.log" 2>&1 || status=$?
        echo "$status" >"$LAB/desk.status.new"
        mv "$LAB/desk.status.new" "$LAB/desk.status"
    ) &
}

ended() {
    [ -e "$LAB/desk.status" ]
}

published() {
    [ "$(cat "$LAB/desk.status")" = 0 ]
}

released() {
    bento-status --json | jq .release
}

# Bytes of blobs that the broker holds, whole or in part.
arrived() {
    python3 -c 'import sqlite3
print(sqlite3.connect("file:/var/lib/bento-broker/bento.sqlite?mode=ro", uri=True).execute(
    "SELECT coalesce(sum(have), 0) FROM blobs").fetchone()[0])'
}

# Bytes that came through the desk's cable so far.
sent() {
    ip -s -j link show "lab$(lab_link desk)" | jq '.[0].stats64.rx.bytes'
}

under_way() {
    ended || [ "$(arrived)" -gt "$((before + 1000000))" ]
}

# Another 5 MB for the router, at a speed at which that takes some seconds; then the weather turns.
upload_in() {
    head -c 5000000 /dev/urandom >"$LAB/desk/root/fleet/hosts/router/ballast"
    before=$(arrived) release=$(released)
    lab_rate desk 12mbit
    publish
    need "$1: an upload is under way" wait_for 60 "its first bytes" under_way
    expect "$1: it is not over yet" not ended
}

# It published, or else said why in a line, and nothing was published; then a run in fair weather publishes and sends only the rest.
goes_on() {
    need "$1: bento-pub ends" wait_for 120 "its end" ended
    lab_rate desk off
    if ! published; then
        echo "   $(tail -n 1 "$LAB/desk.log")"
        expect "$1: it says why" grep -q '^bento-pub: .' "$LAB/desk.log"
        expect "$1: nothing was published" [ "$(released)" = "$release" ]
        rest=$((before + 5000000 - $(arrived))) cable=$(sent)
        publish
        need "$1: again, in fair weather" wait_for 60 "its end" ended
        need "$1: it is published" published
        cable=$(($(sent) - cable))
        expect "$1: only the rest was sent ($rest bytes, $cable on the cable)" [ "$cable" -lt "$((rest + rest / 10 + 400000))" ]
    fi
    expect "$1: the router has it" wait_for 60 "the router" up_to_date router
}

upload_in "the cable is pulled for a while"
lab_cut desk
sleep 8 # how long the weather lasts
lab_restore desk
goes_on "the cable is pulled for a while"
expect "the cable is pulled for a while: ssh survives that" published

upload_in "everything vanishes, for good"
lab_hole desk
need "everything vanishes, for good: bento-pub does not hang" wait_for 120 "its end" ended
lab_unhole desk
goes_on "everything vanishes, for good"

upload_in "the server's sshd dies"
pkill -9 -P "$(pgrep -f '^sshd: .*admin_config' | head -n 1)" || :
goes_on "the server's sshd dies"

upload_in "the broker is killed and started again"
kill -9 "$broker_pid"
wait "$broker_pid" 2>/dev/null || :
broker_start
goes_on "the broker is killed and started again"

lab_delay desk 300 20 2
publish
need "600 ms away, with loss: it ends" wait_for 60 "its end" ended
expect "600 ms away, with loss: it is published" published
lab_delay desk 0
expect "600 ms away, with loss: the router has it" wait_for 60 "the router" up_to_date router
finish
