#!/bin/sh
# host.sh DIR SHARED COMMAND…: becomes a host whose disk is the folder DIR and runs COMMAND as its first process. Called in a
# mount namespace of its own. The machine's programs (/usr), devices and the SHARED folders (a list with spaces between) show
# through; everything that a host keeps (/etc, /nix, /var, /boot, /root, /home) is DIR's, and /run is new at every start.
# Needs no overlay file system and no root: user namespaces will do.
set -eu
disk=$1 shared=$2
shift 2

mount --make-rprivate /
mount --bind "$disk" "$disk"
cd "$disk"
rm -f .up
mkdir -p .old boot etc/nix home nix root run tmp var/lib var/log var/tmp
chmod 1777 tmp var/tmp
chmod 700 root
for name in dev proc sys usr; do
    mkdir -p "$name"
    mount --rbind "/$name" "$name"
done
for name in bin lib lib32 lib64 libx32 sbin; do
    if [ -L "/$name" ]; then
        ln -sfn "$(readlink "/$name")" "$name"
    elif [ -d "/$name" ]; then
        mkdir -p "$name"
        mount --rbind "/$name" "$name"
    fi
done
mount -t tmpfs -o mode=755 tmpfs run
for folder in $shared; do
    mkdir -p ".$folder"
    mount --rbind "$folder" ".$folder"
done
pivot_root . .old
umount -l /.old
touch /.up
exec "$@"
