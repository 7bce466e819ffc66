#!/bin/sh
# boot.sh: what firmware and boot loader do on a host with systemd: calls the init of the system that the default entry names.
# On a disk without an entry that is systemd alone, as on an installer's medium.
#
# Units come from the system's /etc/systemd/system, as on NixOS, and from /opt/lab/units (lab.sh); generators do not run.
set -eu
entry=/boot/loader/entries/nixos.conf
init=/lib/systemd/systemd
[ ! -f "$entry" ] || init=$(sed -n 's/^options init=\([^ ]*\).*/\1/p' "$entry")
units=/etc/systemd/system:/run/systemd/transient:/run/systemd/system:/opt/lab/units
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH="$units" SYSTEMD_GENERATOR_PATH=/var/empty \
    "$init" --system --unit=multi-user.target --show-status=no </dev/null >/run/console 2>&1
