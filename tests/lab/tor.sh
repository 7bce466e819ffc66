# shellcheck shell=sh disable=SC2154,SC2034 # the names of lab.sh, and those for it
# A private Tor network on the lab's hub: one authority, four relays, an onion service; clients on the nodes. Sourced after
# lab.sh. It needs about 20 s to find itself, so start it early:
#
#   tor_make PORT…              keys and configurations; $tor_onion is the service, whose PORTs lead to those of 127.0.0.1
#   tor_start                   authority and relays, in the background
#   tor_wait                    until clients and service would find their way at once, then starts the service
#   tor_client NODE             a Tor with its SOCKS port on 127.0.0.1:9050 of the node
#   tor_kill NAME, tor_run NAME     kill -9 and start again: `service`, or the name of a node

tor_base=21000
tor_relays='r1 r2 r3 r4'
tor_all=5 # with the authority

# Four relays are too few for guards of the second layer.
tor_common() {
    cat <<CONF
TestingTorNetwork 1
VanguardsLiteEnabled 0
DataDirectory $LAB/tor/$1
PidFile $LAB/tor/$1.pid
Log notice file $LAB/tor/$1.log
ShutdownWaitLength 0
PathsNeededToBuildCircuits 0.67
GeoIPFile /dev/null
GeoIPv6File /dev/null
$tor_authority
CONF
}

# tor_relay NAME NUMBER
tor_relay() {
    tor_common "$1"
    cat <<CONF
Nickname $1
Address $lab_hub
AssumeReachable 1
ORPort $lab_hub:$((tor_base + $2))
DirPort $lab_hub:$((tor_base + 100 + $2))
SocksPort 0
ExitRelay 0
ExitPolicy reject *:*
CONF
}

tor_make() {
    tor_authority=
    for tor_name in a $tor_relays service; do
        mkdir -p "$LAB/tor/$tor_name/keys"
        chmod -R 700 "$LAB/tor/$tor_name"
    done
    (cd "$LAB/tor/a/keys" && echo password | tor-gencert --create-identity-key --passphrase-fd 0 -m 12 \
        -a "$lab_hub:$((tor_base + 100))" -i authority_identity_key -s authority_signing_key -c authority_certificate \
        >"$LAB/tor/gencert.log" 2>&1) || return 1
    tor_relay a 0 >"$LAB/tor/a.conf"
    # A Tor that wants an authority only to print its own fingerprint gets one that is not there.
    tor_print=$(tor --list-fingerprint --quiet -f "$LAB/tor/a.conf" --defaults-torrc /dev/null \
        --dirauthority "x 127.0.0.1:1 ffffffffffffffffffffffffffffffffffffffff" 2>/dev/null | sed 's/^[^ ]* //; s/ //g')
    tor_identity=$(sed -n 's/^fingerprint //p' "$LAB/tor/a/keys/authority_certificate")
    tor_authority="DirAuthority a orport=$tor_base no-v2 v3ident=$tor_identity $lab_hub:$((tor_base + 100)) $tor_print"
    { tor_relay a 0; cat; } >"$LAB/tor/a.conf" <<'CONF'
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo nobody
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 10
V3AuthVoteDelay 2
V3AuthDistDelay 2
V3AuthNIntervalsValid 3
TestingDirAuthVoteExit *
TestingDirAuthVoteHSDir *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
CONF
    tor_number=0
    for tor_name in $tor_relays; do
        tor_number=$((tor_number + 1))
        tor_relay "$tor_name" "$tor_number" >"$LAB/tor/$tor_name.conf"
    done
    {
        tor_common service
        echo "SocksPort 0"
        echo "HiddenServiceDir $LAB/tor/service/onion"
        for tor_port in "$@"; do echo "HiddenServicePort $tor_port 127.0.0.1:$tor_port"; done
    } >"$LAB/tor/service.conf"
    # Its name comes with its key, at the first start.
    tor --quiet -f "$LAB/tor/service.conf" --defaults-torrc /dev/null --DisableNetwork 1 &
    wait_for 20 "the onion service's name" [ -s "$LAB/tor/service/onion/hostname" ] || return 1
    kill "$!"
    wait "$!" 2>/dev/null || :
    tor_onion=$(cat "$LAB/tor/service/onion/hostname")
}

# tor_run NAME: in the node of that name, or on the hub.
tor_run() {
    set -- "$1" tor --quiet -f "$LAB/tor/$1.conf" --defaults-torrc /dev/null
    if [ -e "$LAB/$1/.pid" ]; then
        sh "$LAB_SOURCE/on.sh" "$@" &
    else
        shift
        "$@" &
    fi
}

tor_kill() {
    tor_pid=$(cat "$LAB/tor/$1.pid")
    kill -9 "$tor_pid"
    wait_for 5 "the end of $1's tor" tor_gone "$tor_pid"
}

tor_gone() {
    ! kill -0 "$1" 2>/dev/null
}

tor_start() {
    for tor_name in a $tor_relays; do
        tor_run "$tor_name"
    done
}

tor_consensus_is_full() {
    tor_listed=$(python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=3).read().decode())' \
        "http://$lab_hub:$((tor_base + 100))/tor/status-vote/current/consensus" 2>/dev/null |
        grep -c '^s .*HSDir.*Running')
    [ "$tor_listed" -ge "$tor_all" ]
}

# A client that asks a relay for what it does not have yet waits 10 s before it asks again.
tor_relays_know_each_other() {
    for tor_name in $tor_relays; do
        tor_listed=$(cat "$LAB/tor/$tor_name/cached-microdescs" "$LAB/tor/$tor_name/cached-microdescs.new" 2>/dev/null |
            grep -c '^ntor-onion-key')
        [ "$tor_listed" -ge "$tor_all" ] || return 1
    done
}

tor_wait() {
    wait_for 120 "a consensus of the relays" tor_consensus_is_full || return 1
    wait_for 60 "the relays' descriptors" tor_relays_know_each_other || return 1
    tor_run service
}

tor_client() {
    mkdir -p "$LAB/tor/$1"
    chmod 700 "$LAB/tor/$1"
    { tor_common "$1"; echo "SocksPort 127.0.0.1:9050"; } >"$LAB/tor/$1.conf"
    tor_run "$1"
}
