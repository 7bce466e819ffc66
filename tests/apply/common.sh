# shellcheck shell=sh
# What the scenarios of a node that cannot be bricked share: sourced first, with the script's own arguments. One node, router,
# with systemd and bento as units; broker and admin on the hub. Each scenario ends in a state that the admin sees, and in one
# system that runs, is the profile and is what boots (settles).
LAB_SYSTEMD=1
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
fleet_nodes=router
text=0

# configure JQ: changes settings of the node, for fleet_new.
configure() {
    fleet_node_settings=$(echo "$fleet_node_settings" | jq "$1")
}

# journal_from_here: journal_has knows nothing of what came before.
journal_from_here() {
    cursor=$(lab_exec router journalctl -q -n 0 --show-cursor | sed -n 's/^-- cursor: //p')
}

# publish ATTRIBUTES ARGUMENTS…: another system for the router.
publish() {
    journal_from_here
    lab_exec router rm -f /run/bento-test/go
    text=$((text + 1))
    host_write router "text = \"run $text\"; $1"
    shift
    deploy_status=0
    bento-pub "$@" router >"$LAB/deploy.log" 2>&1 || deploy_status=$?
}

# deploy ATTRIBUTES ARGUMENTS…: the same, followed to its end.
deploy() {
    deploy_attributes=$1
    shift
    publish "$deploy_attributes" --wait=240 "$@"
}

deploy_ends_with() {
    [ "$deploy_status" = "$1" ]
}

# policy ATTRIBUTES: what fleet.nix says of the router beside its keys.
policy() {
    sed -i '/^  nodes.router = /d; $d' /root/fleet/fleet.nix
    printf '  nodes.router = { %s };\n}\n' "$1" >>/root/fleet/fleet.nix
}

# reboots_by POLICY: the REBOOT file of the router.
reboots_by() {
    echo "$1" >/root/fleet/hosts/router/REBOOT
}

# by_hand WHAT: somebody restarts the machine.
by_hand() {
    lab_exec router systemctl reboot
    need "$1: the machine restarts" lab_rebooted router 60
}

# asks: somebody presses the button of its page.
asks() {
    [ "$(lab_exec router curl -s -o /dev/null -w '%{http_code}' -X POST http://localhost:51337/update)" = 303 ]
}

booted_of() {
    lab_exec "$1" readlink -f /run/booted-system
}

# start_fleet: with $first_system as the system of the first deploy.
first_system=
start_fleet() {
    need "a fleet starts" fleet_new
    deploy "$first_system"
    need "a first deploy converges" up_to_date router
}

# remember: what runs now is the good system.
remember() {
    good=$(system_of router)
}

runs_good() {
    [ "$(system_of router)" = "$good" ]
}

# settles WHAT STATE CODE good|new: how a scenario has to end.
settles() {
    expect "$1: $2 $3" shows_all "$2" "$3"
    if [ "$4" = good ]; then
        expect "$1: the old system runs" runs_good
    else
        expect "$1: the new system runs" not runs_good
    fi
    expect "$1: and is profile and boot entry" consistent router
}

shows_all() {
    shows router state "$1" && shows router code "$2" && return
    echo "it is '$(shown router state)' '$(shown router code)', after: $(reported)"
    return 1
}

# in_time SECONDS STATE: the admin sees the state within that time.
in_time() {
    wait_for "$1" "$2" shows router state "$2"
}

# log_has WORDS: the switch script's log of this boot.
log_has() {
    lab_exec router grep -qF "$1" /run/bento-test/switch.log
}

# holds POINT: a switch waits there now.
holds() {
    lab_exec router tail -n 1 /run/bento-test/switch.log | grep -qF " hold $1 "
}

# let_go: a switch that waits (hold) goes on, and so do those after it, until the next publish.
let_go() {
    lab_exec router sh -c 'mkdir -p /run/bento-test && touch /run/bento-test/go'
}

# The switch is done, and nobody can be reached: the window is open.
open_window() {
    publish 'hold = "test";'
    need "the switch waits" wait_for 20 "the switch" holds test
    lab_cut router
    let_go
    need "the window is open" wait_for 20 "the window" journal_has 'state from=TRYING to=CONFIRMING'
}

# The states that the node reported for the newest release, oldest first.
reported() {
    bento-status --json --history router | jq -r --argjson release "$(bento-status --json | jq .release)" \
        '[.[] | select(.local_release == $release) | .state] | reverse | join(" ")'
}

# was_reported STATES: in this order, one after another.
was_reported() {
    case " $(reported) " in
    *" $1 "*) return 0 ;;
    *) echo "reported: $(reported)" && return 1 ;;
    esac
}

# runs_from UNIT FOLDER: the program of the unit is one of that folder.
runs_from() {
    lab_exec router sh -ec 'readlink "/proc/$(systemctl show --value --property=MainPID "$1")/exe"' sh "$1" | grep -q "$2"
}

restarts_of() {
    lab_exec router systemctl show --value --property=NRestarts "$1"
}

# log_has_times WORDS TIMES
log_has_times() {
    [ "$(lab_exec router grep -cF "$1" /run/bento-test/switch.log)" = "$2" ]
}

# journal_has WORDS: bento said so since the last publish (or journal_from_here).
journal_has() {
    lab_exec router journalctl -q --after-cursor="$cursor" -o cat -u bento-apply -u bento-node | grep -qF "$1"
}

# tried_with WORDS: the output of the newest switch.
tried_with() {
    grep -qF "$1" "$LAB/router/var/lib/bento/apply/jobs/try.out"
}
