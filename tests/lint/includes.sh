#!/bin/sh
# Libraries are hidden behind one file each, and the pure part does no I/O.
set -eu
cd "$(dirname "$0")/../.."
status=0

# only FILES PATTERN: no other file of the product includes it.
only() {
    found=$(grep -lrE --include='*.[ch]' "^ *# *include *<$2" proto node broker | grep -vxE "$1" || :)
    if [ -n "$found" ]; then
        echo "$2 may be included by $1 alone, but also is by: $found" >&2
        status=1
    fi
}

# never FOLDER PATTERN: no file directly in the folder includes it.
never() {
    found=$(grep -lE "^ *# *include *<($2)" "$1"/*.[ch] || :)
    if [ -n "$found" ]; then
        echo "$1 may not include $2, but does in: $found" >&2
        status=1
    fi
}

only 'proto/rt/bus\.c' 'nng/'
only 'proto/wire\.c' 'msgpack'
only 'broker/store_sqlite\.c' 'sqlite3'
only 'proto/rt/conf\.c|node/(snapshot|page|preflight)\.c|broker/admin/.*' 'jansson'
never proto 'unistd\.h|fcntl\.h|time\.h|poll\.h|dirent\.h|sys/(stat|socket|types|time)\.h'

if ! grep -rqE --include='*.c' '^#include <nng/' proto/rt; then
    echo "nothing includes nng: this check looks in the wrong place" >&2
    status=1
fi
exit "$status"
