#!/bin/sh
# The rendered units, as systemd reads them: no mistake in them, and no more exposed than exposure.txt has it.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
command -v systemd-analyze >/dev/null || {
    echo "skipped: systemd-analyze is not installed"
    exit 77
}

programs=$(dirname "$BENTO_BIN")
value "(system {
    imports = [ (node { }) (broker { cache.server = \"files\"; package = { outPath = \"$programs\"; }; }) ];
    services.bento.node.package = { outPath = \"$programs\"; };
}).units" >"$work/units"

# Its exit status says nothing in older versions; what it prints does.
is_clean() {
    systemd-analyze verify "$1" >"$work/said" 2>&1 || :
    [ ! -s "$work/said" ] || cat "$work/said"
    [ ! -s "$work/said" ]
}
exposure() {
    systemd-analyze security --offline=true --no-pager "$1" | sed -n 's/.*exposure level for .*: \([0-9.]*\).*/\1/p'
}
no_more() {
    echo "$1 $2" | jq -en 'input as $is | input as $most | $is <= $most' >/dev/null
}

for name in $(jq -r 'keys[]' "$work/units"); do
    jq -r --arg name "$name" '.[$name]' "$work/units" >"$work/$name"
    if [ "$name" != bento-cache.service ] || [ -x /usr/bin/busybox ]; then
        expect "$name is understood" is_clean "$work/$name"
    fi
    most=$(sed -n "s/^$name \(.*\)/\1/p" tests/nixos/exposure.txt)
    now=$(exposure "$work/$name")
    expect "$name is exposed by ${now:-?}, at most ${most:-?}" no_more "${now:-11}" "${most:-0}"
done
sed '/^CapabilityBoundingSet/d' "$work/bento-node.service" >"$work/loose.service"
loose=$(exposure "$work/loose.service")
! no_more "$loose" "$(exposure "$work/bento-node.service")" || fail "a unit that may do more is not noticed"
finish
