#!/bin/sh
# run.sh BIN [FOLDER [CASE…]]: the attacks of one folder (see run.py), or of all, with the programs in BIN. BENTO_FLIPS: the
# program of flips.c. Exit status 77: skipped, and the output says why.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$1" && pwd)
shift
python=/usr/bin/python3
"$python" -c 'import msgpack, nacl' 2>/dev/null || python=python3
"$python" -c 'import msgpack, nacl' 2>/dev/null || {
    echo "skipped: Python has no msgpack or no nacl (script/packages)"
    exit 77
}
export PYTHONDONTWRITEBYTECODE=1 BENTO_FLIPS="${BENTO_FLIPS:-$bin/../tests/flips}"
if [ $# -gt 0 ]; then
    folder=$(cd "$1" && pwd)
    shift
    exec "$python" "$here/run.py" "$bin" "$folder" "$@"
fi
for folder in "$here"/*/; do
    echo "== $(basename "$folder")"
    "$python" "$here/run.py" "$bin" "${folder%/}"
done
