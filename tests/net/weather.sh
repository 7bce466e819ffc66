#!/bin/sh
# Three nodes in bad weather, at every stage of a release: the cable pulled, frames that vanish both ways or one way, long and
# lossy, slow, another address. Afterwards each of them has the new configuration or has gone back, and the collector has every
# status that it ever made.
set -eu
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$LAB_PROJECT/tests/net/common.sh"
# shellcheck source-path=SCRIPTDIR source=../lab/weather.sh
. "$LAB_SOURCE/weather.sh"

fleet_new
bento-pub --wait=240 >"$LAB/deploy.log" 2>&1 || :
for node in $fleet_nodes; do
    need "$node follows the first release" up_to_date "$node"
done

# Once a configuration has come to its end, and nothing waits for delivery.
settled() {
    noted "$1" && delivered "$1" || return 1
    case $(shown "$1" state) in up-to-date | rolled-back) ;; *) return 1 ;; esac
}

# Numbers of the statuses that the collector has, one a line. (Twice is impossible: the number is the key.)
collected() {
    python3 -c 'import sqlite3
for (seq,) in sqlite3.connect("file:/var/lib/bento-broker/bento.sqlite?mode=ro", uri=True).execute("SELECT seq FROM statuses"):
    print(int.from_bytes(seq, "big"))' | sort
}

# Those that nodes have queued and the collector does not have.
lost() {
    collected >"$LAB/collected"
    sed -n 's/.*status queued .*seq=\([0-9]*\).*/\1/p' "$LAB"/*.bento-apply.log | sort -u | comm -23 - "$LAB/collected"
}

# ---- weather for a while ---------------------------------------------------------------------------------------------------

# Longer than a confirm window, and than the silence after which a tunnel is given up.
storm_s=18

storm() {
    case $2 in
    cut) lab_cut "$1" ;;
    hole) lab_hole "$1" ;;
    deaf) lab_deaf "$1" ;;
    mute) lab_mute "$1" ;;
    esac
    sleep "$storm_s" # how long the weather lasts
    case $2 in
    cut) lab_restore "$1" ;;
    *) lab_unhole "$1" ;;
    esac
}

# reached NODE TEXT: bento-apply has said it since the round began.
reached() {
    tail -c "+$(($(cat "$LAB/$1.round") + 1))" "$LAB/$1.bento-apply.log" | grep -qF -e "$2"
}

# When the node gets there, the weather turns.
turn_at() {
    (wait_for 60 "$1 at $2" reached "$1" "$2" && storm "$1" "$3") &
    storms="$storms $!"
}

round() {
    rounds=$((rounds + 1))
    storms=
    for node in $fleet_nodes; do
        host_write "$node" "mode = \"ok\"; text = \"round $rounds\";"
        wc -c <"$LAB/$node.bento-apply.log" >"$LAB/$node.round"
    done
    bento-pub >"$LAB/deploy.log" 2>&1
}

over() {
    for storm in $storms; do wait "$storm" || :; done
    for node in $fleet_nodes; do
        expect "$1: $node, $(of "$node"), has settled" wait_for 90 "$node" settled "$node"
        echo "   $(shown "$node" state) $(shown "$node" code)"
    done
    expect "$1: no status is lost" [ -z "$(lost)" ]
}

rounds=0
# weather ROUTER ALPHA BETA, and of NODE
weather() {
    for node in $fleet_nodes; do
        echo "$1" >"$LAB/$node.weather"
        shift
    done
}

of() {
    cat "$LAB/$1.weather"
}

# ---- the stages ------------------------------------------------------------------------------------------------------------

# Trees that take a while, so that the weather turns in the middle of them.
for folder in router servers; do head -c 3000000 /dev/urandom >"/root/fleet/hosts/$folder/ballast"; done
for node in $fleet_nodes; do lab_rate "$node" 16mbit; done
weather cut hole mute
round
for node in $fleet_nodes; do turn_at "$node" 'release accepted' "$(of "$node")"; done
over "while it fetches"
for node in $fleet_nodes; do lab_rate "$node" off; done
rm /root/fleet/hosts/*/ballast

weather hole deaf cut
round
for node in $fleet_nodes; do turn_at "$node" 'to=CONFIRMING' "$(of "$node")"; done
over "while it confirms"

weather mute cut hole
round
for node in $fleet_nodes; do turn_at "$node" 'to=COMMITTING' "$(of "$node")"; done
over "while it delivers"

# ---- all the time ----------------------------------------------------------------------------------------------------------

weather "at another address" "600 ms away, with loss" "at 256 kbit/s"
lab_delay alpha 300 20 2
lab_rate beta 256kbit
round
wait_for 15 "the router" reached router 'release accepted' || :
lab_move router 77
over "all the time"
lab_delay alpha 0
lab_rate beta off
weather calm calm calm
round
over "afterwards"
for node in $fleet_nodes; do
    expect "$node is up to date" up_to_date "$node"
    expect "$node is of one piece" consistent "$node"
done
finish
