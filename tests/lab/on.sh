#!/bin/sh
# on.sh NODE COMMAND…: runs COMMAND in a node of the lab, from the hub, with the node's environment and nothing of the hub's.
set -eu
node=$1
shift
pid=$(cat "$LAB/$node/.pid")
own='--mount --net --uts --ipc'
[ ! -e "$LAB/$node/.systemd" ] || own="$own --pid --cgroup"
# shellcheck disable=SC2086 # a list
exec nsenter -t "$pid" $own -- env -i PATH=/opt/bento/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    USER=root LOGNAME=root LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" ASAN_OPTIONS="${ASAN_OPTIONS-}" "$@"
