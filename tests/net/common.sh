# shellcheck shell=sh
# What the network tests share: sourced after e2e/common.sh, so inside the lab.
#
#   node_config NODE FILTER [JQ-OPTION…]     changes a node's configuration; node_restart NODE [SIGNAL] makes it read it
#   mark NODE, since NODE, says NODE TEXT     the log of bento-node since the mark
#   children NODE PROGRAM       pids of the programs of that name on a node
#   connected NODE              bento-node has subscribed since the mark
#   delivered NODE              its outbox is empty

node_log() {
    echo "$LAB/$1.bento-node.log"
}

mark() {
    wc -c <"$(node_log "$1")" >"$LAB/$1.mark"
}

since() {
    tail -c "+$(($(cat "$LAB/$1.mark") + 1))" "$(node_log "$1")"
}

says() {
    since "$1" | grep -qF -e "$2"
}

connected() {
    says "$1" 'subscription up'
}

node_config() {
    config_of=$1
    shift
    jq "$@" "$LAB/$config_of/etc/bento/node.json" >"$LAB/node.json.new"
    cat "$LAB/node.json.new" >"$LAB/$config_of/etc/bento/node.json"
}

node_pid() {
    wait_for 20 "start of $2 on $1" lab_exec "$1" test -s "/run/bento-test/$2.pid" || return 1
    lab_exec "$1" cat "/run/bento-test/$2.pid"
}

# The service manager starts it again.
node_restart() {
    mark "$1"
    kill "-${2:-TERM}" "$(node_pid "$1" bento-node)"
}

children() {
    for child in $(lab_pids "$1"); do
        [ "$(cat "/proc/$child/comm" 2>/dev/null)" != "$2" ] || echo "$child"
    done
}

delivered() {
    ! ls "$LAB/$1/var/lib/bento/spool/out/"*.status >/dev/null 2>&1
}

# Ends sshd's processes, all or (sessions) only those that serve somebody, as a crash would.
sshd_kill() {
    sshd_pid=$(cat "$LAB/sshd.pid")
    sshd_children=$(pgrep -P "$sshd_pid" || :)
    # A session is two processes: the one with privileges and the one without.
    for sshd_child in $sshd_children; do
        sshd_children="$sshd_children $(pgrep -P "$sshd_child" || :)"
    done
    # shellcheck disable=SC2086 # a list
    kill -9 $sshd_children 2>/dev/null || :
    [ "${1-}" = sessions ] || {
        kill -9 "$sshd_pid"
        wait "$sshd_pid" 2>/dev/null || :
    }
}
