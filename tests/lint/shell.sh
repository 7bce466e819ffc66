#!/bin/sh
# Every shell script passes shellcheck.
set -eu
cd "$(dirname "$0")/../.."
command -v shellcheck >/dev/null || {
    echo "skipped: shellcheck is not installed"
    exit 77
}
# Scripts by their first line or, for those that are sourced, their first directive.
find . \( -name .git -o -name build \) -prune -o -type f -exec grep -lIm1 -E \
    '^#!(/usr)?/bin/(env )?(ba|da)?sh|^# shellcheck shell=' {} + | tr '\n' '\0' |
    xargs -0 -P "$(nproc)" -n 10 shellcheck -x
