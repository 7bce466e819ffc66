#!/bin/sh
# status.sh [PYTEST ARGUMENTS…]: bento-status on terminals, by tmux. BENTO_BIN: the programs. Nothing is written beside the sources.
set -eu
cd "$(dirname "$0")"
command -v tmux >/dev/null || { echo "skipped: there is no tmux"; exit 77; }
if ! reason=$(/usr/bin/python3 -c 'import msgpack, nacl, pytest' 2>&1); then
    echo "skipped: $(echo "$reason" | tail -n 1); the packages are python3-msgpack, python3-nacl, python3-pytest"
    exit 77
fi
PYTHONPATH=../wire PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 -m pytest -q -rsxX --tb=short -p no:cacheprovider status.py "$@"
