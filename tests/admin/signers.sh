#!/bin/sh
# A new key takes the place of the admin's old one, on a real node: add, deploy, retire, deploy; then a release that the old key
# signs is refused. The node's configuration of bento comes with its system, from utils/node.json.
set -eu
# shellcheck source-path=SCRIPTDIR source=../apply/common.sh
. "$(dirname "$0")/../apply/common.sh"
bento_json='etcConfig = builtins.fromJSON (builtins.readFile ./utils/node.json) // builtins.fromJSON (builtins.readFile ./lab.json);'
configure '.confirm_seconds = 90 | .switch_seconds = 60'
old=/root/.ssh/id_ed25519
new=/root/.ssh/id_new

# says STATUS WORDS COMMAND…
says() {
    said_wanted=$1 said_words=$2 said_status=0
    shift 2
    "$@" >"$LAB/said.log" 2>&1 || said_status=$?
    if [ "$said_status" != "$said_wanted" ] || ! grep -qF -- "$said_words" "$LAB/said.log"; then
        echo "status $said_status:"
        cat "$LAB/said.log"
        return 1
    fi
}

# everybody_deploys MESSAGE: to its end, however slow the machine is.
everybody_deploys() {
    deploy "$bento_json" --wait=240
    need "$1" up_to_date router
}

# The broker's configuration as the repository says, to the broker.
broker_learns() {
    broker_stop
    broker_config
    broker_start
}

need "a fleet starts" fleet_new
echo "$fleet_node_settings" >/root/fleet/hosts/router/lab.json
ln -s ../../utils /root/fleet/hosts/router/utils
everybody_deploys "a first deploy brings the node's own configuration"
expect "and it is the system's" sh -c 'sh "$1" router readlink -f /etc/bento/node.json | grep -q ^/nix/store/' sh "$LAB_SOURCE/on.sh"

ssh-keygen -q -t ed25519 -N '' -C new -f "$new"
need "a key is added" says 0 'bento broker-config' bento signers add "$new.pub"
expect "it joins" says 0 'joining' bento signers
expect "it is no signer yet: router has not heard of it" says 1 'router' bento signers add "$new.pub"
expect "and the old one cannot go" says 1 'bento deploy' bento signers retire admin
mv "$old" /root/old
expect "alone the new one signs nothing" says 1 'counts for nothing' bento-pub --key "$new" router
mv /root/old "$old"
need "the broker learns it" broker_learns
everybody_deploys "both sign a release"
echo '# not deployed' >>/root/fleet/hosts/router/configuration.nix
expect "files that the node does not have yet are told" says 1 'was not deployed as it is now' bento signers retire admin
everybody_deploys "they are deployed"
cp -R /root/fleet /root/thief

# The old key, from here on.
need "now the old one can go" says 0 'forget the old key' bento signers retire admin
expect "the epoch is another one" says 0 'epoch 2' bento signers
cp -R /root/fleet /root/hasty
ssh-keygen -q -t ed25519 -N '' -C third -f /root/third
need "a third key is added" says 0 signers.json bento -C /root/hasty signers add /root/third.pub
expect "the next one cannot go before that epoch is out" says 1 'epoch 2 is not deployed' bento -C /root/hasty signers retire new
expect "not even by force" says 1 'epoch 2 is not deployed' bento -C /root/hasty signers retire new --force
need "the broker forgets it" broker_learns
expect "the old key signs no more" says 1 'not among the signers' bento-pub --key "$old" router
mv "$old" "$old.pub" /root/
everybody_deploys "the new one signs alone"
expect "in the new epoch" [ "$(bento-status --json | jq .epoch)" = 2 ]
expect "the node believes the new key alone" [ "$(lab_exec router jq -c '.signers | map(split(" ")[2])' /etc/bento/node.json)" = '["new"]' ]
expect "it cannot be retired: nobody would be left" says 1 'add another one first' bento signers retire new

# A thief with the old key, and a broker that goes along with it.
remember
jq '.epoch = 2' /root/thief/signers.json >/root/thief/signers.new
mv /root/thief/signers.new /root/thief/signers.json
broker_stop
BENTO_DIR=/root/thief broker_config
broker_start
echo '{ text = "stolen"; }' >/root/thief/hosts/router/demo.nix
need "the thief publishes" says 0 published env HOME=/root/thief bento-pub -C /root/thief --key /root/id_ed25519 router
refused_thief() {
    bento-status -C /root/thief --json | jq -e '.nodes[0] | .state == "refused" and .code == "SIGNER"' >/dev/null
}
expect "the node refuses it" wait_for 60 "refused SIGNER" refused_thief
expect "and runs what it ran" runs_good
expect "which is profile and boot entry" consistent router

expect "--openssh gives what ssh-keygen verifies with" sh -c 'bento signers --openssh >/root/allowed && echo hello >/root/hello &&
    ssh-keygen -q -Y sign -f "$1" -n bento-release-v1 /root/hello &&
    ssh-keygen -q -Y verify -f /root/allowed -I new -n bento-release-v1 -s /root/hello.sig </root/hello' sh "$new"
finish
