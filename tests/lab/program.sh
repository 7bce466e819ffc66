#!/bin/sh
# program.sh PROGRAM: bento-apply or bento-node in a node, as the service manager would have it: started again when it ends by
# itself (Restart=always), ended by SIGTERM.
set -eu
mkdir -p /run/bento-test

case $1 in
bento-apply) set -- bento-apply --config /etc/bento/node.json --no-systemd ;;
bento-node)
    set -- bento-node --config /etc/bento/node.json
    # Its own account where there can be one: a user namespace has a single user.
    if getent passwd bento-node >/dev/null; then
        set -- setpriv --reuid=bento-node --regid=bento-node --clear-groups "$@"
    fi
    # bento-apply makes its folders.
    deadline=$(($(date +%s) + 10))
    until [ -d /var/lib/bento/node ] || [ "$(date +%s)" -ge "$deadline" ]; do sleep 0.05; done
    ;;
esac
case $* in
*bento-apply*) pid_file=/run/bento-test/bento-apply.pid ;;
*) pid_file=/run/bento-test/bento-node.pid ;;
esac

child=
trap '[ -z "$child" ] || kill "$child"; wait; exit 0' TERM
while :; do
    "$@" &
    child=$!
    echo "$child" >"$pid_file"
    status=0
    wait "$child" || status=$?
    echo "ended with $status, started again" >&2
    sleep 0.2
done
