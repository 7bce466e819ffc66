#!/bin/sh
# Garbage is collected in the middle of a trial, on a machine whose running system nobody else holds on to: the way back stays.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

start_fleet
# Somebody switched by hand to a system that is in no profile.
by_hand=$(lab_exec router nix build --no-link --json --impure --expr \
    "(import $LAB_PROJECT/tests/fleet/utils/mksystem.nix { hostName = \"router\"; text = \"by hand\"; }).config.system.build.toplevel" \
    2>"$LAB/by-hand.log" | jq -r '.[0].outputs.out')
lab_exec router "$by_hand/bin/switch-to-configuration" test
remember
need "another system runs than the profile's" not [ "$good" = "$(profile_of router)" ]
profile=$(profile_of router)

publish 'mode = "cut-net"; hold = "test";'
need "the switch waits" wait_for 30 "the switch" holds test
lab_exec router nix-store --gc >"$LAB/gc.log" 2>&1
expect "garbage is collected" grep -q 'store paths deleted' "$LAB/gc.log"
let_go
expect "it goes back" in_time 40 rolled-back
expect "to the system that ran" runs_good
expect "the profile is untouched" [ "$(profile_of router)" = "$profile" ]
expect "no root of it is left" not lab_exec router test -e /nix/var/nix/gcroots/bento/old
finish
