# shellcheck shell=sh
# Several hosts on one machine, for tests and the demo: sourced, then
#
#   lab_enter "$0" "$@"     once, first: runs the script again inside namespaces of its own; does not return outside
#   lab_up NODE…            hosts with their own network, disk, /nix, /run and /etc, on the bridge 10.77.0.0/24
#   lab_exec NODE COMMAND…  in a node
#   lab_cut NODE, lab_restore NODE    the cable of a node
#   lab_crash NODE          power switch: all its processes die at once, its disk stays; lab_up starts it again
#   lab_rebooted NODE       waits until a node with systemd has ended by itself (reboot, poweroff), and starts it again
#   lab_sshd                a real sshd with the tunnel account; keys: lab_authorize
#   wait_for SECONDS MESSAGE COMMAND…
#
# The script itself runs on the hub, 10.77.0.1, a host like the others: the broker, the sshd and the admin live there. Nothing
# survives the script's end, however it ends, and nothing outside the namespaces is touched but one temporary folder. As root
# and as an ordinary user (user namespaces).
#
# Process 1 of a node is a placeholder, or with LAB_SYSTEMD=1 (all nodes) or LAB_SYSTEMD='NODE…' (these) the machine's systemd,
# with a few units of its own (lab_units) and those of the system that the boot loader's entry names; see boot.sh. That needs
# root and a cgroup2 file system, and skips the script elsewhere.

lab_network=10.77.0
lab_hub=$lab_network.1
lab_ssh_port=2222
lab_tunnel_user=bento-tunnel
lab_path=/opt/bento/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Exit status that ctest shows as skipped.
lab_skip() {
    echo "skipped: $*"
    exit 77
}

# ---- outside ---------------------------------------------------------------------------------------------------------------

# lab_enter SCRIPT ARGUMENTS…   BENTO_BIN: the folder with the programs (may be unset). LAB_SHARED: more folders to show.
lab_enter() {
    if [ -n "${LAB_INSIDE-}" ]; then
        lab_inside
        return 0
    fi
    lab_script=$(realpath "$1")
    shift
    lab_own_folder=$(realpath "$LAB_SOURCE")
    LAB_PROJECT=$(realpath "$lab_own_folder/../..")
    lab_check_tools
    [ -z "${LAB_SYSTEMD-}" ] || lab_check_systemd
    LAB=$(mktemp -d "${TMPDIR:-/tmp}/bento-lab.XXXXXX")
    chmod 755 "$LAB"
    LAB_UID=$(id -u) LAB_GID=$(id -g) LAB_INSIDE=1
    export LAB LAB_UID LAB_GID LAB_INSIDE LAB_PROJECT LAB_SOURCE="$lab_own_folder"
    LAB_SHARED="$LAB $LAB_PROJECT ${BENTO_BIN-} ${LAB_SHARED-}"
    export LAB_SHARED
    if [ -n "${LAB_SYSTEMD-}" ]; then
        LAB_CGROUP=$(lab_cgroup2)/$(basename "$LAB")
        mkdir "$LAB_CGROUP"
        export LAB_SYSTEMD LAB_CGROUP
    fi

    # (unshare's own stderr is dropped: it complains whenever its child ends by a signal.)
    set -- --mount --net --pid --uts --ipc --fork --mount-proc --kill-child --propagation private -- \
        sh -c 'exec sh "$@" 2>&3 3>&-' sh "$lab_own_folder/host.sh" "$LAB/hub" "$LAB_SHARED" sh "$lab_script" "$@"
    if [ "$LAB_UID" != 0 ]; then
        set -- --user --map-root-user "$@"
    fi
    lab_disk hub
    setpriv --pdeathsig KILL unshare "$@" 3>&2 2>/dev/null &
    lab_child=$!
    lab_write_enter
    # The first process in the namespace ends everything in it; unshare ends when the last one is gone.
    trap 'lab_end; exit 130' INT
    trap 'lab_end; exit 143' TERM HUP
    lab_status=0
    wait "$lab_child" || lab_status=$?
    lab_end
    exit "$lab_status"
}

# `sh $LAB/enter [COMMAND…]`: the way in from outside, to the hub; there `on NODE COMMAND…`.
lab_write_enter() {
    lab_user_space=
    [ "$LAB_UID" = 0 ] || lab_user_space='--user --preserve-credentials'
    cat >"$LAB/enter" <<ENTER
#!/bin/sh
[ \$# != 0 ] || set -- sh -i
exec nsenter -t "\$(pgrep -o -P $lab_child)" $lab_user_space --mount --net --pid --uts --ipc -- env -i \\
    PATH=$LAB/bin:$lab_path HOME=/root USER=root LOGNAME=root LC_ALL=C.UTF-8 TERM="\${TERM:-dumb}" \\
    LAB=$LAB BENTO_DIR=/root/fleet PS1='hub# ' "\$@"
ENTER
    mkdir -p "$LAB/bin"
    ln -s "$LAB_SOURCE/on.sh" "$LAB/bin/on"
}

lab_end() {
    trap '' INT TERM HUP
    pkill -KILL -P "$lab_child" 2>/dev/null || :
    wait "$lab_child" 2>/dev/null || :
    # Store paths are read-only, also for their owner.
    chmod -R u+rwX "$LAB" 2>/dev/null || :
    rm -rf "$LAB"
    [ -z "${LAB_CGROUP-}" ] || find "$LAB_CGROUP" -depth -type d -exec rmdir {} +
}

# Where the cgroup2 file system is.
lab_cgroup2() {
    awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts
}

lab_check_systemd() {
    [ "$(id -u)" = 0 ] || lab_skip "nodes with systemd need root"
    [ -x /lib/systemd/systemd ] || lab_skip "/lib/systemd/systemd is not installed"
    [ -n "$(lab_cgroup2)" ] || lab_skip "nodes with systemd need a cgroup2 file system, none is mounted"
    [ -w "$(lab_cgroup2)/cgroup.procs" ] || lab_skip "nodes with systemd need a writable $(lab_cgroup2)"
}

lab_check_tools() {
    for lab_tool in unshare setpriv nsenter pivot_root ip nix nix-store ssh ssh-keygen flock pkill; do
        command -v "$lab_tool" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$lab_tool" >/dev/null ||
            lab_skip "$lab_tool is not installed (script/packages installs what is missing)"
    done
    [ -x /usr/sbin/sshd ] || lab_skip "/usr/sbin/sshd is not installed (script/packages installs what is missing)"
    if [ "$(id -u)" = 0 ]; then
        lab_why=$(unshare --mount --net --pid --fork true 2>&1) || lab_skip "namespaces are refused: $lab_why"
    else
        lab_why=$(unshare --user --map-root-user --mount --net --pid --fork true 2>&1) ||
            lab_skip "user namespaces are refused: $lab_why"
    fi
}

# ---- disks -----------------------------------------------------------------------------------------------------------------

# A new disk with the few files of /etc that programs look up.
lab_disk() {
    lab_etc=$LAB/$1/etc
    mkdir -p "$lab_etc/nix" "$lab_etc/ssh" "$LAB/$1/opt/bento"
    for lab_file in passwd group nsswitch.conf hosts protocols services ld.so.cache ld.so.conf ld.so.conf.d alternatives \
        ssl localtime login.defs; do
        [ ! -e "/etc/$lab_file" ] || cp -R --preserve=mode,links "/etc/$lab_file" "$lab_etc/" 2>/dev/null || :
    done
    sed -i '/^bento/d' "$lab_etc/passwd" "$lab_etc/group"
    echo "ID=nixos" >"$lab_etc/os-release"
    : >"$lab_etc/NIXOS"
    echo "$1" >"$lab_etc/hostname"
    lab_accounts "$1"
    [ -z "${BENTO_BIN-}" ] || ln -sfn "$BENTO_BIN" "$LAB/$1/opt/bento/bin"
    cat >"$lab_etc/nix/nix.conf" <<CONF
sandbox = false
experimental-features = nix-command flakes
substituters =
build-users-group =
flake-registry =
narinfo-cache-negative-ttl = 0
narinfo-cache-positive-ttl = 0
connect-timeout = 3
download-attempts = 1
max-jobs = 2
warn-dirty = false
nix-path = nixpkgs=$LAB_PROJECT/tests/fleet/nixpkgs
CONF
}

# The hub has the tunnel account. A user namespace has one user: there the account is that user under the other name.
lab_accounts() {
    lab_etc=$LAB/$1/etc
    if [ "$LAB_UID" != 0 ]; then
        sed -i "/^[^:]*:[^:]*:$LAB_UID:/d" "$lab_etc/passwd"
        echo "$lab_tunnel_user:x:$LAB_UID:$LAB_GID::/var/empty:/usr/sbin/nologin" >>"$lab_etc/passwd"
        return 0
    fi
    echo "$lab_tunnel_user:x:61001:61001::/var/empty:/usr/sbin/nologin" >>"$lab_etc/passwd"
    echo "$lab_tunnel_user:x:61001:" >>"$lab_etc/group"
    echo "bento-node:x:61002:61002::/var/empty:/usr/sbin/nologin" >>"$lab_etc/passwd"
    echo "bento-node:x:61002:" >>"$lab_etc/group"
    sed 's/^\([^:]*\):.*/\1:*:19000:0:99999:7:::/' "$lab_etc/passwd" >"$lab_etc/shadow"
    chmod 600 "$lab_etc/shadow"
}

# ---- inside: the hub -------------------------------------------------------------------------------------------------------

lab_inside() {
    PATH=$LAB/bin:$lab_path HOME=/root USER=root LOGNAME=root LC_ALL=C.UTF-8 TMPDIR=/tmp
    export PATH HOME USER LOGNAME LC_ALL TMPDIR
    unset NIX_PATH NIX_CONF_DIR NIX_REMOTE NIX_PROFILES SSH_AUTH_SOCK XDG_RUNTIME_DIR XDG_CACHE_HOME XDG_CONFIG_HOME
    unset XDG_DATA_HOME XDG_STATE_HOME BENTO_DIR BENTO_KEY
    cd /root || exit 1
    hostname hub
    ip link set lo up
    ip link add lab type bridge forward_delay 0 stp_state 0
    ip address add "$lab_hub/24" dev lab
    ip link set lab up
    lab_count=1
}

# wait_for SECONDS MESSAGE COMMAND…: until the command succeeds. False, with MESSAGE, when it still does not. SECONDS are those of
# a quiet machine: a busy one gets some times as long.
lab_patience=6
wait_for() {
    lab_seconds=$(($1 * lab_patience)) lab_message=$2
    shift 2
    lab_deadline=$(($(date +%s) + lab_seconds))
    until "$@"; do
        if [ "$(date +%s)" -ge "$lab_deadline" ]; then
            echo "waited $lab_seconds s in vain: $lab_message" >&2
            return 1
        fi
        sleep 0.25
    done
}

lab_pid() {
    cat "$LAB/$1/.pid"
}

lab_link() {
    cat "$LAB/$1/.link"
}

# ---- inside: nodes ---------------------------------------------------------------------------------------------------------

# Starts nodes; new ones get an address, known ones keep theirs and their disk.
lab_up() {
    for lab_node in "$@"; do
        if [ ! -e "$LAB/$lab_node/.link" ]; then
            lab_count=$((lab_count + 1))
            lab_disk "$lab_node"
            mkfifo "$LAB/$lab_node/.go"
            echo "$lab_count" >"$LAB/$lab_node/.link"
            ! lab_wants_systemd "$lab_node" || lab_units "$lab_node"
        fi
        lab_boot "$lab_node" || return 1
    done
}

lab_wants_systemd() {
    case " ${LAB_SYSTEMD-} " in
    ' 1 ' | *" $1 "*) return 0 ;;
    *) return 1 ;;
    esac
}

lab_has_systemd() {
    [ -e "$LAB/$1/.systemd" ]
}

# What a node with systemd has of the machine's units: a list of what is there, so that nothing else ever starts.
lab_units() {
    : >"$LAB/$1/.systemd"
    lab_folder=$LAB/$1/opt/lab/units
    mkdir -p "$lab_folder/sysinit.target.wants" "$lab_folder/sockets.target.wants" "$LAB/$1/etc/systemd" "$LAB/$1/var/log/journal"
    for lab_unit in multi-user.target basic.target sysinit.target local-fs.target sockets.target timers.target paths.target \
        slices.target network.target network-online.target shutdown.target umount.target final.target \
        reboot.target poweroff.target systemd-reboot.service systemd-poweroff.service dbus.socket dbus.service \
        systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service systemd-journal-flush.service; do
        cp "/lib/systemd/system/$lab_unit" "$lab_folder/" || return 1
    done
    ln -s ../systemd-journald.service ../systemd-journal-flush.service "$lab_folder/sysinit.target.wants/"
    ln -s ../dbus.socket "$lab_folder/sockets.target.wants/"
    # As on NixOS: all other units are the system's.
    ln -s /etc/static/systemd/system "$LAB/$1/etc/systemd/system"
    tr -d - </proc/sys/kernel/random/uuid >"$LAB/$1/etc/machine-id"
}

lab_boot() {
    rm -f "$LAB/$1/.up"
    if lab_has_systemd "$1"; then
        lab_start_systemd "$1"
    else
        lab_start "$1"
    fi
    echo "$!" >"$LAB/$1/.holder"
    wait_for 10 "start of node $1, see $LAB/$1.boot.log" [ -e "$LAB/$1/.up" ] || return 1
    lab_number=$(lab_link "$1")
    ip link add "lab$lab_number" type veth peer name eth0 netns "$(lab_pid "$1")" || return 1
    ip link set "lab$lab_number" master lab up
    lab_exec "$1" sh -c "hostname $1; ip link set lo up
        ip address add $lab_network.$lab_number/24 dev eth0; ip link set eth0 up" || return 1
    timeout 10 sh -c 'echo go >"$1"' sh "$LAB/$1/.go" || return 1
    ! lab_has_systemd "$1" || wait_for 20 "systemd of node $1, see $LAB/$1.boot.log" lab_systemd_up "$1"
}

lab_start() {
    unshare --mount --net --uts --ipc --propagation private -- \
        sh "$LAB_SOURCE/host.sh" "$LAB/$1" "$LAB_SHARED" sleep infinity 2>"$LAB/$1.boot.log" &
}

# unshare stays, and ends as its child did: by SIGHUP after a reboot, by SIGINT after a poweroff.
lab_start_systemd() {
    mkdir -p "$LAB_CGROUP/$1"
    # shellcheck disable=SC2016 # the inner shell's
    LAB_SYSTEMD_HOST=1 sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$LAB_CGROUP/$1" \
        unshare --mount --net --uts --ipc --pid --cgroup --fork --kill-child --propagation private -- \
        sh "$LAB_SOURCE/host.sh" "$LAB/$1" "$LAB_SHARED" sh "$LAB_SOURCE/boot.sh" 2>"$LAB/$1.boot.log" &
}

# Everything that is to start at boot has started, or failed to.
lab_systemd_up() {
    case $(lab_exec "$1" systemctl is-system-running 2>/dev/null) in
    running | degraded) return 0 ;;
    *) return 1 ;;
    esac
}

lab_exec() {
    sh "$LAB_SOURCE/on.sh" "$@"
}

lab_cut() {
    ip link set "lab$(lab_link "$1")" down
}

lab_restore() {
    ip link set "lab$(lab_link "$1")" up
}

# Pids of the processes of a node, its first one included, and of those that entered it. Under systemd there are units with a
# network of their own; a node without systemd has no numbers of its own.
lab_pids() {
    lab_first=$(lab_pid "$1")
    lab_net=$(readlink "/proc/$lab_first/ns/net") || return 0
    lab_numbers=none
    ! lab_has_systemd "$1" || lab_numbers=$(readlink "/proc/$lab_first/ns/pid")
    for lab_process in /proc/[0-9]*; do
        case $(readlink "$lab_process/ns/net" "$lab_process/ns/pid" 2>/dev/null) in
        *"$lab_net"* | *"$lab_numbers"*) echo "${lab_process#/proc/}" ;;
        esac
    done
}

# (Under systemd the kernel ends everything together with process 1, which is among them.) Stopped first: else who outlives his
# child by a moment may still note how it ended.
lab_crash() {
    lab_victims=$(lab_pids "$1")
    # shellcheck disable=SC2086 # a list
    kill -STOP $lab_victims 2>/dev/null || :
    # shellcheck disable=SC2086 # a list
    kill -9 $lab_victims 2>/dev/null || :
    lab_gone "$1"
}

# After the end of a node's first process.
lab_gone() {
    wait "$(cat "$LAB/$1/.holder")" 2>/dev/null || :
    ip link delete "lab$(lab_link "$1")" 2>/dev/null || :
    # The link goes away with the network that it led to.
    wait_for 5 "end of node $1" lab_unlinked "$1"
}

lab_unlinked() {
    ! ip link show "lab$(lab_link "$1")" >/dev/null 2>&1
}

# No process 1 any more. (What is left of one that ended has no namespaces.)
lab_ended() {
    ! readlink "/proc/$(lab_pid "$1")/ns/net" >/dev/null 2>&1
}

# lab_rebooted NODE [SECONDS]
lab_rebooted() {
    wait_for "${2:-30}" "node $1 to end by itself" lab_ended "$1" || return 1
    lab_gone "$1" && lab_boot "$1"
}

# ---- inside: the sshd ------------------------------------------------------------------------------------------------------

lab_host_key() {
    [ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -C hub -f /etc/ssh/ssh_host_ed25519_key
    cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub
}

# The account's keys, one line a node, from stdin.
lab_authorize() {
    cat >/etc/ssh/bento-tunnel.keys.tmp
    chmod 644 /etc/ssh/bento-tunnel.keys.tmp
    mv /etc/ssh/bento-tunnel.keys.tmp /etc/ssh/bento-tunnel.keys
}

lab_sshd() {
    lab_host_key >/dev/null
    [ -e /etc/ssh/bento-tunnel.keys ] || lab_authorize </dev/null
    cat >/etc/ssh/sshd_config <<CONF
ListenAddress $lab_hub
Port $lab_ssh_port
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
AuthorizedKeysFile /etc/ssh/bento-tunnel.keys
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
AllowUsers $lab_tunnel_user
MaxStartups 300:30:600
LogLevel VERBOSE
Match User $lab_tunnel_user
    AllowTcpForwarding local
    AllowStreamLocalForwarding no
    PermitOpen 127.0.0.1:23686 127.0.0.1:23687
    PermitListen none
    MaxSessions 0
    ForceCommand /bin/false
    PermitTTY no
    X11Forwarding no
    AllowAgentForwarding no
    PermitTunnel no
    PasswordAuthentication no
CONF
    lab_sshd_start
}

# With /etc/ssh/sshd_config as it is.
lab_sshd_start() {
    mkdir -p /run/sshd /var/empty
    # sshd's privilege separation fails for uid 0 of a user namespace, so there it runs as the user again.
    set -- /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config
    if [ "$LAB_UID" != 0 ]; then
        set -- unshare --user --map-user="$LAB_UID" --map-group="$LAB_GID" -- "$@"
    fi
    "$@" 2>"$LAB/sshd.log" &
    echo "$!" >"$LAB/sshd.pid"
    wait_for 10 "start of sshd, see $LAB/sshd.log" grep -q 'Server listening' "$LAB/sshd.log"
}
