#!/bin/sh
# seeds.sh PROGRAM CORPUS: every seed that the encoders make today lies in CORPUS.
set -eu
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$1" "$made"
cd "$made"
find . -type f | {
    status=0
    while read -r seed; do
        if ! cmp -s "$seed" "$2/$seed"; then
            echo "$2/$seed differs or is missing: run $1 $2" >&2
            status=1
        fi
    done
    exit "$status"
}
