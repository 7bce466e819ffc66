# Stands in for nixpkgs' packages: this machine's own programs, as if /usr were the store path of each, and derivations that are
# evaluated and never built.
{ lib, system ? "x86_64-linux" }:

let
  installed = name: version: { type = "derivation"; pname = name; inherit name version; outPath = "/usr"; };
  programs = [
    "bash" "busybox" "clang-tools" "cmake" "cmocka" "coreutils" "corkscrew" "curl" "dbus" "findutils" "gcc" "git"
    "gnused" "iproute2" "jansson" "jq" "kexec-tools" "libsodium" "msgpack-c" "nftables" "ninja" "nng" "pkg-config"
    "procps" "shellcheck" "socat" "sqlite" "strace" "systemd" "tor" "util-linux"
  ];

  make = { meta ? { }, ... }@attributes:
    derivation (builtins.removeAttrs attributes [ "meta" ] // {
      name = attributes.name or "${attributes.pname}-${attributes.version}";
      inherit system;
      builder = "/bin/sh";
    }) // { inherit meta; inherit (attributes) version; };

  pkgs = lib.genAttrs programs (name: installed name "1") // {
    inherit lib pkgs system;
    nix = installed "nix" "2.8";
    openssh = installed "openssh" "9.2";
    python3 = installed "python3" "3.11" // {
      withPackages = choose:
        builtins.deepSeq (choose (lib.genAttrs [ "msgpack" "pynacl" "pytest" ] (name: name))) (installed "python3" "3.11");
    };
    systemPath = [ (installed "coreutils" "9.1") { outPath = "/"; } ];
    callPackage = file: given:
      let recipe = import file; in recipe (builtins.intersectAttrs (builtins.functionArgs recipe) pkgs // given);
    stdenv = {
      mkDerivation = make;
      buildPlatform.canExecute = _: true;
      hostPlatform = { };
    };
    buildFHSEnv = { name, targetPkgs, ... }: { env = make { pname = name; version = "1"; packages = targetPkgs pkgs; }; };

    # Nothing is built here, and no store is needed: a file has its text with it, and a command that checks one hands it on.
    runCommand = name: { json }: script: json;
    formats.json = { }: {
      generate = name: value: rec {
        text = builtins.toJSON value;
        outPath = "/nix/store/${builtins.substring 0 32 (builtins.hashString "sha256" text)}-${name}";
      };
    };

    # A test in virtual machines: all of them evaluated, and the script that would drive them.
    testers.runNixOSTest = file:
      let
        test = import file { inherit lib pkgs; };
        evaluated = lib.mapAttrs (_: machine: import ./nixos.nix { inherit lib pkgs nodes; modules = [ machine ]; }) test.nodes;
        nodes = lib.mapAttrs (_: machine: machine.config) evaluated;
        failed = lib.concatMap (machine: machine.failed) (builtins.attrValues evaluated);
        script = test.testScript { inherit nodes; };
      in
      if failed != [ ] then throw (toString failed)
      else make {
        pname = test.name;
        version = "1";
        inherit script;
        machines = lib.mapAttrsToList (_: machine: builtins.toJSON { inherit (machine) units etc tmpfiles sshd; }) evaluated;
      } // { inherit script; machines = lib.attrNames test.nodes; };
  };
in
pkgs
