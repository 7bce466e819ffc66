#!/bin/sh
# proto is pure: bytes in, verdicts out. What its objects ask of others is compared with a list of what a pure function may
# ask: libsodium, and those parts of libc that only compute, format or allocate. No file, no clock, no socket, no log.
# Usage: test_purity.sh NM CC ARCHIVE
set -eu
export LC_ALL=C # one order for sort and comm
nm=$1 cc=$2 archive=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prints every undefined symbol of the archive that is neither defined in it nor allowed.
impure() {
    "$nm" -P --defined-only "$1" | awk 'NF >= 3 { print $1 }' | sort -u >"$work/defined"
    "$nm" -P -u "$1" | awk 'NF >= 2 && $2 == "U" { print $1 }' | sort -u >"$work/undefined"
    comm -23 "$work/undefined" "$work/defined" | grep -Ev \
        -e '^(crypto_[a-z0-9_]+|sodium_[a-z0-9_]+)$' \
        -e '^msgpack_[a-z0-9_]+$' \
        -e '^(mem(cpy|cmp|set|chr|move|mem)|str(len|cmp|ncmp|chr|str))$' \
        -e '^(malloc|calloc|free|qsort|bsearch|abort|hton[ls]|ntoh[ls])$' \
        -e '^(vsnprintf|snprintf)$' \
        -e '^__(vsnprintf|snprintf|memcpy|memmove|memset|strcpy)_chk$' \
        -e '^(__assert_fail|__errno_location|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_)$' \
        -e '^__(asan|ubsan|sanitizer|gcov|sancov)_[A-Za-z0-9_]+$' || true
}

# The test itself is tested first: each of these must be noticed, or the silence below means nothing.
cat >"$work/impure.c" <<'END'
int open(), socket();
void time(), printf(), getenv(), syslog(), impure(void);
void impure(void)
{
    open("x", 0), time(0), printf("x"), getenv("x"), socket(1, 2, 3), syslog(1, "x");
}
END
"$cc" -w -std=gnu17 -fno-builtin -c -o "$work/impure.o" "$work/impure.c"
ar rc "$work/impure.a" "$work/impure.o"
noticed=$(impure "$work/impure.a" | tr '\n' ' ')
if [ "$noticed" != "getenv open printf socket syslog time " ]; then
    echo "this test noticed only: $noticed" >&2
    exit 1
fi

if ! "$nm" "$archive" 2>/dev/null | grep -q ' U crypto_hash_sha256$'; then
    echo "$archive: not the archive of proto" >&2
    exit 1
fi
found=$(impure "$archive")
if [ -n "$found" ]; then
    echo "proto is not pure, it uses: $found" >&2
    exit 1
fi
