#!/bin/sh
# Every C file is as clang-format 14 leaves it.
set -eu
cd "$(dirname "$0")/../.."
format=$(command -v clang-format-14 || command -v clang-format) || {
    echo "skipped: clang-format is not installed"
    exit 77
}
case $("$format" --version) in
*"version 14."*) ;;
*)
    echo "skipped: $("$format" --version) is not version 14, whose output differs"
    exit 77
    ;;
esac
find proto node broker tests -name '*.[ch]' | {
    status=0
    while read -r file; do
        if ! "$format" --dry-run -Werror "$file" 2>/dev/null; then
            echo "$file: run $format -i on it"
            status=1
        fi
    done
    exit "$status"
}
