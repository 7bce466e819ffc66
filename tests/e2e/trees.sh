#!/bin/sh
# THREATS row 31: the admin and the node unpack a tree into one and the same store path, whatever the folder looks like on the
# admin's disk. The system of alpha contains the path of its own source, so any difference shows as EXPECTED, and any that the
# admin alone sees as a new configuration.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

need "a fleet" fleet_new
host=/root/fleet/hosts/servers
host_write alpha 'mode = "ok"; text = "${toString ./.}";'
printf '#!/bin/sh\n' >$host/tool
chmod 755 $host/tool

deploy() {
    bento-pub --wait=240 "$@" >"$LAB/deploy.log" 2>&1
}

need "the first deploy" deploy
path=$(system_of alpha)
need "the system names its source" grep -qF /nix/store/ "$LAB/alpha$path/etc/motd"
# The node's source and the admin's, as they are in the two stores.
source_path=$(cat "$LAB/alpha$path/etc/motd")
expect "the admin's store has the node's source" [ -e "$source_path/flake.nix" ]

# same WHAT: deploys, and nothing changes for alpha.
same() {
    expect "$1: deploys" deploy
    expect "$1: the same path on admin and node" [ "$(system_of alpha)" = "$path" ]
    expect "$1: nothing to switch" switched alpha test 1
    expect "$1: up to date" up_to_date alpha
}

echo 'not part of it' >$host/result-notes
ln -sfn /nix/store $host/result
same "1. build results beside it"
touch -d '2001-02-03' $host/flake.nix
same "2. an old mtime"
touch -d '2037-02-03' $host/tool $host
same "3. an mtime in the future"
chmod 711 $host/tool
chmod 400 $host/flake.nix
same "4. modes but for the owner's x bit"
mkdir -p $host/empty/er
same "5. an empty folder"
cp --remove-destination "$(realpath $host/mksystem.nix)" $host/mksystem.nix
same "6. a file instead of a symlink to it"
(cd /root/fleet && git init -q . && git add . && git -c user.name=a -c user.email=a@example.org commit -qm all)
same "7. a git tree around it"
echo dirty >/root/fleet/untracked
same "8. a dirty git tree"
cp -R --preserve=mode,links /root/fleet "/root/other name"
BENTO_DIR="/root/other name"
same "9. another checkout"
BENTO_DIR=/root/fleet
umask 077
same "10. a tight umask"
umask 022

# And what is part of it does change it, on both sides alike.
changed() {
    expect "$1: deploys" deploy
    expect "$1: another path" [ "$(system_of alpha)" != "$path" ]
    expect "$1: up to date" up_to_date alpha
    path=$(system_of alpha)
}
chmod 644 $host/tool
changed "a lost x bit"
echo more >$host/extra
changed "an extra file"
finish
