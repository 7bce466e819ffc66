# services.bento.node: a machine that a fleet keeps up to date. Enabled and nothing else, it is ready to be enrolled:
# `bento-apply keys` shows its keys. With the file that `bento add-host` wrote (bootstrap) it belongs to the fleet.
{ config, lib, pkgs, ... }:

let
  inherit (lib) mkDefault mkIf mkMerge mkOption types;
  bento = import ./settings.nix { inherit lib; };
  inherit (bento) absolute optional orDefault seconds;

  name = "services.bento.node";
  cfg = config.services.bento.node;
  settings = cfg.settings;

  state = orDefault settings.state "/var/lib/bento";
  secrets = orDefault settings.secrets "/run/bento-secrets";
  floorFolder = builtins.dirOf (orDefault settings.floor_copy "/nix/var/bento/floor");
  gcroots = orDefault settings.gcroots "/nix/var/nix/gcroots/bento";
  user = orDefault settings.node_user "bento-node";
  enrolled = settings.fleet != null;

  configFile = bento.configFile pkgs "node.json" "${cfg.package}/bin/bento-node" settings;

  # Keys of an endpoint: those that all ways have, those of each, and which of them it cannot do without.
  ways = {
    ssh = {
      takes = [ "host" "port" "user" "host_key" "ssh_config" "pub_port" "rep_port" "cache_port" ];
      needs = [ "host" "host_key" ];
    };
    tor = { takes = [ "host" "socks_port" "pub_port" "rep_port" "cache_port" ]; needs = [ "host" ]; };
    none = { takes = [ "pub" "rep" ]; needs = [ "pub" "rep" ]; };
    command = { takes = [ "argv" "pub" "rep" ]; needs = [ "argv" ]; };
  };
  endpoint = types.submodule {
    options = {
      tunnel = mkOption {
        type = types.enum (lib.attrNames ways);
        description = "The way: `ssh`, `tor`, `none` (a VPN is there already), or a `command` of yours.";
      };
      host = optional types.str "ssh: name or address of the server; tor: its onion service, `….onion`.";
      port = optional types.port "ssh: port of the server's sshd (22).";
      user = optional types.str "ssh: the tunnel account (`bento-tunnel`).";
      host_key = optional bento.publicKey "ssh: the server's host key, one line; it is pinned.";
      ssh_config = optional types.path
        "ssh: a file of yours with `ProxyJump` or `ProxyCommand`; it cannot loosen what bento pins.";
      socks_port = optional types.port "tor: port of this machine's Tor (9050).";
      pub_port = optional types.port "ssh, tor: the broker's port for publications at the far end (23686).";
      rep_port = optional types.port "ssh, tor: the broker's port for questions at the far end (23687).";
      cache_port = optional types.port "ssh, tor: the server's port of a binary cache that comes along; without it none does.";
      argv = optional (types.listOf types.str)
        "command: the program and its words; `{pub}`, `{rep}` and `{cache}` become local ports.";
      pub = optional types.str "none, and a command with ports of its own: url of the broker's publications, `tcp://host:23686`.";
      rep = optional types.str "none, and a command with ports of its own: url for questions, `tcp://host:23687`.";
    };
  };

  endpointAssertions = number: value:
    let
      given = lib.filter (key: key != "tunnel" && value.${key} != null) (lib.attrNames value);
      way = ways.${value.tunnel};
      strange = lib.filter (key: !(lib.elem key way.takes)) given;
      missing = lib.filter (key: !(lib.elem key given)) way.needs;
      which = "${name}.settings.endpoints, number ${toString number} (${value.tunnel})";
    in
    [
      { assertion = missing == [ ]; message = "${which}: ${toString missing} is missing."; }
      {
        assertion = strange == [ ];
        message = "${which}: ${toString strange} does not belong there; it takes ${toString way.takes}.";
      }
    ];

  usesTor = lib.any (each: each.tunnel == "tor") settings.endpoints;
in
{
  options.services.bento.node = {
    enable = bento.enable "Whether this machine is kept up to date by a fleet's broker.";
    package = bento.package pkgs;
    bootstrap = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = lib.literalExpression "./laptop.bootstrap.json";
      description = "The file that `bento add-host` wrote: what the node must know first. `settings` may override what it says.";
    };
    path = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "More packages whose programs the tunnel and the health commands find. Nix, git, ssh and socat are there.";
    };
    substituters = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Binary caches that this machine asks, beside those that a signed release names.";
    };
    trustedPublicKeys = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Keys that sign what those caches hold.";
    };

    settings = mkOption {
      default = { };
      description = "The node's configuration, node.json, key by key. What is left out has the program's default, in brackets.";
      type = types.submodule {
        options = bento.trust // {
          epoch = optional types.ints.unsigned "No release of an epoch below this one is taken (0).";
          minimum_release = optional types.ints.unsigned "No release of that epoch below this number is taken (0).";
          endpoints = mkOption {
            type = types.listOf endpoint;
            default = [ ];
            description = "Ways to the broker, tried in turn, the one that worked last first.";
          };
          state = optional absolute "Folder of all that bento keeps (/var/lib/bento).";
          secrets = optional absolute "Folder in memory for the secrets of this host (/run/bento-secrets).";
          floor_copy = optional absolute
            "Second copy of the newest release's number, for a machine that loses its state (/nix/var/bento/floor).";
          identity = optional absolute
            "The machine's ed25519 key (/etc/ssh/ssh_host_ed25519_key if there is one, else one that bento makes).";
          node_user = optional types.str "Account of bento-node (bento-node).";
          node_unit = optional types.str "Unit of bento-node, which must run after a switch (bento-node.service).";
          profile = optional absolute "The system profile (/nix/var/nix/profiles/system).";
          current_system = optional absolute "Link to the system that runs (/run/current-system).";
          booted_system = optional absolute "Link to the system that was booted (/run/booted-system).";
          boot = optional absolute "Where kernels are copied to; there must be room (/boot).";
          gcroots = optional absolute
            "Folder of the garbage collector's roots that keep the old system (/nix/var/nix/gcroots/bento).";
          path = optional types.str
            "PATH of everything that bento starts; by default nix, git, ssh, socat, the system's programs and `path`.";
          confirm_seconds = optional seconds "Window in which a new system must reach the broker (180).";
          switch_seconds = optional seconds "Limit of a switch (600).";
          commit_seconds = optional seconds "Limit of setting the profile and the boot loader (600).";
          margin_seconds = optional seconds "What the dead man's switch waits beyond all of that (60).";
          return_seconds = optional seconds "How long the old system may take to reach the broker after going back (900).";
          boot_seconds = optional seconds "How long a new system may take to reach the broker after its first boot (300).";
          self_update_seconds = optional (types.ints.between 1 31622400)
            "Interval of self updates, for a host with a SELF_UPDATE file (86400).";
          kept_releases = optional (types.ints.between 1 100) "Configurations that are kept to go back to (3).";
          poll_seconds = optional seconds "Interval of asking the broker and of reports (1800).";
          tick_seconds = optional seconds "Interval of the broker's sign of life: the same as the broker's (150).";
          page_port = optional (types.either (types.enum [ 0 ]) (types.ints.between 1024 65535))
            "Port of the page on localhost; 0: no page (51337).";
          cache_port = optional types.port "Local port where the broker's binary cache is found, if a tunnel brings it (23688).";
        };
      };
    };
  };

  config = mkIf cfg.enable {
    services.bento.node.settings = mkMerge [
      (mkIf (cfg.bootstrap != null) (lib.mapAttrs (_: mkDefault) (lib.importJSON cfg.bootstrap)))
      {
        path = mkDefault (lib.makeBinPath ([
          config.nix.package
          pkgs.git
          pkgs.openssh
          pkgs.socat
          pkgs.kexec-tools
        ] ++ cfg.path) + ":/run/wrappers/bin:/run/current-system/sw/bin");
      }
    ];

    assertions = [
      (bento.persistent name config.fileSystems state)
      {
        assertion = enrolled || (settings.signers == [ ] && settings.endpoints == [ ]);
        message = "${name}.settings.fleet is not set: set ${name}.bootstrap to the file that `bento add-host` wrote.";
      }
    ] ++ lib.optionals enrolled (bento.trustAssertions name settings ++ [
      {
        assertion = settings.endpoints != [ ] && builtins.length settings.endpoints <= 16;
        message = "${name}.settings.endpoints must list 1 to 16 ways to the broker.";
      }
    ] ++ lib.concatLists (lib.imap1 endpointAssertions settings.endpoints));
    warnings = lib.optional (config.system.autoUpgrade.enable or false)
      "system.autoUpgrade and ${name} both switch this machine, each to its own idea of it: turn one of them off.";

    environment.systemPackages = [ cfg.package ];
    environment.etc = mkIf enrolled { "bento/node.json".source = configFile; };
    nix.settings = mkIf (cfg.substituters != [ ] || cfg.trustedPublicKeys != [ ]) {
      substituters = cfg.substituters;
      trusted-public-keys = cfg.trustedPublicKeys;
    };
    services.tor = mkIf usesTor { enable = mkDefault true; client.enable = mkDefault true; };

    users.users.${user} = { isSystemUser = true; group = user; description = "bento's link to its broker"; };
    users.groups.${user} = { };

    systemd.tmpfiles.rules = [
      "d ${state} 0755 root root -"
      "d ${state}/apply 0700 root root -"
      "d ${state}/node 0700 ${user} ${user} -"
      "d ${state}/spool 0755 root root -"
      "d ${state}/spool/in 0700 ${user} ${user} -"
      "d ${state}/spool/out 2750 root ${user} -"
      "d ${floorFolder} 0755 root root -"
      "d ${gcroots} 0755 root root -"
      # Made by `bento-apply keys`, maybe before there was such an account.
      "z ${state}/node/tunnel 0600 ${user} ${user} -"
    ];

    # Both are restarted by a switch, in one go, so that a switch that dies in the middle has stopped neither: the new system's
    # own programs must prove that it can be reached. A machine whose file `bento-apply bootstrap` installs has no triggers.
    systemd.services.bento-apply = {
      description = "Bento: verifies, builds, switches, confirms";
      wantedBy = [ "multi-user.target" ];
      unitConfig.ConditionPathExists = "/etc/bento/node.json";
      unitConfig.RequiresMountsFor = [ state "/nix" ];
      startLimitIntervalSec = 0;
      stopIfChanged = false;
      restartTriggers = lib.optional enrolled configFile;
      environment = { HOME = "/root"; NIX_PATH = config.environment.sessionVariables.NIX_PATH or null; };
      # Its jobs are transient units of systemd: nothing of this holds for them.
      serviceConfig = bento.service // bento.confined // {
        ExecStart = "${cfg.package}/bin/bento-apply";
        PrivateNetwork = true;
        RestrictAddressFamilies = [ "AF_UNIX" ];
        # Folders for others, and what bento-node leaves in its own.
        CapabilityBoundingSet = [ "CAP_CHOWN" "CAP_DAC_OVERRIDE" "CAP_FOWNER" "CAP_FSETID" ];
        # spool/out passes its group on (2750), so RestrictSUIDSGID= is not set.
        ReadWritePaths = [ state floorFolder gcroots ];
        SystemCallFilter = [ "@system-service" "~@resources" ];
      };
    };

    # At a boot there are none yet. Ordinary services start after basic.target, and so after this.
    systemd.services.bento-secrets = {
      description = "Bento: the secrets of the system that starts";
      wantedBy = [ "basic.target" ];
      before = [ "basic.target" ];
      after = [ "local-fs.target" ];
      unitConfig.DefaultDependencies = false;
      unitConfig.ConditionPathExists = "/etc/bento/node.json";
      unitConfig.RequiresMountsFor = [ state ];
      stopIfChanged = false;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${cfg.package}/bin/bento-apply secrets";
      };
    };
    # In a switch they are there before; what belongs to a user who came with the new system is given to him here.
    system.activationScripts.bento-secrets = {
      deps = [ "users" "groups" ];
      text = ''
        if [ -e /run/current-system ] && [ -e /etc/bento/node.json ]; then
          ${cfg.package}/bin/bento-apply secrets "$systemConfig" || true
        fi
      '';
    };

    systemd.services.bento-node = {
      description = "Bento: the link to the broker";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" "bento-apply.service" ];
      unitConfig.ConditionPathExists = "/etc/bento/node.json";
      unitConfig.RequiresMountsFor = [ state ];
      startLimitIntervalSec = 0;
      stopIfChanged = false;
      restartTriggers = lib.optional enrolled configFile;
      serviceConfig = bento.service // bento.confined // {
        ExecStart = "${cfg.package}/bin/bento-node";
        User = user;
        Group = user;
        CapabilityBoundingSet = "";
        PrivateUsers = true;
        RestrictAddressFamilies = [ "AF_UNIX" "AF_INET" "AF_INET6" ];
        RestrictSUIDSGID = true;
        ReadWritePaths = [ state ];
        SystemCallFilter = [ "@system-service" "~@privileged @resources" ];
      };
    };
  };
}
