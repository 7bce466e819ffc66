#!/bin/sh
# Secrets: there before the units that need them, in a switch and at a boot; put back by whatever goes back; changed without a
# switch; never anywhere but in memory.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
secrets=/root/fleet/hosts/router/secrets
find_words=$LAB_PROJECT/tests/attacks/find_words.py
words=

# plant NAME: another random word as the secret NAME.
plant() {
    planted=$(head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \n')
    words="$words $planted"
    mkdir -p "$secrets"
    printf '%s' "$planted" >"$secrets/$1"
}

# has_secret NAME WORD
has_secret() {
    [ "$(lab_exec router cat "/run/bento-secrets/$1")" = "$2" ]
}

# is_owned NAME OWNER:GROUP:MODE
is_owned() {
    is_owned_now=$(lab_exec router stat -L -c %U:%G:%a "/run/bento-secrets/$1")
    [ "$is_owned_now" = "$2" ] || { echo "it is $is_owned_now" && return 1; }
}

# A unit that needs the secret when it starts, and notes what it read in memory.
reader='units.reader = "cat /run/bento-secrets/db >/run/bento-test-read";'

unit_read() {
    [ "$(lab_exec router cat /run/bento-test-read)" = "$1" ]
}

start_fleet
expect "no secrets: no folder" lab_exec router sh -c '! [ -e /run/bento-secrets ] && ! [ -e /run/bento-secrets.d ]'

plant db && db=$planted
plant wifi && wifi=$planted
remember
policy 'secrets.db = { owner = "bento-node"; group = "root"; mode = "0440"; };'
deploy "$reader"
settles "first secrets" up-to-date '' new
expect "first secrets: they are there" has_secret db "$db"
expect "first secrets: all of them" has_secret wifi "$wifi"
expect "first secrets: with owner, group and mode" is_owned db bento-node:root:440
expect "first secrets: and without" is_owned wifi root:root:400
expect "first secrets: in time for the switch" unit_read "$db"
expect "first secrets: in memory that is not swapped" [ "$(lab_exec router stat -f -c %T /run/bento-secrets.d)" = ramfs ]

# The same system: nothing is switched or built.
remember
switches=$(lab_exec router grep -c 'begin action=test' /run/bento-test/switch.log)
old_db=$db
plant db && db=$planted
text=$((text - 1))
deploy "$reader"
settles "a changed secret alone" up-to-date '' good
expect "a changed secret alone: it is there" has_secret db "$db"
expect "a changed secret alone: without a switch" [ "$(lab_exec router grep -c 'begin action=test' /run/bento-test/switch.log)" = "$switches" ]
expect "a changed secret alone: the old one is gone" not lab_exec router grep -rqF "$old_db" /run/bento-secrets.d

# The router was switched off in the middle, and /run is lost.
need "after a boot" node_boot router
need "after a boot: it is reached" in_time 60 up-to-date
expect "after a boot: the secret is there" has_secret db "$db"
expect "after a boot: with its owner" is_owned db bento-node:root:440
expect "after a boot: in time for the units" unit_read "$db"

# A trial with another secret, reverted by bento-apply, then by the dead man's switch.
plant db
deploy "mode = \"blackhole\"; $reader"
settles "not reached" rolled-back CONNECTIVITY good
expect "not reached: the old secret is back" has_secret db "$db"
plant db
publish "mode = \"cut-net\"; hold = \"test\"; $reader"
need "bento-apply gone: the switch waits" wait_for 30 "the switch" holds test
expect "bento-apply gone: the new secret is there already" has_secret db "$planted"
lab_exec router systemctl stop bento-apply
let_go
need "bento-apply gone: the dead man's switch brings the system back" wait_for 120 revert runs_good
expect "bento-apply gone: and the old secret" wait_for 30 secret has_secret db "$db"
lab_exec router systemctl start bento-apply
need "bento-apply gone: it is told" in_time 60 rolled-back

# Owners: one that nobody has, one that comes with the system, and one that goes with it.
printf '%s' "$db" >"$secrets/db"
policy 'secrets.db = { owner = "bento-test-nobody"; };'
text=1 # as what runs
deploy "$reader"
settles "an unknown owner, nothing else new" failing SECRETS good
expect "an unknown owner: who" sh -c 'bento-status --log router | grep -qF "no user '"'bento-test-nobody'"'"'
remember
expect "an unknown owner: the secret is what it was" is_owned db bento-node:root:440
policy 'secrets.db = { owner = "bento-test-web"; };'
deploy "$reader"
settles "an owner that never comes" rolled-back SECRETS good
expect "an owner that never comes: the secret is what it was" is_owned db bento-node:root:440
deploy "users = [ \"bento-test-web\" ]; $reader"
settles "an owner that comes with the system" up-to-date '' new
expect "an owner that comes with the system: has the secret" is_owned db bento-test-web:root:400

# Of what a bento of another time wrote the old one understands where to go back to, and no more.
remember
deploy "bento = \"future\"; mode = \"cut-net\"; $reader"
settles "a later bento" rolled-back FORMAT good
expect "a later bento: the secret is there" is_owned db bento-test-web:root:400
need "a later bento, after a boot" node_boot router
expect "a later bento, after a boot: the secret is there" is_owned db bento-test-web:root:400

# Removed.
remember
rm "$secrets/wifi"
deploy "users = [ \"bento-test-web\" ]; $reader"
settles "a removed secret" up-to-date '' new
expect "a removed secret: is gone" lab_exec router sh -c '! [ -e /run/bento-secrets/wifi ]'

# ---- where the words are not -------------------------------------------------------------------------------------------------

absent() {
    echo "$words" | /usr/bin/python3 "$find_words" "$@" >&2
}
mkdir "$LAB/shown"
{
    bento-status || :
    bento-status --json || :
    bento-status --log router || :
    bento-status --json --history router || :
    lab_exec router curl -s http://127.0.0.1:51337/ http://127.0.0.1:51337/status.json http://127.0.0.1:51337/log
    lab_exec router journalctl -q --no-pager -o export
} >"$LAB/shown/all" 2>&1
expect "something was shown" grep -q 'bento-apply' "$LAB/shown/all"
expect "no word in what is shown or logged" absent "$LAB/shown" "$LAB"/*.log "$LAB"/*.out
expect "none on the router's disk" absent "$LAB/router"
expect "none with the broker" absent /var/lib/bento-broker /etc/bento-broker
expect "none on the admin's machine but in the repository" absent --not /root/fleet --not "$LAB" /boot /etc /home /nix /root /run \
    /tmp /var
in_run() {
    echo "$words" | lab_exec router /usr/bin/python3 "$find_words" --not /run/bento-secrets --not /run/bento-secrets.d \
        --not /run/bento-test-read /run >&2
}
expect "none in the running router but in its place" in_run
in_place() {
    ! echo "$words" | lab_exec router /usr/bin/python3 "$find_words" /run/bento-secrets.d >&2
}
expect "there they are" in_place
finish
