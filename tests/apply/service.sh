#!/bin/sh
# bento-apply as a service: it tells systemd when it is ready, keeps its watchdog fed, is started again when it hangs, and chooses
# units for its jobs; where there is no systemd it says what to do. BENTO_BUILD: the build folder.
set -eu
# shellcheck source-path=SCRIPTDIR source=host.sh
. "$(dirname "$0")/host.sh"

fail() {
    echo "FAILED: $*" >&2
    in_host journalctl --no-pager --unit=bento-apply >&2
    exit 1
}

property() {
    in_host systemctl show --property="$1" --value bento-apply.service
}

other_than() {
    now=$(property MainPID)
    [ "$now" != "$1" ] && [ "$now" != 0 ]
}

in_host sh -c 'mkdir -p /etc/bento && cat >/etc/bento/node.json' <<'JSON'
{
  "fleet": "0101010101010101010101010101010101010101010101010101010101010101",
  "signers": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c admin"],
  "endpoints": [{"tunnel": "none", "pub": "tcp://127.0.0.1:1", "rep": "tcp://127.0.0.1:2"}]
}
JSON
in_host sh -c 'mkdir -p /etc/ssh && ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'

# Returns when it is ready, or not at all.
in_host systemd-run --quiet --unit=bento-apply --service-type=notify --property=WatchdogSec=2 --property=Restart=always \
    --property=RestartSec=0 "$BENTO_BUILD/bin/bento-apply" || fail "bento-apply did not become ready"
first=$(property MainPID)
[ "$first" != 0 ] || fail "bento-apply does not run"

fed_until=$(($(date +%s) + 6))
while [ "$(date +%s)" -lt "$fed_until" ]; do
    [ "$(property MainPID)" = "$first" ] || fail "the watchdog ended a bento-apply that is well"
    sleep 0.2
done

in_host kill -STOP "$first"
wait_for 20 "a new bento-apply in the place of one that hangs" other_than "$first" || fail "it was not replaced"
in_host systemctl stop bento-apply

# A mount namespace where nothing says that systemd runs.
said=$(in_host unshare --mount sh -c 'mount -t tmpfs tmpfs /run && exec "$@"' sh "$BENTO_BUILD/bin/bento-apply" 2>&1) &&
    fail "bento-apply started without systemd"
case $said in
*--no-systemd*) ;;
*) fail "without systemd it said: $said" ;;
esac
