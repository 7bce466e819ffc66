#!/bin/sh
# man.sh FOLDER_OF_PROGRAMS: the man pages are well-formed, and name every option of every program and every key of every file,
# and no others.
set -eu
programs=$1
cd "$(dirname "$0")/../.."
command -v mandoc >/dev/null || { echo "skipped: mandoc is not installed"; exit 77; }
status=0

fault() {
    echo "$*" >&2
    status=1
}

text_of() {
    mandoc -T ascii "$1" | sed 's/.\x08//g' | tr -s '\n ' ' '
}

# page FILE PROGRAM [SUBCOMMAND…]: the options of the program, and of these subcommands, are those of the page.
page() {
    file=$1 program=$2
    shift 2
    help=$("$programs/$program" --help)
    for command; do help="$help $("$programs/$program" "$command" --help)"; done
    text=$(text_of "$file")
    for option in $(echo "$help" | grep -oE -e '--[a-z][a-z-]+' | sort -u); do
        case $text in *"$option"*) ;; *) fault "$file does not say what $option is" ;; esac
    done
    for command in $("$programs/$program" --help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'); do
        case $text in *"$command"*) ;; *) fault "$file does not tell of $program $command" ;; esac
    done
}

# keys FILE SOURCE…: what these sources read from a configuration stands in the page.
keys() {
    file=$1
    shift
    text=$(text_of "$file")
    # shellcheck disable=SC2013 # words, one a line
    for key in $(grep -hoE 'conf_(need_)?(text|texts|u64|bool|hex|object|count|at)\([a-z_]+, "[a-zA-Z_]+"' "$@" |
        sed 's/.*"\(.*\)"/\1/' | sort -u); do
        case $text in *"$key"*) ;; *) fault "$file does not tell of $key" ;; esac
    done
}

pages=$(git ls-files '*.[1-8]')
for file in $pages; do
    mandoc -T lint -W warning "$file" || fault "$file: see above"
    # shellcheck disable=SC2013 # likewise
    for reference in $(sed -n 's/^\.Xr \(bento[^ ]*\) \([1-8]\).*/\1.\2/p' "$file" | sort -u); do
        echo "$pages" | grep -q "/$reference\$" || fault "$file refers to $reference, which is not there"
    done
done
page node/bento-apply.8 bento-apply
page node/bento-node.8 bento-node
page broker/bento-broker.8 bento-broker
page broker/admin/bento-pub.1 bento-pub
page broker/admin/bento-status.1 bento-status
page broker/admin/bento.1 bento init add-host remove-host ssh signers build diff flake-update broker-config authorized-keys
keys node/bento-node.json.5 node/config.c
keys broker/bento-broker.8 broker/broker_main.c
keys broker/admin/bento-fleet.nix.5 broker/admin/fleet.c
exit "$status"
