# shellcheck shell=sh
# What e2e tests share: sourced first, with the script's own arguments. The rest of the script runs inside the lab.
LAB_SOURCE=$(realpath "$(dirname "$0")/../lab")
# shellcheck source-path=SCRIPTDIR source=../lab/lab.sh
. "$LAB_SOURCE/lab.sh"
# shellcheck source-path=SCRIPTDIR source=../lab/fleet.sh
. "$LAB_SOURCE/fleet.sh"
lab_enter "$0" "$@"

failures=0

fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

# expect MESSAGE COMMAND…: goes on when it does not hold; finish tells.
expect() {
    message=$1
    shift
    if "$@" >&2; then
        echo "ok: $message"
    else
        fail "$message"
    fi
}

not() {
    ! "$@"
}

# For what the rest of the test stands on.
need() {
    needed=$failures
    expect "$@"
    [ "$failures" = "$needed" ] || finish
}

finish() {
    if [ "$failures" != 0 ]; then
        fleet_logs
        echo "$failures failed" >&2
        exit 1
    fi
    exit 0
}
