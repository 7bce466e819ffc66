#!/bin/sh
# The stage itself: hosts are apart, cables can be cut, and the stand-in for switch-to-configuration keeps NixOS' order and
# exit codes. Needs none of bento's programs.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

lab_up n1 n2

answers() {
    lab_exec "$1" bash -c "exec 3<>/dev/tcp/$lab_hub/$lab_ssh_port" 2>/dev/null
}

lab_sshd
need "n1 reaches the hub" answers n1
lab_cut n1
expect "a cut node reaches nothing" not timeout 1 sh "$LAB_SOURCE/on.sh" n1 bash -c "exec 3<>/dev/tcp/$lab_hub/$lab_ssh_port"
expect "the other one does" answers n2
lab_restore n1
expect "restored, it reaches the hub" wait_for 10 "the hub from n1" answers n1

# build MODE: the system of that mode in n1's store, as /root/MODE.
cp -RL "$LAB_PROJECT/tests/fleet/hosts/servers" "$LAB/n1/root/servers"
build() {
    echo "{ mode = \"$1\"; text = \"$1\"; }" >"$LAB/n1/root/servers/alpha.nix"
    lab_exec n1 nix build -o "/root/$1" "path:/root/servers#nixosConfigurations.alpha.config.system.build.toplevel" \
        2>"$LAB/build.log"
}

# switch MODE ACTION STATUS
switch_ends_with() {
    status=0
    lab_exec n1 "/root/$1/bin/switch-to-configuration" "$2" >"$LAB/switch.log" 2>&1 || status=$?
    [ "$status" = "$3" ]
}

says() {
    grep -qF "$1" "$LAB/switch.log"
}

runs() {
    [ "$(system_of n1)" = "$(lab_exec n1 readlink -f "/root/$1")" ]
}

boots() {
    [ "$(boot_entry_of n1)" = "$(lab_exec n1 readlink -f "/root/$1")" ]
}

need "a system builds" build ok
expect "switch ends with 0" switch_ends_with ok switch 0
expect "it runs" runs ok
expect "and will be booted" boots ok

build cut-net
expect "dry-activate ends with 0" switch_ends_with cut-net dry-activate 0
expect "and says what it would do" says "would restart the following units: demo.service"
expect "and changes nothing" runs ok
expect "test ends with 0" switch_ends_with cut-net test 0
expect "the node has cut its own way" not timeout 1 sh "$LAB_SOURCE/on.sh" n1 \
    bash -c "exec 3<>/dev/tcp/$lab_hub/$lab_ssh_port"
expect "it runs" runs cut-net
expect "the boot entry is untouched by a test" boots ok
switch_ends_with ok test 0
expect "a healthy system mends the way" wait_for 10 "the hub from n1" answers n1

for case in fail:2 fail-units:4 fail-boot:1 fail-check:1; do
    build "${case%:*}"
    expect "${case%:*} ends with ${case#*:}" switch_ends_with "${case%:*}" switch "${case#*:}"
done
expect "a failed activation is the current system all the same, as in NixOS" not runs ok
lab_exec n1 env NIXOS_NO_CHECK=1 /root/fail-check/bin/switch-to-configuration test 2>/dev/null
expect "NIXOS_NO_CHECK skips the pre-switch check" runs fail-check

# The switch that hangs holds the lock until it is ended.
build hang
lab_exec n1 setsid /root/hang/bin/switch-to-configuration test >"$LAB/hang.log" 2>&1 &
hangs() {
    lab_exec n1 grep -q 'mode=hang activate' /run/bento-test/switch.log
}
need "a hanging switch activates" wait_for 10 "the hanging switch" hangs
expect "another one finds the lock taken" switch_ends_with ok test 11
expect "and says so" says "Could not acquire lock"

expect "an evaluation error is one" not build eval-error
expect "and says which host" grep -q 'alpha: evaluation error on purpose' "$LAB/build.log"
expect "a build error is one" not build build-error
expect "with the builder's words" grep -q 'compile error on purpose' "$LAB/build.log"

lab_crash n1
lab_up n1
expect "after a power cut the disk is there" [ -L "$LAB/n1/root/ok" ]
expect "and /run is not" not lab_exec n1 test -e /run/current-system
finish
