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
# Side by side; what is wrong names its file itself.
find proto node broker tests -name '*.[ch]' -print0 | xargs -0 -P "$(nproc)" -n 20 "$format" --dry-run -Werror || {
    echo "run $format -i on the files named above"
    exit 1
}
