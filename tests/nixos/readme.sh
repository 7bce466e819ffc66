#!/bin/sh
# Every command of the README is one that a test runs, or readme.txt says why not:
#   COMMAND | FILE | what stands in that file
#   COMMAND | not run | why
set -eu
cd "$(dirname "$0")/../.."
status=0
table=tests/nixos/readme.txt

fault() {
    echo "$*" >&2
    status=1
}

# Its commands, without what is said about them.
commands=$(awk '/^```sh/ { shown = 1; next } /^```/ { shown = 0 } shown' README.md | sed 's/  *# .*//')
[ -n "$commands" ] || fault "the README shows no commands"
echo "$commands" | while read -r command; do
    grep -qF -e "$command | " "$table" || echo "README: no test runs: $command"
done >"${TMPDIR:-/tmp}/bento-readme.$$"
while read -r missing; do fault "$missing"; done <"${TMPDIR:-/tmp}/bento-readme.$$"
rm "${TMPDIR:-/tmp}/bento-readme.$$"

while read -r line; do
    words=${line##* | } rest=${line% | *}
    file=${rest##* | } command=${rest% | *}
    echo "$commands" | grep -qxF -e "$command" || fault "$table: the README does not show: $command"
    [ "$file" = "not run" ] || grep -qF -e "$words" "$file" || fault "$file does not hold: $words"
done <"$table"

# And every page and file that it names is there.
for name in $(grep -oE 'bento[a-z.-]*\([1-8]\)' README.md | sort -u | tr '()' '. '); do
    [ -n "$(git ls-files "*/${name%.}")" ] || fault "README: there is no page $name"
done
exit "$status"
