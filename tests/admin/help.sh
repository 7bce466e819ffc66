#!/bin/sh
# Every program and every command that its help lists: help.sh FOLDER, where the programs are. --help fits a screen of 24
# lines and 80 columns and has an example; whatever is wrong with a command line is one line that says so, names the nearest of
# what there is, and ends with 64.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
LC_ALL=C.UTF-8
export LC_ALL
unset BENTO_DIR NAME
failures=0
checked=0

fail() {
    echo "FAILED: $command: $*"
    cat out err
    failures=$((failures + 1))
}

# ends_with STATUS ARGUMENTS…: $command with them.
ends_with() {
    wanted=$1 status=0
    shift
    # shellcheck disable=SC2086 # a program and its command
    $command "$@" >out 2>err </dev/null || status=$?
    [ "$status" = "$wanted" ] || fail "$* ends with $status, not $wanted"
}

# is_refused TEXT ARGUMENTS…
is_refused() {
    text=$1
    shift
    ends_with 64 "$@"
    [ "$(wc -l <err)" = 1 ] || fail "$*: it is not one line on stderr"
    [ ! -s out ] || fail "$*: it writes to stdout"
    grep -qF -- "$text" err || fail "$*: it does not say: $text"
}

check_help() {
    ends_with 0 --help
    [ ! -s err ] || fail "--help writes to stderr"
    [ "$(wc -l <out)" -le 24 ] || fail "--help has $(wc -l <out) lines, more than 24"
    [ "$(wc -L <out)" -le 80 ] || fail "--help has a line of $(wc -L <out) columns, more than 80"
    grep -q '^Usage: ' out || fail "--help does not start with the usage"
    grep -q '^Example: ' out || fail "--help has no example"
    cp out help
}

check_mistakes() {
    ends_with 0 --version
    [ "$(wc -l <out)" = 1 ] || fail "--version is not one line"
    is_refused "unknown option --elephant" --elephant
    # (One is enough: where there is a table of options, it is the table's doing.)
    option=$(sed -n 's/^  \(-., \|    \)--\([a-z-]*\) [A-Z].*/\2/p' help | head -n 1)
    is_refused "did you mean --$option?" "--${option}q"
    is_refused "a value is missing after --$option" "--$option"
    needed=$(sed -n 's/^Usage: .*\[OPTION…\] \([A-Z]*\).*/\1/p' help)
    if [ -n "$needed" ] && [ "$needed" != COMMAND ]; then
        is_refused "$needed"
    fi
}

check() {
    command=$*
    checked=$((checked + 1))
    check_help
    check_mistakes
    [ $# = 1 ] || return 0
    commands=$(sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p' help)
    for word in $commands; do
        command=$*
        is_refused "did you mean $word?" "${word}q"
    done
    for word in $commands; do
        check "$@" "$word"
    done
}

for program in bento bento-pub bento-status bento-broker bento-node bento-apply; do
    check "$1/$program"
done
command=
[ "$checked" -ge 15 ] || fail "only $checked programs and commands were found"
[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
echo "ok: $checked programs and commands"
