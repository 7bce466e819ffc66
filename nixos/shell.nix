# A shell in which script/build, script/test and script/demo run: with the folders (/usr/bin, /usr/sbin) of the machines that they
# are written for, and with all that they call, so that script/packages has nothing to install.
{ buildFHSEnv }:

(buildFHSEnv {
  name = "bento-shell";
  targetPkgs = pkgs: with pkgs; [
    bash
    busybox
    clang-tools
    cmake
    cmocka
    corkscrew
    coreutils
    curl
    dbus
    gcc
    git
    iproute2
    jansson
    jq
    libsodium
    msgpack-c
    nftables
    ninja
    nix
    nng
    openssh
    pkg-config
    procps
    (python3.withPackages (python: [ python.msgpack python.pynacl python.pytest ]))
    shellcheck
    socat
    sqlite
    strace
    systemd
    tor
    util-linux
  ];
  extraOutputsToInstall = [ "dev" ];
  profile = "export BENTO_SHELL=1";
}).env
