#!/bin/sh
# host.sh DIR SHARED COMMAND…: becomes a host whose disk is the folder DIR and runs COMMAND as its first process. Called in a
# mount namespace of its own. The machine's programs (/usr), devices and the SHARED folders (a list with spaces between) show
# through; everything that a host keeps (/etc, /nix, /var, /boot, /root, /home) is DIR's, and /run and the boot id are new at
# every start. Needs no overlay file system and no root: user namespaces will do.
#
# With LAB_SYSTEMD_HOST set, in pid and cgroup namespaces of its own as well: what systemd as process 1 would change of the
# machine (/dev, /proc/sys, /sys) is the host's own or read-only.
#
# Its pid outside goes to DIR/.pid, DIR/.up tells that it is there, and COMMAND starts when somebody writes into DIR/.go: until
# then a network can be plugged in.
set -eu
disk=$1 shared=$2
shift 2

private_devices() {
    mkdir -p dev
    mount -t tmpfs -o mode=755,nosuid tmpfs dev
    mkdir dev/pts dev/shm
    for name in null zero full random urandom tty; do
        : >"dev/$name"
        mount --bind "/dev/$name" "dev/$name"
    done
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    for name in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${name%:*}" "dev/${name#*:}"; done
}

private_kernel() {
    mkdir -p proc sys
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
}

# The machine's own folder NAME.
through() {
    mkdir -p "$1"
    mount --rbind "/$1" "$1"
}

mount --make-rprivate /
mount --rbind "$disk" "$disk"
cd "$disk"
rm -f .up
# (The shell's own number, in the machine's /proc or the hub's.)
read -r pid _ </proc/self/stat
echo "$pid" >.pid
mkdir -p .old boot etc/nix home nix root run tmp var/lib var/log var/tmp
chmod 1777 tmp var/tmp
chmod 700 root
# Of a machine that has its programs in a store (NixOS), the store shows below the host's own paths.
case $(readlink -f /bin/sh) in
/nix/store/*)
    mkdir -p nix/store .store
    mount -t overlay -o "userxattr,lowerdir=/nix/store,upperdir=$disk/nix/store,workdir=$disk/.store" overlay nix/store
    ;;
esac
through usr
if [ -n "${LAB_SYSTEMD_HOST-}" ]; then
    private_devices
    private_kernel
else
    for name in dev proc sys; do through "$name"; done
fi
for name in bin lib lib32 lib64 libx32 sbin; do
    if [ -L "/$name" ]; then
        ln -sfn "$(readlink "/$name")" "$name"
    elif [ -d "/$name" ]; then
        through "$name"
    fi
done
mount -t tmpfs -o mode=755 tmpfs run
cat /proc/sys/kernel/random/uuid >run/boot_id
mount --bind run/boot_id proc/sys/kernel/random/boot_id
for folder in $shared; do
    mkdir -p ".$folder"
    mount --bind "$folder" ".$folder"
done
pivot_root . .old
umount -l /.old
: >/.up
if [ -p /.go ]; then
    read -r _ </.go
fi
exec "$@"
