#!/bin/sh
# bento init, add-host and bento-pub with real Nix, a real broker and a store of its own: publish.sh FOLDER_OF_BROKER FOLDER_OF_BENTO
# Exit status 77: skipped, and the output says why.
set -eu
tests=$(cd "$(dirname "$0")/.." && pwd)
PATH=$1:$2:$PATH

# A mount namespace in which /nix is ours.
if [ -z "${BENTO_TEST_FOLDER-}" ]; then
    command -v nix-store >/dev/null || { echo "skipped: no Nix here"; exit 77; }
    [ -d /nix ] || mkdir /nix 2>/dev/null || { echo "skipped: there is no /nix and it cannot be made"; exit 77; }
    BENTO_TEST_FOLDER=$(mktemp -d)
    trap 'chmod -R u+w "$BENTO_TEST_FOLDER"; rm -rf "$BENTO_TEST_FOLDER"' EXIT
    export BENTO_TEST_FOLDER PATH
    unshare -m true 2>/dev/null || { echo "skipped: no mount namespace here"; exit 77; }
    unshare -m --propagation private sh "$0" "$@"
    exit
fi

D=$BENTO_TEST_FOLDER
mkdir -p "$D/nix" "$D/home/.ssh" "$D/conf" "$D/run" "$D/state"
mount --bind "$D/nix" /nix
cat >"$D/conf/nix.conf" <<CONF
sandbox = false
build-users-group =
substituters =
flake-registry =
warn-dirty = false
CONF
HOME=$D/home
NIX_CONF_DIR=$D/conf
NIX_PATH=nixpkgs=$tests/fleet/nixpkgs
BENTO_DIR=$D/fleet
export HOME NIX_CONF_DIR NIX_PATH BENTO_DIR
unset NIX_REMOTE SSH_AUTH_SOCK XDG_CACHE_HOME NAME BENTO_KEY VERBOSE
cd "$D"

failures=0
# expect MESSAGE STATUS COMMAND…: its output is in out
expect() {
    message=$1 wanted=$2
    shift 2
    status=0
    "$@" >out 2>&1 </dev/null || status=$?
    if [ "$status" = "$wanted" ]; then
        echo "ok: $message"
    else
        echo "FAILED: $message (status $status, not $wanted)"
        cat out
        failures=$((failures + 1))
    fi
}

# says TEXT…: what the last command printed
says() {
    for text; do
        grep -qF -- "$text" out || {
            echo "FAILED: it does not say: $text"
            cat out
            failures=$((failures + 1))
        }
    done
}

released() {
    bento-status --json | sed -n 's/^ *"release": *\([0-9]*\|null\),.*/\1/p' | head -n 1
}

# ---- the repository ----

ssh-keygen -q -t ed25519 -N '' -C admin -f home/.ssh/id_ed25519
expect "init makes a repository" 0 bento init fleet
says "bento add-host NAME"
expect "a second init touches nothing" 1 bento init fleet
id=$(nix --extra-experimental-features nix-command eval --raw -f fleet/fleet.nix fleet)
grep -q "$(cut -d' ' -f2 home/.ssh/id_ed25519.pub)" fleet/fleet.nix || { echo "FAILED: the admin's key is a signer"; failures=1; }
cp -R "$tests/fleet/hosts" "$tests/fleet/utils" fleet/

# write_fleet [MORE]
write_fleet() {
    cat >fleet/fleet.nix <<NIX
{
  fleet = "$id";
  signers = [ "$(cat home/.ssh/id_ed25519.pub)" ${signers-} ];
  broker = { endpoints = [ "tcp://127.0.0.1" ]; admin = "$D/run/admin.sock"; };
  nodes.alpha.tags = [ "web" ];
  ${1-}
}
NIX
}
write_fleet
for name in router alpha beta; do
    ssh-keygen -q -t ed25519 -N '' -C identity -f "$name"
    ssh-keygen -q -t ed25519 -N '' -C tunnel -f "$name.tunnel"
    cat "$name.pub" "$name.tunnel.pub" >"$name.keys"
    expect "add-host enrols $name" 0 bento add-host "$name" --keys "$name.keys"
done
expect "enrolling twice with the same keys changes nothing" 0 bento add-host alpha --keys alpha.keys
expect "other keys for a known name are refused" 1 bento add-host alpha --keys beta.keys
says "alpha is enrolled already"
cp fleet/nodes.json nodes.before
expect "a key that another node has is refused" 1 bento add-host gamma --keys beta.keys
says "beta and gamma"
if ! cmp -s fleet/nodes.json nodes.before || [ -e fleet/gamma.bootstrap.json ] || [ -e fleet/hosts/gamma ]; then
    echo "FAILED: a refused add-host left something behind"
    failures=$((failures + 1))
fi
expect "one line each stands in authorized_keys" 0 bento authorized-keys
[ "$(grep -c 'restrict,port-forwarding' out)" = 3 ] || { echo "FAILED: authorized-keys"; failures=$((failures + 1)); }

# ---- the broker ----

expect "without a broker it says so" 1 bento deploy
says "$D/run/admin.sock"
bento broker-config >broker.json
sed -i "s|^{|{ \"state\": \"$D/state\", \"pub\": \"ipc://$D/run/pub\", \"rep\": \"ipc://$D/run/rep\",|" broker.json
mkfifo broker.pipe
bento-broker --config broker.json 2>broker.pipe &
broker=$!
exec 3<broker.pipe
read -r started <&3
cat <&3 >broker.log &
echo "$started" | grep -q started || { echo "FAILED: the broker does not start: $started"; exit 1; }
trap 'kill $broker' EXIT

# ---- publishing ----

expect "a plan says what would change" 0 bento-pub --plan
says "plan: 3 new" "to send: 5 of 5 blobs" "configuration of alpha" "files of hosts/servers" "to sign"
[ "$(released)" = null ] || [ -z "$(released)" ] || { echo "FAILED: a plan publishes"; failures=$((failures + 1)); }
expect "the first release holds everybody" 0 bento-pub
says "3 new" "3 nodes"
first=$(released)
expect "without a change it is renewed" 0 bento-pub
says "published: 3 unchanged"
[ "$(released)" -gt "$first" ] || { echo "FAILED: no newer release"; failures=$((failures + 1)); }
rm -rf home/.cache
expect "without the cache everything is sealed anew" 0 bento-pub
says "published: 1 rebuild, 2 sync"
echo '{ mode = "ok"; text = "second"; }' >fleet/hosts/servers/alpha.nix
expect "only the named host changes" 0 bento-pub alpha
says "1 rebuild, 2 not named"
expect "NAME restricts as well" 0 env NAME=router bento-pub
says "1 unchanged, 2 not named"
expect "a tag selects" 0 bento-pub @web
says "1 unchanged, 2 not named"
expect "a typo is told" 64 bento-pub alpa
says "did you mean alpha?"

# ---- what fails ----

echo '{ mode = "build-error"; text = "second"; }' >fleet/hosts/servers/beta.nix
expect "a host that does not build keeps its configuration" 1 bento-pub
says "beta    FAILED     keeps its previous configuration" "compile error on purpose" "published: " \
    "FAILED, so nothing new for beta: why stands above; when mended: bento deploy"
before=$(released)
expect "when all fail nothing is published" 1 bento-pub beta
says "nothing is published"
[ "$(released)" = "$before" ] || { echo "FAILED: something was published"; failures=$((failures + 1)); }
echo '{ mode = "eval-error"; text = "second"; }' >fleet/hosts/servers/beta.nix
expect "an evaluation error stays with its host" 1 bento-pub --no-build
says "beta    FAILED" "evaluation error on purpose" "router  " "alpha   " "(evaluated only)"
echo '{ mode = "ok"; text = "first"; }' >fleet/hosts/servers/beta.nix
mkdir fleet/hosts/empty
expect "a folder without a configuration is named" 1 bento-pub
says "hosts/empty"
echo '{ ... }: { }' >fleet/hosts/empty/configuration.nix
expect "a host without a node is named" 1 bento-pub
says "host empty" "bento add-host empty"
rm -r fleet/hosts/empty

# ---- locks ----

mkdir fleet/hosts/locked
ssh-keygen -q -t ed25519 -N '' -C identity -f locked
cp -RL fleet/hosts/servers input
cat >fleet/hosts/locked/flake.nix <<NIX
{ inputs.servers.url = "path:$D/input"; outputs = { self, servers }: { nixosConfigurations.locked = servers.nixosConfigurations.alpha; }; }
NIX
expect "a folder that is there is left alone" 0 bento add-host locked --keys locked.pub
says "found    hosts/locked" "only an identity key was given"
expect "a missing lock fails its host only" 1 bento-pub
says "flake.lock is missing or incomplete" "input servers" "1 failed"
nix --extra-experimental-features 'nix-command flakes' flake lock "path:$D/fleet/hosts/locked" 2>lock.log
expect "an input on this machine is refused" 1 bento-pub
says "input servers is locked to a path on this machine"
rm fleet/hosts/locked/flake.lock
cp -R input fleet/hosts/locked/servers
sed -i "s|path:$D/input|path:./servers|" fleet/hosts/locked/flake.nix
nix --extra-experimental-features 'nix-command flakes' flake lock "path:$D/fleet/hosts/locked" 2>lock.log
expect "an input inside the folder is fine" 0 bento-pub
says "locked  changed"
[ -z "$(find /nix/store -maxdepth 2 -path '*-source/flake.lock' -newer lock.log -print)" ] || echo "note: a lock lies in the store"

# ---- secrets ----

mkdir fleet/hosts/router/secrets
echo one >fleet/hosts/router/secrets/wifi
expect "a new secret changes its host" 0 bento-pub
says "router  changed" "1 rebuild, 3 unchanged" "uploaded 1 of"
expect "and stays the same" 0 bento-pub
says "4 unchanged"
! grep -rqs 'one' /nix/store/*-source/secrets || { echo "FAILED: a secret is in the store"; failures=$((failures + 1)); }
mkdir fleet/hosts/servers/secrets
echo two >fleet/hosts/servers/secrets/shared
expect "a secret in a folder of several hosts belongs to one" 1 bento-pub
says "secrets/HOST/"
mkdir fleet/hosts/servers/secrets/beta
mv fleet/hosts/servers/secrets/shared fleet/hosts/servers/secrets/beta/
expect "then only that one changes" 0 bento-pub
says "beta    changed" "1 sync, 3 unchanged"
write_fleet 'nodes.alpha.secrets.token = { command = "printf three"; owner = "web"; };'
expect "a command gives a secret" 0 bento-pub
says "alpha   changed" "1 sync"
write_fleet 'nodes.alpha.secrets.token = { command = "exit 4"; };'
expect "a command that fails is told" 1 bento-pub
says "exit 4" "status 4"
write_fleet

# ---- somebody else, and nobody ----

write_fleet 'nodes.alpha.secrets.token = { command = "bento-pub router >inner 2>\&1; printf four"; };'
expect "a release in between is not overwritten" 1 bento-pub
says "somebody else published meanwhile" "run again"
write_fleet
expect "waiting for nodes that are off ends at the deadline" 2 bento-pub --wait=1 @web
says "alpha   not done yet: nothing heard"

# ---- signing ----

ssh-keygen -q -t ed25519 -N '' -C second -f second
expect "a stranger's key does not sign" 1 bento-pub --key second
says "is not among the signers"
signers="\"$(cat second.pub)\""
write_fleet 'threshold = 2;'
expect "the previous release is judged by today's signers" 1 bento-pub --key second
says "--fresh"
expect "two signatures are needed" 1 bento-pub --fresh
says "1 of 2 signatures"
expect "two keys give them" 0 bento-pub --fresh --key second
says "4 nodes" "4 new"
eval "$(ssh-agent)" >agent.log
ssh-add -q second 2>>agent.log
expect "one of them may come from an agent" 0 bento-pub router
ssh-agent -k >>agent.log
unset SSH_AUTH_SOCK
write_fleet
kill "$broker"
wait "$broker" || :
trap - EXIT
expect "and without a broker nothing hangs" 1 bento-pub
[ "$failures" = 0 ] || { cat broker.log; echo "$failures failed"; exit 1; }
