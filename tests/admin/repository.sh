#!/bin/sh
# A repository from the empty folder on: init, add-host, deploy, ssh, remove-host, with real Nix, a real broker and a real sshd.
set -eu
# shellcheck source-path=SCRIPTDIR source=../e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
fleet=/root/fleet
out=$LAB/said.log

# does STATUS COMMAND…: it ends so; what it says is in $out.
does() {
    wanted=$1 status=0
    shift
    "$@" >"$out" 2>&1 </dev/null || status=$?
    [ "$status" = "$wanted" ] && return
    echo "status $status, not $wanted:"
    cat "$out"
    return 1
}

# says STATUS TEXT COMMAND…
says() {
    does_status=$1 text=$2
    shift 2
    does "$does_status" "$@" || return 1
    grep -qF -e "$text" "$out" && return
    echo "it does not say: $text"
    cat "$out"
    return 1
}

is() {
    [ "$1" = "$2" ] && return
    echo "$1, not $2"
    return 1
}

# content FOLDER: names and contents, to be compared.
content() {
    (cd "$1" && find . -type f -exec sha256sum {} + | sort -k 2)
}

# keys NAME: what `bento-apply keys` prints on a machine of that name.
keys() {
    for kind in identity tunnel; do
        [ -e "/root/$1.$kind" ] || ssh-keygen -q -t ed25519 -N '' -C "$kind" -f "/root/$1.$kind"
        cat "/root/$1.$kind.pub"
    done >"/root/$1.keys"
}

names_in_status() {
    bento-status --json | jq -r '[.nodes[].name] | join(" ")'
}

# ---- init ----

ssh-keygen -q -t ed25519 -N '' -C admin -f /root/.ssh/id_ed25519 2>/dev/null || {
    mkdir -p /root/.ssh
    ssh-keygen -q -t ed25519 -N '' -C admin -f /root/.ssh/id_ed25519
}
# As an interrupted run, and its owner, left it: fleet.nix comes last.
mkdir -p "$fleet/utils"
echo mine >"$fleet/.gitignore"
need "init goes on after an interruption" says 0 'wrote    fleet.nix' bento init "$fleet"
expect "and keeps what is there" grep -qxF 'kept     .gitignore' "$out"
expect "as it is" is "$(cat "$fleet/.gitignore")" mine
expect "it says the next three steps" grep -q '^  3. bento add-host' "$out"
expect "the admin is a signer" grep -qF "$(cut -d' ' -f2 /root/.ssh/id_ed25519.pub)" "$fleet/fleet.nix"
before=$(content "$fleet")
expect "a second init changes nothing" says 1 'already' bento -C "$fleet" init
expect "nothing at all" is "$(content "$fleet")" "$before"
cp -R "$LAB_PROJECT/nixos/template" /root/template
need "what a flake's template is, init completes" does 0 bento init /root/template
expect "with an id of its own" [ "$(nix eval --raw -f /root/template/fleet.nix fleet)" != "$(nix eval --raw -f "$fleet/fleet.nix" fleet)" ]

BENTO_DIR=$fleet
export BENTO_DIR
expect "the example is no host" says 1 'bento add-host' bento deploy --plan

# ---- add-host ----

for machine in router server; do
    keys "$machine"
done
before=$(content "$fleet")
expect "without the server's host key nothing is enrolled" says 1 broker.host_key bento add-host router --keys /root/router.keys
for name in Router ../x -x 'a b' ''; do
    expect "'$name' is no name" does 64 bento add-host --keys /root/router.keys -- "$name"
done
expect "and nothing is left behind" is "$(content "$fleet")" "$before"
lab_sshd
sed -i "s|# host_key = .*|host_key = \"$(lab_host_key)\";|; s|@broker.example.org\" ]|@$lab_hub:$lab_ssh_port\" ]|" "$fleet/fleet.nix"
# What the stand-in for nixpkgs understands; it looks at no imports.
sed -i 's|services.openssh.enable = true;|demo = { };|' "$fleet/example/configuration.nix"

mkdir -p "$fleet/hosts/.router.new" # an interrupted run
bento add-host router <"/root/router.keys" >"$out"
need "add-host takes the keys from standard input" grep -q '^enrolled router' "$out"
expect "and shows the line for the tunnel account" grep -qxF "$(bento authorized-keys)" "$out"
expect "the host is made from the repository's example" grep -q 'demo = { };' "$fleet/hosts/router/configuration.nix"
expect "an interrupted run leaves nothing" [ ! -e "$fleet/hosts/.router.new" ]
expect "with its name" grep -q 'hostName = "router"' "$fleet/hosts/router/configuration.nix"
expect "what lies in utils/ is its own" [ -e "$fleet/hosts/router/utils/bento.nix" ]
expect "its bento knows the fleet" is "$(nix eval --impure --raw --expr "
    (builtins.fromJSON (builtins.readFile (import $fleet/hosts/router/utils/bento.nix { }).services.bento.node.bootstrap)).fleet")" \
    "$(nix eval --raw -f "$fleet/fleet.nix" fleet)"
expect "a machine takes its bootstrap file" says 0 installed bento-apply --config /root/node.json bootstrap "$fleet/router.bootstrap.json"
expect "which says the same as utils/node.json" cmp /root/node.json "$fleet/utils/node.json"
need "server is enrolled" does 0 bento add-host server --keys /root/server.identity.pub
expect "the tunnel key may come later" says 0 restrict,port-forwarding bento add-host server --keys /root/server.keys
expect "other keys may not" says 1 'bento remove-host server' bento add-host server --keys /root/router.keys
expect "a flake is one of its own" does 0 sh -c 'ssh-keygen -q -t ed25519 -N "" -f /root/laptop && bento add-host laptop --flake --keys /root/laptop.pub'
expect "with its name" grep -q 'nixosConfigurations.laptop' "$fleet/hosts/laptop/flake.nix"
expect "a flake that cannot be listed stays when its host goes" says 0 'take it out of hosts/laptop' bento remove-host laptop
rm -r "$fleet/hosts/laptop"

# ---- deploy ----

broker_config
need "the broker starts" broker_start
need "both are deployed" says 0 '2 nodes' bento deploy
expect "and shown" is "$(names_in_status)" "router server"
sed -i 's|endpoints = \[|endpoints = [ "tcp://192.0.2.1"|' "$fleet/fleet.nix"
need "another way to the broker is deployed" says 0 'wrote    utils/node.json' bento deploy
sed -i 's|"tcp://192.0.2.1"|"tcp://192.0.2.2"|' "$fleet/fleet.nix"
expect "a build has it too" says 0 'wrote    utils/node.json' bento build router
expect "to every node" is "$(jq -r '.endpoints[0].pub' "$fleet/hosts/router/utils/node.json")" tcp://192.0.2.2:23686

# ---- ssh ----

cat >/root/sshd_config <<CONF
ListenAddress $lab_hub
Port 2223
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile none
AuthorizedKeysFile /root/.ssh/id_ed25519.pub
UsePAM no
StrictModes no
PermitRootLogin yes
CONF
/usr/sbin/sshd -D -e -f /root/sshd_config 2>"$LAB/admin-sshd.log" &
need "a node's sshd starts" wait_for 20 "start of sshd" grep -q 'Server listening' "$LAB/admin-sshd.log"
echo "[$lab_hub]:2223 $(lab_host_key)" >/root/.ssh/known_hosts
expect "ssh needs a line" says 1 nodes.router.ssh bento ssh router
sed -i "s|^  nodes = {|&\n    router.ssh = \"-p 2223 root@$lab_hub\";|" "$fleet/fleet.nix"
if [ "$LAB_UID" = 0 ]; then
    expect "a command runs on the node" says 0 "hello -n" bento ssh router echo hello -n
    expect "its status comes back" does 7 bento ssh router exit 7
fi
expect "a typo is told" says 64 'did you mean router?' bento ssh ruoter
sed -i '/router.ssh/d' "$fleet/fleet.nix"

# ---- remove-host ----

expect "a typo removes nothing" says 64 'did you mean server?' bento remove-host servr
sed -i 's|# host = "server";.*|host = "server";|' "$fleet/fleet.nix"
expect "the broker's machine stays" says 1 broker.host bento remove-host server
sed -i '/host = "server";/d; s|^  nodes = {|&\n    server.tags = [ "big" ];|' "$fleet/fleet.nix"
expect "fleet.nix is its owner's" says 1 'nodes.server' bento remove-host server
sed -i '/server.tags/d' "$fleet/fleet.nix"
mkdir -p "$fleet/removed/server"
expect "what was removed before is in the way" says 1 'removed/server' bento remove-host server
rmdir "$fleet/removed/server"
need "a node is removed" says 0 'moved    hosts/server to removed/server' bento remove-host server
expect "its configuration is kept" [ -e "$fleet/removed/server/configuration.nix" ]
expect "its bootstrap file is not" [ ! -e "$fleet/server.bootstrap.json" ]
expect "its tunnel key opens nothing any more" is "$(bento authorized-keys | sed 's/.* //')" router
expect "it is gone only once" says 64 'no host of this fleet' bento remove-host server
need "the others are deployed" says 0 '1 nodes' bento deploy
expect "it is not shown any more" is "$(names_in_status)" router
expect "nor spoken of" sh -c '! bento-status | grep -q server'
need "it may come back" does 0 bento add-host server --keys /root/server.keys
need "and is deployed" says 0 '2 nodes' bento deploy
broker_stop
finish
