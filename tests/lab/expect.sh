# shellcheck shell=sh
# How a script counts what does not hold: sourced. Who sources it says what finish does.
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
