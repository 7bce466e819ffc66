# Configurations of the modules: `good` ones, with what must hold of what comes out, and `broken` ones, with the message.
let
  lib = import ./lib.nix;
  nixos = module: import ./nixos.nix { modules = [ ../../nixos/node.nix ../../nixos/broker.nix module ]; };
  fleet = import ./fleet.nix;
  key = fleet.broker.host_key;
  onion = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx.onion";

  member = { inherit (fleet) fleet signers; endpoints = [ ssh ]; };
  ssh = { tunnel = "ssh"; host = "broker.example.org"; host_key = key; };

  json = result: name: builtins.fromJSON result.etc."bento/${name}.json";
  line = text: lib.any (each: each == text);
  unit = result: name: lib.splitString "\n" result.units."${name}.service";
in
rec {
  # A machine that is a node, a broker, or both.
  broker = more: { services.openssh.enable = true; services.bento.broker = { enable = true; fleet = ./fleet.nix; } // more; };
  node = settings: { services.bento.node = { enable = true; settings = member // settings; }; };

  # Every key of node.json. The programs read what it becomes.
  everyNodeSetting = node {
    threshold = 1;
    require_pin = true;
    epoch = 3;
    minimum_release = 1795432587;
    endpoints = [
      (ssh // { port = 2222; user = "tunnel"; ssh_config = "/etc/bento/ssh_config"; pub_port = 1; rep_port = 2; cache_port = 3; })
      { tunnel = "tor"; host = onion; socks_port = 9150; pub_port = 4; rep_port = 5; cache_port = 6; }
      { tunnel = "none"; pub = "tcp://10.0.0.1:23686"; rep = "tcp://10.0.0.1:23687"; }
      { tunnel = "command"; argv = [ "vpn" "127.0.0.1:{pub}" "127.0.0.1:{rep}" ]; }
      { tunnel = "command"; argv = [ "vpn" ]; pub = "tcp://127.0.0.1:7"; rep = "tcp://127.0.0.1:8"; }
    ];
    state = "/persist/bento";
    secrets = "/run/secrets-of-bento";
    floor_copy = "/nix/var/other/floor";
    identity = "/persist/identity";
    node_user = "link";
    node_unit = "link.service";
    profile = "/nix/var/nix/profiles/other";
    current_system = "/run/current";
    booted_system = "/run/booted";
    boot = "/efi";
    gcroots = "/nix/var/nix/gcroots/other";
    path = "/bin";
    confirm_seconds = 60;
    switch_seconds = 61;
    commit_seconds = 62;
    margin_seconds = 63;
    return_seconds = 64;
    boot_seconds = 65;
    self_update_seconds = 66;
    kept_releases = 4;
    poll_seconds = 67;
    tick_seconds = 68;
    page_port = 0;
    cache_port = 5001;
  };

  # Every key of broker.json.
  everyBrokerSetting = broker {
    settings = {
      fleet = lib.concatMapStrings (_: "02") (builtins.genList (i: i) 32);
      signers = [ key ];
      threshold = 1;
      require_pin = false;
      state = "/srv/bento";
      pub = "tcp://127.0.0.1:1001";
      rep = "tcp://127.0.0.1:1002";
      admin = "/run/admin/admin.sock";
      tick_seconds = 30;
      idle_seconds = 60;
    };
  };

  # sshd's settings beside an onion service.
  penalties = version: (nixos (lib.recursiveUpdate (broker { onion.enable = true; }) {
    services.openssh.package = { outPath = "/usr"; inherit version; };
  })).config.services.openssh.settings;

  good = {
    "nothing is enabled" = {
      module = { };
      holds = result: result.units == { } && result.etc == { } && result.config.users.users == { } && result.failed == [ ];
    };
    "a node that is not enrolled yet" = {
      module = { services.bento.node.enable = true; };
      holds = result: result.etc == { } && line "ConditionPathExists=/etc/bento/node.json" (unit result "bento-apply")
        && !(lib.any (lib.hasPrefix "X-Restart-Triggers") (unit result "bento-node"));
    };
    "a node with its bootstrap file" = {
      module = { services.bento.node = { enable = true; bootstrap = ./bootstrap.json; settings.page_port = 8042; }; };
      holds = result:
        let settings = json result "node"; in
        builtins.removeAttrs settings [ "path" "page_port" ] == lib.importJSON ./bootstrap.json && settings.page_port == 8042;
    };
    "settings override the bootstrap file" = {
      module = { services.bento.node = { enable = true; bootstrap = ./bootstrap.json; settings.epoch = 9; }; };
      holds = result: (json result "node").epoch == 9;
    };
    "a changed setting restarts both programs, in one go" = {
      module = node { };
      holds = result:
        let
          changed = nixos (node { page_port = 8042; });
          differs = name: result.units."${name}.service" != changed.units."${name}.service"
            && line "X-StopIfChanged=false" (unit result name) && !(line "X-RestartIfChanged=false" (unit result name));
        in
        differs "bento-node" && differs "bento-apply";
    };
    "nobody has to start a program again" = {
      module = { imports = [ (node { }) (broker { }) ]; };
      holds = result: lib.all (name: lib.all (text: line text (unit result name))
        [ "Type=notify" "Restart=always" "StartLimitIntervalSec=0" "WatchdogSec=60" "WantedBy=multi-user.target" ])
        [ "bento-node" "bento-apply" "bento-broker" ];
    };
    "nothing opens the firewall" = {
      module = { imports = [ (node { }) (broker { }) ]; };
      holds = result: result.config.networking.firewall == { };
    };
    "every setting of a node" = {
      module = everyNodeSetting;
      holds = result: line "ReadWritePaths=/persist/bento" (unit result "bento-node")
        && line "User=link" (unit result "bento-node")
        && line "d /persist/bento/spool/out 2750 root link -" result.tmpfiles
        && line "d /nix/var/nix/gcroots/other 0755 root root -" result.tmpfiles
        && line "ReadWritePaths=/nix/var/other" (unit result "bento-apply") && result.config.services.tor.client.enable;
    };
    "every setting of a broker" = {
      module = everyBrokerSetting;
      holds = result: line "ReadWritePaths=/srv/bento" (unit result "bento-broker")
        && line "d /run/admin 0750 bento-broker bento-admin -" result.tmpfiles
        && line "  PermitOpen 127.0.0.1:1001 127.0.0.1:1002 127.0.0.1:5000" (lib.splitString "\n" result.sshd);
    };
    "a broker that others dial is not confined to this machine" = {
      module = broker { settings.pub = "tcp://10.0.0.1:23686"; };
      holds = result: !(line "IPAddressDeny=any" (unit result "bento-broker"));
    };
    "programs of the node's own" = {
      module = { services.bento.node = { enable = true; path = [ { outPath = "/opt/vpn"; } ]; settings = member; }; };
      holds = result: lib.elem "/opt/vpn/bin" (lib.splitString ":" (json result "node").path);
    };
    "another package" = {
      module = {
        imports = [ (node { }) (broker { package = { outPath = "/opt/b"; }; }) ];
        services.bento.node.package = { outPath = "/opt/n"; };
      };
      holds = result: line "ExecStart=/opt/n/bin/bento-apply" (unit result "bento-apply")
        && line "ExecStart=/opt/b/bin/bento-broker --config /etc/bento/broker.json" (unit result "bento-broker")
        && lib.any (package: package.outPath == "/opt/n") result.config.environment.systemPackages;
    };
    "binary caches of the node's own" = {
      module.services.bento.node = { enable = true; substituters = [ "http://cache" ]; trustedPublicKeys = [ "cache-1:AAAA" ]; };
      holds = result: result.config.nix.settings
        == { substituters = [ "http://cache" ]; trusted-public-keys = [ "cache-1:AAAA" ]; };
    };
    "a memory file system above a state folder on a disk" = {
      module = { imports = [ (node { }) ]; fileSystems = { "/".fsType = "tmpfs"; "/var/lib".fsType = "ext4"; }; };
      holds = result: result.failed == [ ];
    };
    "another updater is warned of" = {
      module = { imports = [ (node { }) ]; system.autoUpgrade.enable = true; };
      holds = result: builtins.length result.config.warnings == 1;
    };
    "a broker of the fleet" = {
      module = broker { };
      holds = result: json result "broker" == { inherit (fleet) fleet signers; admin = "/run/bento-broker/admin.sock"; };
    };
    "each node's tunnel key, and a warning for whom none is known" = {
      module = broker { nodes = ./nodes.json; };
      holds = result:
        let keys = result.config.users.users.bento-tunnel.openssh.authorizedKeys.keys; in
        builtins.length keys == 2
        && result.config.warnings == [ "services.bento.broker: router has no tunnelKey, so it cannot come through ssh." ];
    };
    "sshd lets all nodes in at once" = {
      module = broker { nodes = ./nodes.json; };
      holds = result: result.config.services.openssh.settings.MaxStartups == "102:30:204";
    };
    "what follows the tunnel account in sshd's configuration is for everybody" = {
      module = { imports = [ (broker { }) ]; services.openssh.extraConfig = lib.mkAfter "Banner none"; };
      holds = result: builtins.match ".*Match All\n+Banner none.*" result.sshd != null;
    };
    "a broker without tunnels needs no sshd" = {
      module = { services.bento.broker = { enable = true; fleet = ./fleet.nix; tunnel.enable = false; }; };
      holds = result: result.failed == [ ] && !(result.config.users.users ? bento-tunnel);
    };
    "the tunnel account reaches the broker's ports and nothing else" = {
      module = broker { };
      holds = result: lib.hasSuffix ''
        Match User bento-tunnel
          AllowTcpForwarding local
          AllowStreamLocalForwarding no
          PermitOpen 127.0.0.1:23686 127.0.0.1:23687 127.0.0.1:5000
          PermitListen none
          MaxSessions 0
          ForceCommand /bin/false
          PermitTTY no
          X11Forwarding no
          AllowAgentForwarding no
          PermitTunnel no
          PasswordAuthentication no
        Match All
      '' result.sshd;
    };
    "another name for the tunnel account" = {
      module = broker { tunnel.user = "nodes"; };
      holds = result: line "Match User nodes" (lib.splitString "\n" result.sshd) && result.config.users.users ? nodes;
    };
    "admins" = {
      module = broker { admins = [ "alice" ]; };
      holds = result: result.config.users.groups.bento-admin.members == [ "alice" ];
    };
    "an onion service" = {
      module = broker { onion = { enable = true; ssh = true; authorizedClients = [ "descriptor:x25519:A" ]; }; };
      holds = result:
        let service = result.config.services.tor.relay.onionServices.bento; in
        result.config.services.tor.enable && map (each: each.port) service.map == [ 23686 23687 5000 22 ]
          && service.authorizedClients == [ "descriptor:x25519:A" ];
    };
    "a sshd that punishes spares those behind the onion service" = {
      module = { };
      holds = _: (penalties "9.9").PerSourcePenaltyExemptList == "127.0.0.0/8,::1"
        && !(penalties "9.7" ? PerSourcePenaltyExemptList);
    };
    "harmonia" = {
      module = broker { cache = { server = "harmonia"; secretKeyFile = "/etc/cache.key"; }; };
      holds = result: result.config.services.harmonia
        == { enable = true; signKeyPaths = [ "/etc/cache.key" ]; settings.bind = "127.0.0.1:5000"; };
    };
    "nix-serve, on a port of its own" = {
      module = broker {
        fleet = null;
        settings = { inherit (fleet) fleet signers; };
        cache = { server = "nix-serve"; port = 5005; secretKeyFile = "/etc/cache.key"; };
      };
      holds = result: result.config.services.nix-serve
        == { enable = true; bindAddress = "127.0.0.1"; port = 5005; secretKeyFile = "/etc/cache.key"; };
    };
    "a cache of files" = {
      module = broker { cache = { server = "files"; directory = "/srv/cache"; }; };
      holds = result: line "ExecStart=/usr/bin/busybox httpd -f -p 127.0.0.1:5000 -h /srv/cache" (unit result "bento-cache");
    };
  };

  broken = {
    "a key that there is not" = {
      module = node { confirm_secods = 1; };
      message = "`services.bento.node.settings.confirm_secods' does not exist";
    };
    "a window of no time" = {
      module = node { confirm_seconds = 0; };
      message = "`services.bento.node.settings.confirm_seconds' is not of type";
    };
    "a page on a port of the system" = {
      module = node { page_port = 80; };
      message = "`services.bento.node.settings.page_port' is not of type";
    };
    "a fleet's id that is none" = {
      module = node { fleet = "01"; };
      message = "`services.bento.node.settings.fleet' is not of type";
    };
    "a signer that is no key" = {
      module = node { signers = [ "alice" ]; };
      message = "`services.bento.node.settings.signers.*' is not of type";
    };
    "an unknown way" = {
      module = node { endpoints = [ { tunnel = "pigeon"; } ]; };
      message = "`services.bento.node.settings.endpoints.*.tunnel' is not of type";
    };
    "a relative state folder" = {
      module = node { state = "bento"; };
      message = "`services.bento.node.settings.state' is not of type";
    };
    "nobody may sign" = {
      module = node { signers = [ ]; };
      message = "services.bento.node.settings.signers names nobody";
    };
    "more signatures than signers" = {
      module = node { threshold = 2; };
      message = "services.bento.node.settings.threshold asks for more";
    };
    "no way to the broker" = {
      module = node { endpoints = [ ]; };
      message = "settings.endpoints must list 1 to 16 ways";
    };
    "ways without a fleet" = {
      module = { services.bento.node = { enable = true; settings.endpoints = [ ssh ]; }; };
      message = "settings.fleet is not set: set services.bento.node.bootstrap";
    };
    "ssh without a host key" = {
      module = node { endpoints = [ { tunnel = "ssh"; host = "h"; } ]; };
      message = "endpoints, number 1 (ssh): host_key is missing";
    };
    "a host key for Tor" = {
      module = node { endpoints = [ ssh { tunnel = "tor"; host = onion; host_key = key; } ]; };
      message = "endpoints, number 2 (tor): host_key does not belong there";
    };
    "state in memory" = {
      module = { imports = [ (node { }) ]; fileSystems."/".fsType = "tmpfs"; };
      message = "services.bento.node: /var/lib/bento lies in a file system in memory";
    };
    "a broker without a fleet" = {
      module = broker { fleet = null; };
      message = "set services.bento.broker.fleet to the admin's fleet.nix";
    };
    "a broker's state in memory" = {
      module = { imports = [ (broker { }) ]; fileSystems."/var".fsType = "tmpfs"; };
      message = "services.bento.broker: /var/lib/bento-broker lies in";
    };
    "a broker without sshd" = {
      module = { imports = [ (broker { }) ]; services.openssh.enable = lib.mkForce false; };
      message = "set services.openssh.enable, or services.bento.broker.tunnel.enable = false";
    };
    "a sshd that keeps the nodes out" = {
      module = { imports = [ (broker { }) ]; services.openssh.settings.AllowUsers = [ "alice" ]; };
      message = "services.openssh.settings.AllowUsers keeps the nodes out: add \"bento-tunnel\"";
    };
    "an admin socket with too long a name" = {
      module = broker { settings.admin = "/run/" + lib.concatMapStrings (_: "x") (builtins.genList (i: i) 100); };
      message = "a socket's path has at most 100 bytes";
    };
    "a cache that does not sign" = {
      module = broker { cache.server = "harmonia"; };
      message = "services.bento.broker.cache.secretKeyFile is not set";
    };
    "an unknown cache" = {
      module = broker { cache.server = "attic"; };
      message = "`services.bento.broker.cache.server' is not of type";
    };
  };

  # ---- what the tests ask for ----

  # Everything of a system; a broken one throws.
  system = module:
    let
      result = nixos module;
      all = { inherit (result) units etc tmpfiles sshd; inherit (result.config) users warnings; };
    in
    if result.failed != [ ] then throw (toString result.failed) else builtins.deepSeq all result;
  # Names of the good ones that do not hold.
  bad = lib.filter (name: !(good.${name}.holds (system good.${name}.module))) (lib.attrNames good);
  messages = lib.mapAttrs (_: each: each.message) broken;

  # [ { name, description, set } ]: set tells whether one of the cases sets the option.
  options =
    let
      sets = path: value:
        if path == [ ] then true
        else if builtins.isList value then lib.any (sets path) value
        else builtins.isAttrs value && value ? ${lib.head path} && sets (builtins.tail path) value.${lib.head path};
      modules = module: [ module ] ++ lib.concatMap modules (module.imports or [ ]);
      every = lib.concatMap modules
        ([ everyNodeSetting everyBrokerSetting ] ++ map (name: good.${name}.module) (lib.attrNames good));
      one = path: option: [{
        name = lib.showOption path;
        description = option.description or "";
        set = lib.any (sets path) every;
      }] ++ walk path (option.type.subOptions path);
      walk = path: tree: lib.concatLists (lib.mapAttrsToList (name: value:
        if value._type or "" == "option" then one (path ++ [ name ]) value else walk (path ++ [ name ]) value) tree);
    in
    walk [ "services" "bento" ] (nixos { }).options.services.bento;
}
