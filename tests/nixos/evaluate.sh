#!/bin/sh
# The modules, evaluated: what comes out of good configurations, what is said of broken ones, and whether options and programs
# know the same keys.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

value bad >"$work/bad" || fail "a good configuration is refused"
expect "good configurations become what they should: $(cat "$work/bad")" [ "$(cat "$work/bad")" = '[]' ]

value messages >"$work/messages"
jq -r 'keys[]' "$work/messages" >"$work/broken"
[ -s "$work/broken" ] || fail "there are no broken configurations"
while read -r name; do
    message=$(jq -r --arg name "$name" '.[$name]' "$work/messages")
    if value "(system broken.\"$name\".module).failed" >"$work/said" 2>&1; then
        fail "$name: is taken"
    else
        expect "$name" grep -qF "$message" "$work/said" || cat "$work/said" >&2
    fi
done <"$work/broken"

# What `bento init` and `bento add-host` make of a host.
cp -R nixos/template "$work/fleet"
mv "$work/fleet/utils" "$work/fleet/example/"
sed -i "s|= throw .*;|= \"$PWD\";|" "$work/fleet/example/utils/bento.nix"
cp tests/nixos/bootstrap.json "$work/fleet/example/utils/node.json"
value "(import ./tests/nixos/nixos.nix {
    modules = [ (/. + \"$work/fleet/example/configuration.nix\") ];
}).etc.\"bento/node.json\"" | jq -r . >"$work/template"
expect "the template's host is a node of its fleet" \
    holds --slurpfile given tests/nixos/bootstrap.json 'del(.path) == $given[0]' "$work/template"

value options >"$work/options"
expect "there are options" [ "$(jq length "$work/options")" -gt 60 ]
expect "every option is described" holds 'map(select(.description == "") | .name) | . == [] or (. | error)' "$work/options"
expect "every option is set by a case" holds 'map(select(.set | not) | .name) | . == [] or (. | error)' "$work/options"

# keys_of OPTIONS: their last names. read_by FILE… OBJECT: keys that a program asks for.
keys_of() {
    jq -r --arg of "$1." '.[].name | select(startswith($of)) | ltrimstr($of) | select(contains(".") | not)' "$work/options" | sort
}
read_by() {
    for last in "$@"; do :; done
    grep -ohE "$last, \"[a-z_]+\"" "$@" 2>/dev/null | sed 's/.*"\(.*\)"/\1/' | sort -u
}
same_keys() {
    keys_of "$1" >"$work/option-keys"
    shift
    read_by "$@" >"$work/program-keys"
    diff "$work/option-keys" "$work/program-keys"
}
expect "node.json: options and program have the same keys" same_keys services.bento.node.settings node/config*.c root
expect "its endpoints too" same_keys services.bento.node.settings.endpoints node/config*.c at
expect "broker.json: options and program have the same keys" same_keys services.bento.broker.settings broker/broker_main.c root
finish
