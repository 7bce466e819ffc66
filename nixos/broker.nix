# services.bento.broker: the server that a fleet's releases go through. It needs the admin's fleet.nix (and nodes.json beside
# it), which hold no secrets, and makes the account that the nodes' tunnels log in to.
{ config, lib, pkgs, ... }:

let
  inherit (lib) mkDefault mkIf mkMerge mkOption optional types;
  bento = import ./settings.nix { inherit lib; };
  inherit (bento) orDefault;

  name = "services.bento.broker";
  cfg = config.services.bento.broker;
  settings = cfg.settings;
  state = orDefault settings.state "/var/lib/bento-broker";
  admin = orDefault settings.admin "/run/bento-broker/admin.sock";
  configFile = bento.configFile pkgs "broker.json" "${cfg.package}/bin/bento-broker" settings;

  # The fleet as its admin has it; nodes.json fills in the keys that fleet.nix does not name.
  read = file: if lib.hasSuffix ".json" (toString file) then lib.importJSON file else import file;
  fleet = if cfg.fleet == null then { } else read cfg.fleet;
  nodes = lib.recursiveUpdate (if cfg.nodes == null then { } else read cfg.nodes) (fleet.nodes or { });
  tunnelKeys = lib.mapAttrs (_: node: node.tunnelKey) (lib.filterAttrs (_: node: node ? tunnelKey) nodes);
  fromFleet = key: mkIf (fleet ? ${key}) (mkDefault fleet.${key});

  # What the tunnel account reaches: the broker's two ports and a cache that nodes have forwarded.
  pub = orDefault settings.pub "tcp://127.0.0.1:23686";
  rep = orDefault settings.rep "tcp://127.0.0.1:23687";
  onLoopback = lib.all (lib.hasPrefix "tcp://127.0.0.1:") [ pub rep ];
  portOf = url: lib.toInt (lib.last (lib.splitString ":" url));
  forwardsCache = fleet.broker.cache.forward or false;
  cachePort = if forwardsCache then portOf (lib.removeSuffix "/" fleet.broker.cache.url) else cfg.cache.port;
  ports = [ (portOf pub) (portOf rep) ] ++ optional forwardsCache cachePort;
  reachable = map (port: "127.0.0.1:${toString port}") ports;

  keyLine = node: key:
    let words = lib.splitString " " key; in
    lib.concatStringsSep "," ([ "restrict" "port-forwarding" ] ++ map (to: ''permitopen="${to}"'') reachable
      ++ [ ''permitlisten="127.0.0.1:1"'' ''command="/bin/false"'' ])
    + " ${lib.elemAt words 0} ${lib.elemAt words 1} ${node}";

  # The lines of the keys alone would leave Unix sockets open, this alone any key of the account. What other modules add after it
  # is for everybody again.
  sshdMatch = ''
    Match User ${cfg.tunnel.user}
      AllowTcpForwarding local
      AllowStreamLocalForwarding no
      PermitOpen ${toString reachable}
      PermitListen none
      MaxSessions 0
      ForceCommand /bin/false
      PermitTTY no
      X11Forwarding no
      AllowAgentForwarding no
      PermitTunnel no
      PasswordAuthentication no
    Match All
  '';

  # All nodes come back at once when the server does; sshd's default lets ten in and drops the others.
  waiting = 100 + builtins.length (lib.attrNames tunnelKeys);
  maxStartups = "${toString waiting}:30:${toString (2 * waiting)}";
  sshd = config.services.openssh;
  knowsPenalties = lib.versionAtLeast (lib.getVersion (sshd.package or pkgs.openssh)) "9.8";

  onionMap = map (port: { inherit port; target = { addr = "127.0.0.1"; inherit port; }; }) ports
    ++ optional cfg.onion.ssh { port = 22; target = { addr = "127.0.0.1"; port = lib.head sshd.ports; }; };
in
{
  options.services.bento.broker = {
    enable = bento.enable "Whether this machine is a fleet's broker.";
    package = bento.package pkgs;
    fleet = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = lib.literalExpression "./fleet.nix";
      description = "The admin's fleet.nix (or fleet.json): who may sign, and which nodes there are.";
    };
    nodes = mkOption {
      type = types.nullOr types.path;
      default =
        let beside = builtins.dirOf cfg.fleet + "/nodes.json"; in
        if cfg.fleet != null && builtins.pathExists beside then beside else null;
      defaultText = lib.literalMD "nodes.json beside fleet.nix, if there is one";
      description = "The nodes.json that `bento add-host` keeps: the nodes' keys.";
    };
    admins = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Users of this machine who may publish and ask: members of the group bento-admin.";
    };

    tunnel = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = "Whether nodes come through this machine's sshd, to an account that opens the broker's ports and no more.";
      };
      user = mkOption {
        type = types.str;
        default = "bento-tunnel";
        description = "Name of that account.";
      };
    };

    onion = {
      enable = bento.enable "Whether nodes may come through an onion service. `cat /var/lib/tor/onion/bento/hostname` shows its name.";
      ssh = bento.enable "Whether the onion service leads to sshd, too.";
      authorizedClients = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "descriptor:x25519:…" ];
        description = "Public keys of those whom Tor lets in; none: everybody who knows the name.";
      };
    };

    cache = {
      server = mkOption {
        type = types.nullOr (types.enum [ "harmonia" "nix-serve" "files" ]);
        default = null;
        description = "A binary cache on localhost for the nodes (broker.cache in fleet.nix): this machine's store, served by "
          + "harmonia or nix-serve, or the files that `nix copy --to file://…` left in `directory`. Null: none, or one of yours.";
      };
      port = mkOption {
        type = types.port;
        default = 5000;
        description = "Its port; with `forward` in fleet.nix that of its url.";
      };
      secretKeyFile = mkOption {
        type = types.nullOr bento.absolute;
        default = null;
        description = "Key that harmonia or nix-serve sign with, a path on the server: `nix-store --generate-binary-cache-key`.";
      };
      directory = mkOption {
        type = bento.absolute;
        default = "/var/lib/bento-cache";
        description = "Folder of the files.";
      };
    };

    settings = mkOption {
      default = { };
      description = "The broker's configuration, broker.json, key by key. What is left out comes from `fleet`, or is the program's "
        + "default, in brackets.";
      type = types.submodule {
        options = bento.trust // {
          state = bento.optional bento.absolute "Folder of its database (/var/lib/bento-broker).";
          pub = bento.optional types.str "Where it publishes (tcp://127.0.0.1:23686).";
          rep = bento.optional types.str "Where it answers nodes (tcp://127.0.0.1:23687).";
          admin = bento.optional bento.absolute "Socket for admins (/run/bento-broker/admin.sock).";
          tick_seconds = bento.optional bento.seconds "Interval of its sign of life: the same as the nodes' (150).";
          idle_seconds = bento.optional (types.ints.between 10 86400)
            "After so long without a question a connection is closed (120).";
        };
      };
    };
  };

  config = mkIf cfg.enable (mkMerge [
    {
      services.bento.broker.settings = {
        fleet = fromFleet "fleet";
        signers = fromFleet "signers";
        threshold = fromFleet "threshold";
        require_pin = fromFleet "require_pin";
        admin = mkIf (lib.hasPrefix "/" (fleet.broker.admin or "")) (mkDefault fleet.broker.admin);
      };

      assertions = [
        {
          assertion = settings.fleet != null;
          message = "${name}: set ${name}.fleet to the admin's fleet.nix.";
        }
        (bento.persistent name config.fileSystems state)
        {
          assertion = builtins.stringLength admin <= 100;
          message = "${name}.settings.admin: a socket's path has at most 100 bytes.";
        }
      ] ++ lib.optionals (settings.fleet != null) (bento.trustAssertions name settings);

      environment.systemPackages = [ cfg.package ];
      environment.etc."bento/broker.json".source = configFile;

      users.users.bento-broker = { isSystemUser = true; group = "bento-admin"; description = "bento's broker"; };
      users.groups.bento-admin.members = cfg.admins;

      systemd.tmpfiles.rules = [
        "d ${state} 0700 bento-broker bento-admin -"
        "d ${builtins.dirOf admin} 0750 bento-broker bento-admin -"
      ];

      systemd.services.bento-broker = {
        description = "Bento: the fleet's broker";
        wantedBy = [ "multi-user.target" ];
        after = [ "network.target" ];
        unitConfig.RequiresMountsFor = [ state ];
        startLimitIntervalSec = 0;
        stopIfChanged = false;
        restartTriggers = [ configFile ];
        # Its sockets are made with mode 0660: the group is what admins are in.
        serviceConfig = bento.service // bento.confined // {
          ExecStart = "${cfg.package}/bin/bento-broker --config /etc/bento/broker.json";
          User = "bento-broker";
          Group = "bento-admin";
          CapabilityBoundingSet = "";
          LimitNOFILE = 65536; # a subscriber is a descriptor
          PrivateUsers = true;
          ProcSubset = "pid";
          ReadWritePaths = [ state (builtins.dirOf admin) ];
          RestrictAddressFamilies = [ "AF_UNIX" "AF_INET" "AF_INET6" ];
          RestrictSUIDSGID = true;
          SystemCallFilter = [ "@system-service" "~@privileged @resources" ];
        } // lib.optionalAttrs onLoopback { IPAddressAllow = "localhost"; IPAddressDeny = "any"; };
      };
    }

    (mkIf cfg.tunnel.enable {
      assertions = [
        {
          assertion = sshd.enable;
          message = "${name}: nodes come through sshd: set services.openssh.enable, or ${name}.tunnel.enable = false.";
        }
        {
          assertion = let allowed = sshd.settings.AllowUsers or null; in allowed == null || lib.elem cfg.tunnel.user allowed;
          message = "services.openssh.settings.AllowUsers keeps the nodes out: add \"${cfg.tunnel.user}\".";
        }
      ];
      warnings = map (node: "${name}: ${node} has no tunnelKey, so it cannot come through ssh.")
        (lib.filter (node: !(tunnelKeys ? ${node})) (lib.attrNames nodes));
      users.users.${cfg.tunnel.user} = {
        isSystemUser = true;
        group = cfg.tunnel.user;
        description = "tunnels of bento's nodes";
        openssh.authorizedKeys.keys = lib.mapAttrsToList keyLine tunnelKeys;
      };
      users.groups.${cfg.tunnel.user} = { };
      services.openssh.settings.MaxStartups = mkDefault maxStartups;
      services.openssh.extraConfig = lib.mkAfter sshdMatch;
    })

    (mkIf cfg.onion.enable {
      services.tor.enable = true;
      services.tor.relay.onionServices.bento = {
        version = 3;
        map = onionMap;
        authorizedClients = cfg.onion.authorizedClients;
      };
      # All who come through it have one address; sshd would punish them for each other's mistakes.
      services.openssh.settings = mkIf (sshd.enable && knowsPenalties) {
        PerSourcePenaltyExemptList = mkDefault "127.0.0.0/8,::1";
      };
    })

    (mkIf (cfg.cache.server != null) {
      assertions = [
        {
          assertion = cfg.cache.server == "files" || cfg.cache.secretKeyFile != null;
          message = "${name}.cache.secretKeyFile is not set: nodes take nothing that is not signed.";
        }
      ];
    })
    (mkIf (cfg.cache.server == "harmonia") {
      services.harmonia = {
        enable = true;
        signKeyPaths = optional (cfg.cache.secretKeyFile != null) cfg.cache.secretKeyFile;
        settings.bind = "127.0.0.1:${toString cachePort}";
      };
    })
    (mkIf (cfg.cache.server == "nix-serve") {
      services.nix-serve = {
        enable = true;
        bindAddress = "127.0.0.1";
        port = cachePort;
        secretKeyFile = cfg.cache.secretKeyFile;
      };
    })
    (mkIf (cfg.cache.server == "files") {
      users.users.bento-cache = { isSystemUser = true; group = "bento-cache"; description = "bento's binary cache"; };
      users.groups.bento-cache = { };
      # Filled by the admins.
      systemd.tmpfiles.rules = [ "d ${cfg.cache.directory} 2775 root bento-admin -" ];
      systemd.services.bento-cache = {
        description = "Bento: binary cache for the nodes";
        wantedBy = [ "multi-user.target" ];
        unitConfig.RequiresMountsFor = [ cfg.cache.directory ];
        serviceConfig = bento.confined // {
          ExecStart = "${pkgs.busybox}/bin/busybox httpd -f -p 127.0.0.1:${toString cachePort} -h ${cfg.cache.directory}";
          Restart = "always";
          User = "bento-cache";
          Group = "bento-cache";
          CapabilityBoundingSet = "";
          IPAddressAllow = "localhost";
          IPAddressDeny = "any";
          PrivateUsers = true;
          ProcSubset = "pid";
          RestrictAddressFamilies = [ "AF_INET" ];
          RestrictSUIDSGID = true;
          SystemCallFilter = [ "@system-service" "~@privileged @resources" ];
        };
      };
    })
  ]);
}
