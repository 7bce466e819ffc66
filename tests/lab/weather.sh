# shellcheck shell=sh disable=SC2154 # the names of lab.sh
# Bad weather for the lab's hosts: sourced after lab.sh, called inside, on the hub. Each lasts until it is taken back.
#
#   lab_hole NODE, lab_unhole NODE     frames vanish both ways; the link looks up, nobody is told
#   lab_deaf NODE, lab_mute NODE       one way only: nothing comes to the node, nothing comes from it; ended by lab_unhole
#   lab_loss NODE PERCENT              each frame is lost with that probability, both ways; 0: none
#   lab_rate NODE RATE                 both ways, as tc has it (256kbit); off: no limit
#   lab_delay NODE MS [JITTER [LOSS]]  one-way delay, both ways, with jitter in ms and loss in percent; 0: none
#   lab_move NODE NUMBER               another address of the lab's network: the last one of its parts

# One chain a node and kind of weather: `lab_rules NODE KIND RULE…` replaces what is in it.
lab_rules() {
    lab_number=$(lab_link "$1") lab_chain=$2$(lab_link "$1")
    shift 2
    nft add table bridge lab
    nft 'add chain bridge lab weather { type filter hook forward priority 0; }'
    nft 'add chain bridge lab arriving { type filter hook input priority 0; }'
    nft 'add chain bridge lab leaving { type filter hook output priority 0; }'
    nft add chain bridge lab "$lab_chain"
    nft flush chain bridge lab "$lab_chain"
    for lab_hook in weather arriving leaving; do
        nft list chain bridge lab "$lab_hook" | grep -q "jump $lab_chain\$" ||
            nft add rule bridge lab "$lab_hook" jump "$lab_chain"
    done
    for lab_rule in "$@"; do
        # shellcheck disable=SC2086 # words of a rule
        nft add rule bridge lab "$lab_chain" ${lab_rule%%:*} "lab$lab_number" ${lab_rule#*:}
    done
}

lab_hole() {
    lab_rules "$1" hole iifname:drop oifname:drop
}

lab_deaf() {
    lab_rules "$1" hole oifname:drop
}

lab_mute() {
    lab_rules "$1" hole iifname:drop
}

lab_unhole() {
    lab_rules "$1" hole
}

lab_loss() {
    if [ "$2" = 0 ]; then
        lab_rules "$1" loss
    else
        lab_rules "$1" loss "iifname:numgen random mod 100 < $2 drop" "oifname:numgen random mod 100 < $2 drop"
    fi
}

lab_rate() {
    if [ "$2" = off ]; then
        tc qdisc del dev "lab$(lab_link "$1")" root
        lab_exec "$1" tc qdisc del dev eth0 root
    else
        tc qdisc replace dev "lab$(lab_link "$1")" root tbf rate "$2" burst 8kb latency 400ms
        lab_exec "$1" tc qdisc replace dev eth0 root tbf rate "$2" burst 8kb latency 400ms
    fi
}

# The kernel may have no netem: a program carries the frames between the node's interface and a new one on the bridge.
lab_delay() {
    lab_number=$(lab_link "$1")
    if [ -e "$LAB/$1/.wire" ]; then
        kill "$(cat "$LAB/$1/.wire")"
        wait "$(cat "$LAB/$1/.wire")" 2>/dev/null || :
        rm "$LAB/$1/.wire"
        ip link del "wire$lab_number"
        ip link set "lab$lab_number" master lab
    fi
    [ "$2" != 0 ] || return 0
    ip link set "lab$lab_number" nomaster
    ip link add "wire$lab_number" type veth peer name "far$lab_number"
    ip link set "wire$lab_number" up
    ip link set "far$lab_number" master lab up
    delaywire "lab$lab_number" "wire$lab_number" "$2" "${3:-0}" "${4:-0}" &
    echo "$!" >"$LAB/$1/.wire"
}

lab_move() {
    lab_exec "$1" ip address flush dev eth0
    lab_exec "$1" ip address add "$lab_network.$2/24" dev eth0
}
