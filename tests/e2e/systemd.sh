#!/bin/sh
# Hosts with systemd as process 1: they boot, reboot and lose their power, each time with a boot id of its own and with the
# system that the boot loader's entry names; and the stand-in for switch-to-configuration handles units as NixOS' does. Needs
# none of bento's programs.
set -eu
LAB_SYSTEMD=n1
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
fleet_nodes=n1

boot_id() {
    lab_exec "$1" cat /proc/sys/kernel/random/boot_id
}

# remember: the boot that is_another_boot compares with.
remember() {
    boot_before=$(boot_id n1)
}

is_another_boot() {
    [ "$(boot_id n1)" != "$boot_before" ]
}

need "a host with systemd and one without start" lab_up n1 n2
expect "systemd is process 1" [ "$(lab_exec n1 cat /proc/1/comm)" = systemd ]
expect "hosts have boot ids of their own" [ "$(boot_id n1)" != "$(boot_id n2)" ]
plain=$(boot_id n2)
lab_crash n2
need "a host without systemd starts after a power cut" lab_up n2
expect "with another boot id" [ "$(boot_id n2)" != "$plain" ]
expect "what systemd could change of the machine is read-only" not lab_exec n1 sh -c 'echo x >/proc/sys/kernel/hostname'

# system NAME ATTRIBUTES: built, as /root/NAME.
system() {
    lab_exec n1 nix build -o "/root/$1" --impure --expr "(import $LAB_PROJECT/tests/fleet/utils/mksystem.nix {
        hostName = \"n1\"; bento = false; $2 }).config.system.build.toplevel" 2>"$LAB/build.log"
}

# switch_ends_with NAME ACTION STATUS
switch_ends_with() {
    switch_status=0
    lab_exec n1 "/root/$1/bin/switch-to-configuration" "$2" >"$LAB/switch.log" 2>&1 || switch_status=$?
    [ "$switch_status" = "$3" ]
}

says() {
    grep -qxF "$1" "$LAB/switch.log"
}

runs() {
    [ "$(system_of n1)" = "$(lab_exec n1 readlink -f "/root/$1")" ]
}

is_active() {
    lab_exec n1 systemctl -q is-active "$1"
}

need "a system builds" system first 'text = "1"; units.old = ":"; units.bad = "exit 1";'
expect "it becomes the boot entry" switch_ends_with first boot 0
remember
lab_exec n1 systemctl reboot 2>/dev/null
need "the host reboots by itself" lab_rebooted n1
expect "that is another boot" is_another_boot
expect "the system of the boot entry runs" runs first
expect "and is the booted one" [ "$(lab_exec n1 readlink /run/booted-system)" = "$(system_of n1)" ]
expect "its units run" is_active old.service
expect "or have failed" lab_exec n1 systemctl -q is-failed bad.service

system second 'text = "2"; units.new = ":"; units.bad = "exit 1";'
expect "dry-activate ends with 0" switch_ends_with second dry-activate 0
expect "and says which units it would stop" says "would stop the following units: old.service"
expect "which it would restart" says "would restart the following units: demo.service"
expect "and which it would start, also one that failed before" says "would start the following units: bad.service new.service"
expect "test ends with 4: a unit fails" switch_ends_with second test 4
expect "and says which" says "warning: the following units failed: bad.service"
expect "what vanished was stopped" not is_active old.service
expect "what is new was started" is_active new.service
expect "the new system runs" runs second
expect "a test leaves the boot entry alone" [ "$(boot_entry_of n1)" = "$(lab_exec n1 readlink -f /root/first)" ]

system inhibitor 'inhibitors.dbus = "daemon";'
expect "a switch inhibitor where there was none: test ends with 0" switch_ends_with inhibitor test 0
system inhibited 'inhibitors.dbus = "broker";'
expect "another switch inhibitor: test ends with 1" switch_ends_with inhibited test 1
expect "and the system is not activated" runs inhibitor
expect "for the next boot it is no obstacle" switch_ends_with inhibited boot 0
switch_ends_with first boot 0
system other_init 'interface = "systemd 4";'
expect "another init interface: test ends with 100" switch_ends_with other_init test 100
system special 'specialisation.quiet.text = "hush";'
expect "a specialisation can be switched to" switch_ends_with special/specialisation/quiet test 0
expect "and runs" [ "$(system_of n1)" = "$(lab_exec n1 readlink -f /root/special/specialisation/quiet)" ]

# A switch that waits for a word, and a power cut while it does.
system held 'hold = "boot";'
lab_exec n1 /root/held/bin/switch-to-configuration boot >"$LAB/held.log" 2>&1 &
held() {
    lab_exec n1 grep -q 'mode=ok hold boot' /run/bento-test/switch.log
}
need "a switch waits where it was told to" wait_for 10 "the switch to wait" held
remember
lab_crash n1
need "the host starts after a power cut" lab_up n1
expect "that is another boot" is_another_boot
expect "and the system of the boot entry runs" runs first

remember
lab_exec n1 systemctl poweroff 2>/dev/null
need "a host that was shut down is switched on again" lab_rebooted n1
expect "that is another boot" is_another_boot
finish
