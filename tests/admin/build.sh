#!/bin/sh
# bento build, diff and flake-update, and how bento-pub builds, with real Nix, one real node, and a real terminal (tmux).
set -eu
command -v tmux >/dev/null || { echo "skipped: tmux is not installed (script/packages installs what is missing)"; exit 77; }
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"

fleet_nodes=router
need "a fleet" fleet_new
many=/root/fleet/hosts/many

# ---- helpers ----

# command STATUS COMMAND…: ends with it; what it printed is in out.
command_ends() {
    wanted=$1 status=0
    shift
    "$@" >"$LAB/out" 2>&1 </dev/null || status=$?
    [ "$status" = "$wanted" ] || { cat "$LAB/out"; false; }
}

says() {
    for text; do
        grep -qF -- "$text" "$LAB/out" || { echo "it does not say: $text"; cat "$LAB/out"; return 1; }
    done
}

# Nix itself, and a note of each evaluation of systems.
mkdir "$LAB/spy"
cat >"$LAB/spy/nix" <<SPY
#!/bin/sh
case "\$*" in *toplevel*) echo evaluation >>$LAB/evaluations ;; esac
exec $(command -v nix) "\$@"
SPY
chmod +x "$LAB/spy/nix"
PATH=$LAB/spy:$PATH

evaluations() {
    wc -l <"$LAB/evaluations"
}

host_count() {
    grep -c "^host[0-9]* *$1" "$LAB/out"
}

none_left() {
    [ -z "$(find /tmp -maxdepth 1 -name 'bento-????????????????')" ] && ! pgrep -f '^nix|nix-store' >/dev/null
}

# A flake for 50 hosts, none of which is enrolled.
mkdir "$many"
cp -L "$LAB_PROJECT"/tests/fleet/utils/* "$many/"
cat >"$many/flake.nix" <<'NIX'
{ outputs = { self }:
    let
      names = builtins.genList (n: "host${toString (n + 10)}") 50;
      own = name: if builtins.pathExists (./. + "/${name}.nix") then import (./. + "/${name}.nix") else { };
      host = name: import ./mksystem.nix ({ hostName = name; bento = false; } // own name);
    in { nixosConfigurations = builtins.listToAttrs (map (name: { inherit name; value = host name; }) names); };
}
NIX

# ---- bento build ----

expect "hosts need not be enrolled to be built" command_ends 0 bento build 'host1*' router
expect "each is told" says "host10  built      /nix/store/" "router  built" "11 built"
expect "it was one evaluation" [ "$(evaluations)" = 1 ]
expect "its path is there" [ -e "$(sed -n 's/^host10 .*built *\([^ ]*\) .*/\1/p' "$LAB/out")/init" ]
expect "NAME chooses as well" command_ends 0 env NAME=host11 bento build
expect "that one alone" says "1 built"
expect "dry-build builds nothing" command_ends 0 bento build dry-build host20
expect "and says what it would do" says "host20  would build 2, fetch 0"
expect "a typo is told" command_ends 64 bento build hoost10
expect "with the nearest" says "did you mean host10?"
expect "--jobs is a number" command_ends 64 bento build --jobs none
expect "test wants one host" command_ends 64 bento build test 'host1*'
expect "and somebody to ask" command_ends 64 bento build switch host10
expect "on a terminal" says "run it on a terminal"

# ---- what fails ----

: >"$LAB/evaluations"
echo '{ mode = "eval-error"; }' >"$many/host12.nix"
echo '{ nonsense = 1; }' >"$many/host15.nix" # not to be caught by tryEval
echo '{ mode = "build-error"; }' >"$many/host17.nix"
expect "broken hosts fail" command_ends 1 bento build 'host1*' 'host2*'
expect "each with its own reason" says "host12: evaluation: host12: evaluation error on purpose" "host15: evaluation:" \
    "nonsense" "host17: build: builder for" "demo.c:1: compile error on purpose" "17 built, 3 failed"
expect "the others are built" [ "$(host_count built)" = 17 ]
expect "and do not cost an evaluation each" [ "$(evaluations)" -le 5 ]
rm "$many"/host1*.nix

# Slow enough that an evaluation can be stopped between two of them.
for host in host20 host21 host22; do
    echo '{ text = toString (builtins.foldl'"'"' (a: b: a + b) 0 (builtins.genList (n: n) 3000000)); }' >"$many/$host.nix"
done
echo 'MemAvailable: 300000 kB' >"$LAB/meminfo"
if mount --bind "$LAB/meminfo" /proc/meminfo 2>/dev/null; then
    : >"$LAB/evaluations"
    expect "where memory is short all are built too" command_ends 0 bento build host20 host21 host22
    umount /proc/meminfo
    expect "in more than one evaluation" [ "$(evaluations)" -ge 2 ]
    expect "every one of them" says "3 built"
fi

# ---- on a terminal ----

screen() {
    tmux capture-pane -p -t test
}

# on_screen PATTERN
on_screen() {
    screen | grep -q -- "$1"
}

# fits COLUMNS: and the sum is there once, so nothing of an older drawing is left.
fits() {
    screen >"$LAB/out"
    if [ "$(wc -L <"$LAB/out")" -gt "$1" ] || [ "$(grep -c 'hosts done' "$LAB/out")" != 1 ]; then
        cat "$LAB/out"
        return 1
    fi
}

# keys WORDS…: typed, and Enter.
keys() {
    tmux send-keys -t test "$*" Enter
}

host_write router 'mode = "ok"; text = "slow"; delay = 60;'
LC_ALL=C.UTF-8
export LC_ALL
tmux new-session -d -s test -x 80 -y 24 "exec env PS1='> ' sh -i"
tmux set-option -g status off
keys "clear; echo 'I am' ready"
wait_for 30 "the terminal" on_screen 'I am ready'
keys 'clear; bento build --jobs 3 router "host3*" "host4*" "host5*"'
expect "one live line a host" wait_for 60 "building" on_screen "router  building  *[0-9]*s  building 'nixos-system-router"
expect "and the sum" on_screen 'of 31 hosts done'
expect "in the terminal's width" fits 80
tmux resize-window -t test -x 50 -y 12
expect "also when that changes" wait_for 30 "a redraw" fits 50
tmux send-keys -t test C-c
expect "Ctrl-C ends it" wait_for 30 "the end" on_screen 'interrupted: nothing was changed'
keys 'echo ended with $?'
expect "by the signal" wait_for 30 "its status" on_screen 'ended with 130'
expect "the live lines are gone" not on_screen 'hosts done'
expect "nothing is left behind" none_left
keys 'clear; NO_COLOR=1 bento build host10'
expect "it goes on afterwards" wait_for 60 "one host" on_screen '1 built'
tmux resize-window -t test -x 120 -y 24

# ---- bento-pub ----

ssh-keygen -q -t ed25519 -N '' -C identity -f /root/host10
sed -i 's/(n + 10)}") 50/(n + 10)}") 1/' "$many/flake.nix"
expect "a second node" command_ends 0 bento add-host host10 --keys /root/host10.pub
host_write router 'mode = "eval-error";'
expect "all or nothing: nothing" command_ends 1 bento-pub --all-or-nothing
expect "that is said" says "not all hosts can be built (--all-or-nothing): nothing is published"
expect "and true" [ "$(bento-status --json | jq -r .release)" = null ]
host_write router 'mode = "ok"; text = "one";'
expect "what builds is published" command_ends 2 bento-pub --wait=60
expect "and arrives" up_to_date router

# ---- bento diff ----

expect "the same: it would get the same" command_ends 0 bento diff router
expect "which is told" says "router runs" "and would get the same"
host_write router 'mode = "ok"; text = "one"; kernel = "6.6.2";'
expect "another kernel" command_ends 0 bento diff
expect "is the difference" says "router runs" "linux: 6.6.1 → 6.6.2"
expect "a node that never spoke: the release's path" says "host10 has not reported; the last release expects"

# ---- bento build test, switch ----

# asked ENVIRONMENT… ANSWER: types the command in there, waits for the question.
asked() {
    keys "clear; $1"
    wait_for 60 "the question" on_screen 'now? \[y/N\]' && keys "$2"
}

switched_here() {
    [ "$(grep -cs " begin action=$1 " /run/bento-test/switch.log)" = "$2" ]
}
hostname elsewhere
keys 'clear; bento build test router'
expect "another machine is not touched without TARGET_IP" wait_for 60 "the refusal" on_screen 'router is not this machine'
hostname router
expect "this machine is asked about" asked 'bento build test router' n
expect "and left alone" wait_for 30 "the end" on_screen 'nothing was changed'
expect "or tries it" asked 'bento build test router' y
expect "at once" wait_for 60 "the switch" switched_here test 1
if [ "$LAB_UID" = 0 ]; then
    cat >/root/sshd_config <<CONF
ListenAddress 127.0.0.1
Port 2223
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /root/.ssh/id_ed25519.pub
PidFile none
StrictModes no
CONF
    /usr/sbin/sshd -D -e -f /root/sshd_config 2>"$LAB/admin-sshd.log" &
    sshd=$!
    wait_for 30 "another sshd" grep -q 'Server listening' "$LAB/admin-sshd.log"
    hostname elsewhere
    expect "TARGET_IP asks too" asked \
        'TARGET_IP=127.0.0.1 NIX_SSHOPTS="-p 2223 -o StrictHostKeyChecking=no" bento build switch router' y
    expect "and switches there" wait_for 60 "the switch" switched_here switch 1
    expect "with the profile set" [ -e /nix/var/nix/profiles/system/bento-test ]
    kill "$sshd"
fi
tmux kill-server

# ---- bento flake-update ----

fresh=/root/fleet/hosts/fresh
mkdir -p "$fresh/secrets" /root/input
echo 'do-not-look' >"$fresh/secrets/password"
echo one >/root/input/data
cat >"$fresh/flake.nix" <<'NIX'
{ inputs.data = { url = "path:/root/input"; flake = false; }; outputs = { self, data }: { }; }
NIX
expect "a lock is made" command_ends 0 bento flake-update
expect "for the flake that has inputs" says "hosts/fresh  updated" "hosts/many  nothing newer"
cp "$fresh/flake.lock" "$LAB/lock"
expect "nothing newer" command_ends 0 bento flake-update data
expect "changes nothing" cmp "$fresh/flake.lock" "$LAB/lock"
echo two >/root/input/data
expect "something newer" command_ends 0 bento flake-update data
expect "is told" says "Updated input 'data'"
expect "and locked" not cmp -s "$fresh/flake.lock" "$LAB/lock"
expect "an input that no flake has" command_ends 64 bento flake-update nonsense
expect "no secret came into the store" not grep -rqs 'do-not-look' /nix/store
expect "nothing is left behind at all" none_left
finish
