#!/bin/sh
# cmake --install, as a package does it: the files in their GNU places, and programs that run from there.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d "${TMPDIR:-/tmp}/bento-install.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

DESTDIR=$work/root cmake --install "$BENTO_BUILD" --prefix /usr >"$work/said" || {
    cat "$work/said" >&2
    exit 1
}
programs='bento bento-apply bento-broker bento-node bento-pub bento-status'
{
    for program in $programs; do echo "bin/$program"; done
    for file in JSON.md LICENSE PROTOCOL.md README.md; do echo "share/doc/bento/$file"; done
    find node broker -name '*.[1-8]' | while read -r page; do echo "share/man/man${page##*.}/$(basename "$page")"; done
} | sort >"$work/expected"
(cd "$work/root/usr" && find . -type f | sed 's|^\./||' | sort) >"$work/installed"
diff "$work/expected" "$work/installed" || {
    echo "FAILED: < is expected, > is installed" >&2
    exit 1
}

status=0
for program in $programs; do
    said=$("$work/root/usr/bin/$program" --version 2>&1) || status=1
    case $said in
    "$program "[0-9]*) ;;
    *)
        echo "FAILED: $program --version said: $said" >&2
        status=1
        ;;
    esac
    if readelf -d "$work/root/usr/bin/$program" | grep -E 'R(UN)?PATH'; then
        echo "FAILED: $program looks for libraries where it was built" >&2
        status=1
    fi
done
exit "$status"
