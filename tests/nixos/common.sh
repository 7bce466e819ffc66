# shellcheck shell=sh
# What the tests of the modules share: sourced first. $work is a folder of the test's own.
cd "$(dirname "$0")/../.." || exit
for tool in nix-instantiate jq; do
    command -v "$tool" >/dev/null || {
        echo "skipped: $tool is not installed (script/packages installs what is missing)"
        exit 77
    }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/bento-nixos.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
# Evaluation alone: no store, no settings of the machine's.
export HOME="$work" NIX_CONF_DIR="$work" NIX_REMOTE=dummy://
unset NIX_PATH NIX_CONFIG
# shellcheck source-path=SCRIPTDIR source=../lab/expect.sh
. tests/lab/expect.sh

# value EXPRESSION: as JSON; the names of cases.nix are at hand.
value() {
    nix-instantiate --eval --strict --json -E "with import ./tests/nixos/cases.nix; $1"
}

# holds JQ…: true, or an error that shows what is wrong.
holds() {
    jq -e "$@" >/dev/null
}

finish() {
    [ "$failures" = 0 ] || {
        echo "$failures failed" >&2
        exit 1
    }
    exit 0
}
