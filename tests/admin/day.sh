#!/bin/sh
# A day of an admin, typed into a terminal of 100x30: from the empty folder to a fleet of three nodes, a host that does not
# build, a canary that cuts its own network, the way back, another signer, a host that goes. What stands on the screen after each
# command is compared with day/NAME.txt; where a screen is meant to change, take it from what this prints.
set -eu
command -v tmux >/dev/null || { echo "skipped: tmux is not installed (script/packages installs what is missing)"; exit 77; }
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"

# The canary is to lose its network for that long; a healthy node on a busy machine is to be quicker.
fleet_node_settings=$(echo "$fleet_node_settings" | jq '.confirm_seconds = 20 | .switch_seconds = 60')
expected=$LAB_PROJECT/tests/admin/day
seen=$LAB/seen
mkdir "$seen"

# ---- the terminal ----

# keys WORDS: typed, and Enter.
keys() {
    tmux send-keys -t day -l "$1"
    tmux send-keys -t day Enter
}

# Lines that the terminal broke are one again.
screen() {
    tmux capture-pane -p -J -t day | sed -e 's/ *$//' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
}

# The command has ended: below what it wrote there is another prompt, which shows its exit status.
prompted() {
    screen | sed -n '1!h; ${x; /^\[[0-9]*\]$/!q1}'
}

cleared() {
    [ "$(screen | sed 's/[0-9]//')" = '[]' ]
}

# typed COMMAND: on a clear screen, and to its end.
typed() {
    keys clear
    wait_for 30 "a clear screen" cleared && keys "$1" && wait_for 60 "the end of $1" prompted
}

# What is never twice the same: numbers of releases, times, sizes, hashes and keys; and the order in which hosts are done.
volatile() {
    sed -E \
        -e 's/\b1[0-9]{9}\b/<RELEASE>/g' \
        -e 's/^([a-z]+ +)([0-9a-z]{8}) \2 /\1<system> <system> /' \
        -e 's/^([a-z]+ +unpinned) [0-9a-z]{8} /\1 <system> /' \
        -e 's/^([a-z]+ +)[0-9a-z]{8} [0-9a-z]{8} (. )/\1<before> <system> \2/' \
        -e 's/[0-9a-z]{8}…-nixos/<system>…-nixos/g; s/[0-9a-f]{8,}…/<hash>…/g; s|/store/[0-9a-z]{32}|/store/<hash>|g' \
        -e 's|SHA256:[A-Za-z0-9+/]{43}|SHA256:<hash>|g; s|AAAAC3[A-Za-z0-9+/]{62}|<key>|g' \
        -e 's/ +[0-9.]+ k?B\b/ <size>/g; s/\b20[0-9]{2}-[0-9]{2}-[0-9]{2}\b/<date>/g' \
        -e 's/\b[0-9]+[dhms]( [0-9]+[dhms])?\b/<time>/g; s/ +[0-9.]+ s$/ <time>/; s/ +(<time>|HEARD)$/ \1/' |
        awk '/ <time>$|^  <hash>… <size>/ { print | "sort"; next } { close("sort"); print; fflush() }'
}

# looks_like NAME COMMAND: types it; its screen is the expected one.
looks_like() {
    typed "$2" || { screen; return 1; }
    screen | volatile >"$seen/$1.txt"
    diff -u "$expected/$1.txt" "$seen/$1.txt"
}

# offered WHAT: the command that the screen offers for it.
offered() {
    screen | sed -n "s/^  $1  *//p"
}

everybody() {
    for node in $fleet_nodes; do
        up_to_date "$node" || return 1
    done
}

# day NAME COMMAND: the rest of the day stands on it.
day() {
    need "$1: $2" looks_like "$1" "$2"
}

# ---- the machines ----

# As on NixOS: a system brings /etc/bento/node.json, so that nodes learn of another signer.
machine() {
    node_install "$1" && mkdir -p "$LAB/$1/etc/systemd" && ln -s /etc/static/systemd/system "$LAB/$1/etc/systemd/system" &&
        node_boot "$1" && fleet_keys "$1" && cp "$LAB/$1.keys" /root/
}

# host NODE ATTRIBUTES
host() {
    host_write "$1" "$2 etcConfig = builtins.fromJSON (builtins.readFile ./utils/node.json) //
        builtins.fromJSON (builtins.readFile ./utils/lab.json);"
}

edit() {
    sed -i "$1" /root/fleet/fleet.nix
}

# shellcheck disable=SC2086 # a list
need "machines" lab_up $fleet_nodes
lab_sshd
mkdir -p /root/.ssh
ssh-keygen -q -t ed25519 -N '' -C admin -f /root/.ssh/id_ed25519
need "a terminal" tmux new-session -d -s day -x 100 -y 30 "exec env PS1='[\$?] ' sh -i"
tmux set-option -g status off

# ---- morning: a repository, three hosts ----

day init 'bento init fleet'
need "go there" typed 'cd fleet'
BENTO_DIR=/root/fleet
export BENTO_DIR
fleet_id=$(nix eval --raw -f /root/fleet/fleet.nix fleet)
edit "s|# host_key = .*|host_key = \"$(lab_host_key)\";|; s|@broker.example.org|@$lab_hub:$lab_ssh_port|"
# Instead of nixpkgs: see tests/fleet.
cp "$LAB_PROJECT"/tests/fleet/utils/* /root/fleet/utils/
echo "$fleet_node_settings" >/root/fleet/utils/lab.json
sed -i 's|services.openssh.enable = true;|demo = import ./demo.nix;|' /root/fleet/example/configuration.nix
cp -R "$LAB_PROJECT/tests/fleet/hosts/servers" /root/fleet/hosts/
ln -s ../../utils /root/fleet/hosts/servers/utils
for node in $fleet_nodes; do
    need "$node: a machine" machine "$node"
    day "add-$node" "bento add-host $node --keys ~/$node.keys"
    fleet_take "$node"
    host "$node" 'text = "first";'
    bento authorized-keys | lab_authorize
done
edit 's|^  nodes = {|&\n    alpha.tags = [ "canary" ];|'
broker_config
need "a broker" broker_start
for node in $fleet_nodes; do
    node_start "$node"
done
day plan 'bento deploy --plan'
day deploy 'bento deploy --wait'
day status 'bento status'

# ---- noon: a host that does not build ----

host beta 'text = "second"; mode = "build-error";'
day broken 'bento deploy --wait'
host beta 'text = "second";'
day fixed 'bento deploy --wait'

# ---- afternoon: a canary that cuts its own network ----

beta_before=$(system_of beta)
router_before=$(system_of router)
alpha_before=$(system_of alpha)
host alpha 'text = "third"; mode = "cut-net";'
host beta 'text = "third";'
host router 'text = "third";'
day canary "bento deploy --waves '@canary,rest' --gate 1"
go_on=$(offered 'go on')
go_back=$(offered 'go back')
expect "beta never saw it" [ "$(system_of beta)" = "$beta_before" ]
expect "nor did router" [ "$(system_of router)" = "$router_before" ]
day canary-status 'bento status'
day canary-log 'bento status --log alpha'
day back "$go_back --wait"
expect "alpha runs what it ran" [ "$(system_of alpha)" = "$alpha_before" ]
host alpha 'text = "third";'
day on "$go_on"
need "everybody is up to date" wait_for 60 "everybody" everybody
day on-status 'bento status'

# ---- evening: another signer ----

broker_learns() {
    broker_stop
    broker_config
    broker_start
}

ssh-keygen -q -t ed25519 -N '' -C new -f /root/.ssh/id_new
day signers-add 'bento signers add ~/.ssh/id_new.pub'
need "the broker learns it" broker_learns
day signers-both 'bento deploy --wait'
for node in $fleet_nodes; do
    node_stop "$node"
    node_start "$node"
done
day signers-retire 'bento signers retire admin'
need "the broker forgets the old one" broker_learns
mv /root/.ssh/id_ed25519 /root/.ssh/id_ed25519.pub /root/
day signers-new 'bento deploy --wait'
day signers 'bento signers'

# ---- night: a host goes ----

day remove 'bento remove-host router'
day remove-deploy 'bento deploy --wait'
day remove-status 'bento status'
tmux kill-server
finish
