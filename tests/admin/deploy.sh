#!/bin/sh
# bento deploy with a fleet that answers: plans, waves, going on, going back, and the broker's own machine.
set -eu
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"

# A node that answers quickly need not be waited for as long as in the field, one on a busy machine may take its time.
patience=120

# deploy STATUS ARGUMENTS…: its output is in $out. Whatever is not expected ends the test: the rest stands on it.
out=$LAB/deploy.out
deploy() {
    wanted=$1 status=0
    shift
    bento deploy "$@" >"$out" 2>&1 </dev/null || status=$?
    [ "$status" = "$wanted" ] && return
    cat "$out" >&2
    fail "bento deploy $* ends with $status, not $wanted"
    finish
}

says() {
    for text; do
        grep -qF -e "$text" "$out" || {
            cat "$out" >&2
            fail "it does not say: $text"
        }
    done
}

released() {
    bento-status --json | jq .release
}

# plan FILTER ARGUMENTS…: what `bento deploy --plan --json` says.
plan() {
    filter=$1
    shift
    bento deploy --plan --json "$@" 2>"$LAB/plan.log" | jq -r "$filter"
}

is() {
    [ "$1" = "$2" ] || {
        echo "$1, not $2" >&2
        return 1
    }
}

# fleet_nix MORE: attributes beside what fleet.nix has.
fleet_nix() {
    [ -e "$LAB/fleet.nix" ] || cp /root/fleet/fleet.nix "$LAB/fleet.nix"
    sed "\$ s|}|$1 }|" "$LAB/fleet.nix" >/root/fleet/fleet.nix
}

need "a fleet" fleet_new

# ---- plans ----

expect "a first plan: all are new, and all is to be sent" is "$(plan '[.nodes[].change, (.blobs | length), (.bytes > 1000),
    (.heads | length), .heads[0].tickets] | join(" ")')" "new new new 5 true 1 3"
expect "nothing was published" is "$(released)" null
deploy 64 --waves '@canry,rest'
says "@canry: no tag of this fleet matches"
deploy 64 --waves 'alpha,beta'
says "router: in no wave"
deploy 0 --wait="$patience"
first=$(released)
first_alpha=$(shown alpha expected)

host_write alpha 'mode = "ok"; text = "two";'
host_write beta 'mode = "ok"; text = "first"; kernel = "6.6.2";'
fleet_nix 'nodes.router.window = 100;'
expect "a plan tells rebuild from sync, and who reboots" is "$(plan '.nodes | map("\(.name) \(.change) \(.reboot)") |
    join(", ")')" "alpha rebuild false, beta rebuild true, router rebuild null"
expect "and what the broker misses" is "$(plan '.blobs | map(.for) | sort | join(", ")')" \
    "configuration of alpha, configuration of beta, configuration of router, files of hosts/servers"
deploy 0 --plan --waves 'alpha,rest'
says "reboot likely" "wave 1 of 2, alpha: alpha" "wave 2 of 2, rest: beta, router" "to send: 4 of " "plan: 3 rebuild" \
    "nodes may go back"
fleet_nix 'nodes.beta.window = 100;'
host_write beta 'mode = "ok"; text = "first";'
expect "another configuration of the same system is a sync" is "$(plan '.nodes[] | select(.name == "beta").change' beta)" sync
expect "one head a wave" is "$(plan '.heads | map("\(.hosts | join("+")) \(.release)") | length' --waves 'alpha,rest')" 2

# ---- waves ----

host_write alpha 'mode = "fail"; text = "two";'
beta_before=$(system_of beta)
deploy 3 --waves 'alpha,rest' --gate 1 --wait="$patience"
says "wave 1 of 2 (alpha): release" "wave 1 of 2 stops here: alpha rolled back: SWITCH" "new for alpha; not sent, and as before: beta" \
    "go on    bento deploy --waves alpha,rest --gate 1 --wait=$patience" "go back  bento deploy --revert-to $first alpha"
expect "one release went out" is "$(bento deploy --releases --json | jq -c '.releases[0].changed, .releases[1].release')" \
    "$(printf '["alpha"]\n%s' "$first")"
failed=$(released)
sed -n 's/^  go on    //p' "$out" >"$LAB/again"
sed -n 's/^  go back  //p' "$out" >"$LAB/back"
deploy 3 --waves 'alpha,rest' --gate 1 --wait="$patience"
says "wave 1 of 2 stops here: alpha rolled back"
expect "the others never saw it" is "$(system_of beta) $(shown beta remote)" "$beta_before same"
expect "the command to go back" sh -c "$(cat "$LAB/back") --wait=$patience"
expect "brings back the configuration" is "$(shown alpha state) $(shown alpha expected)" "up-to-date $first_alpha"
bento deploy --plan --revert-to "$failed" alpha >"$out" 2>&1
says "warning: alpha has been there: SWITCH"

host_write alpha 'mode = "ok"; text = "three";'
host_write beta 'mode = "ok"; text = "three";'
before=$(released)
expect "the command to go on" sh -c "$(cat "$LAB/again") >$out 2>&1"
says "all converged; they must stay so for 1 s" "wave 2 of 2 (beta, router): release"
for node in alpha beta router; do
    expect "$node is up to date" wait_for "$patience" "$node" up_to_date "$node"
done
expect "numbers ascend" [ "$(released)" -gt "$((before + 1))" ]

# ---- left alone in the middle ----

# in_gate: until the first wave has converged
in_gate() {
    grep -q "must stay so" "$out"
}
host_write alpha 'mode = "ok"; text = "four";'
host_write beta 'mode = "ok"; text = "four";'
bento deploy --waves 'alpha,rest' --gate 600 >"$out" 2>&1 </dev/null &
deploying=$!
need "a wave in its gate" wait_for "$patience" "the gate" in_gate
# Not SIGINT, which a job in the background of a script ignores.
kill -TERM "$(pgrep -x -P "$deploying" bento-pub || echo "$deploying")"
status=0
wait "$deploying" || status=$?
expect "an interrupt ends it" is "$status" 1
says "interrupted in wave 1 of 2" "new for alpha; not sent, and as before: beta" "go on    bento deploy --waves alpha,rest --gate 600"
expect "the first wave is out, the second is not" is "$(shown alpha remote) $(plan '.nodes[] | select(.name == "beta").change')" \
    "same rebuild"
bento deploy --waves 'alpha,rest' --gate 600 >"$out" 2>&1 </dev/null &
deploying=$!
need "again in the gate" wait_for "$patience" "the gate" in_gate
bento-pub --eval-only router >"$LAB/other.log" 2>&1
status=0
wait "$deploying" || status=$?
expect "a release of somebody else stops the waves" [ "$status" != 0 ]
says "a release that is not of this rollout"
deploy 0 --waves 'alpha,rest' --gate 0 --wait="$patience"

# ---- the broker's machine ----

fleet_nix 'nodes.beta.window = 100; broker.host = "beta";'
host_write alpha 'mode = "ok"; text = "five";'
host_write beta 'mode = "ok"; text = "five";'
deploy 0
says "the broker runs on beta, which goes last" "1 rebuild"
expect "it keeps what it has" is "$(plan '.nodes[] | select(.name == "beta").change')" rebuild
need "alpha is done with that" wait_for "$patience" "alpha" up_to_date alpha
host_write alpha 'mode = "ok"; text = "six"; hold = "test";'
bento deploy --wait="$patience" >"$out" 2>&1 </dev/null &
deploying=$!
switching() {
    lab_exec alpha pgrep -f 'switch-to-configuration test' >/dev/null
}
need "a switch under way" wait_for "$patience" "the switch" switching
broker_stop
lab_exec alpha touch /run/bento-test/go
broker_start
status=0
wait "$deploying" || status=$?
expect "a broker that restarts is waited for, and its machine is a last wave" is "$status" 0
says "wave 1 of 2 (alpha, router)" "wave 2 of 2 (beta)"

# ---- going back ----

host_write alpha 'mode = "ok"; text = "six";'
deploy 1 --revert-to 7
says "the broker has no such release; there is"
deploy 0 --releases
says "changed alpha" "nothing changed"
oldest=$(bento deploy --releases --json | jq '.releases[-1].release')
deploy 0 --revert-to "$oldest" --wait="$patience"
for node in alpha beta router; do
    expect "$node is up to date" up_to_date "$node"
done
deploy 64 --revert-to "$oldest" --retry alpha
says "--revert-to sends what was made then"
finish
