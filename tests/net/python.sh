#!/bin/sh
# python.sh FILE…: these tests with Debian's python, as tests/wire/run.sh does. Nothing is written beside the sources.
set -eu
cd "$(dirname "$0")"
if ! reason=$(/usr/bin/python3 -c 'import msgpack, nacl, pytest' 2>&1); then
    echo "skipped: $(echo "$reason" | tail -n 1); the packages are python3-msgpack, python3-nacl, python3-pytest"
    exit 77
fi
PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 -m pytest -q -rsxX --tb=short -p no:cacheprovider --rootdir . "$@"
