# Stands in for NixOS around a service's module: the options that ours set, and what NixOS makes of them. Evaluates, like NixOS,
# only what is asked for.
#
#   { modules } -> config, options,
#                  units     name.service = text of the unit
#                  etc       path below /etc = text, or where the file is
#                  tmpfiles  lines of tmpfiles.d(5)
#                  sshd      text of sshd_config
#                  failed    messages of assertions that do not hold, NixOS' own among them
{ lib ? import ./lib.nix
, pkgs ? import ./pkgs.nix { inherit lib; }
, modules
, nodes ? { } # the other machines, in a test
}:

let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  texts = option (types.listOf types.str) [ ];
  free = option (types.attrsOf types.anything) { };
  switch = option types.bool false;
  section = with types; let one = oneOf [ bool int str path package ]; in option (attrsOf (nullOr (either one (listOf one)))) { };

  service = types.submodule {
    options = {
      description = option types.str "";
      wantedBy = texts;
      wants = texts;
      after = texts;
      before = texts;
      unitConfig = section;
      startLimitIntervalSec = option (types.nullOr types.int) null;
      restartTriggers = option (types.listOf types.unspecified) [ ];
      restartIfChanged = option types.bool true;
      stopIfChanged = option types.bool true;
      environment = option (types.attrsOf (types.nullOr (types.oneOf [ types.str types.path types.package ]))) { };
      path = option (types.listOf types.package) [ ];
      serviceConfig = section;
    };
  };
  user = types.submodule {
    options = {
      isSystemUser = switch;
      isNormalUser = switch;
      group = option types.str "";
      description = option types.str "";
      openssh.authorizedKeys.keys = texts;
    };
  };
  group = types.submodule { options.members = texts; };
  file = types.submodule {
    options = {
      text = option (types.nullOr types.lines) null;
      source = option (types.nullOr types.path) null;
      mode = option types.str "symlink";
    };
  };

  nixos = {
    options = {
      assertions = option (types.listOf types.unspecified) [ ];
      warnings = texts;
      systemd.services = option (types.attrsOf service) { };
      systemd.tmpfiles.rules = texts;
      users.users = option (types.attrsOf user) { };
      users.groups = option (types.attrsOf group) { };
      environment.etc = option (types.attrsOf file) { };
      environment.systemPackages = option (types.listOf types.package) [ ];
      environment.sessionVariables = free;
      fileSystems = option (types.attrsOf (types.submodule { options.fsType = option types.str "auto"; })) { };
      networking.firewall = free;
      networking.hostName = option types.str "nixos";
      networking.interfaces = free;
      boot = free;
      virtualisation = free;
      system.build = option types.unspecified { toplevel = "/nix/store/00000000000000000000000000000000-nixos-system"; };
      nix.nixPath = texts;
      nix.package = option types.package pkgs.nix;
      nix.settings = free;
      system.activationScripts = option (types.attrsOf types.unspecified) { };
      system.autoUpgrade.enable = switch;
      services.openssh = {
        enable = switch;
        package = option types.package pkgs.openssh;
        ports = option (types.listOf types.port) [ 22 ];
        settings = free;
        extraConfig = option types.lines "";
      };
      services.tor = {
        enable = switch;
        client.enable = switch;
        relay.onionServices = free;
        settings = free;
      };
      services.harmonia = { enable = switch; signKeyPaths = texts; settings = free; };
      services.nix-serve = {
        enable = switch;
        bindAddress = option types.str "0.0.0.0";
        port = option types.port 5000;
        secretKeyFile = option (types.nullOr types.str) null;
      };
    };
  };

  evaluated = lib.evalModules { modules = [ nixos { _module.args = { inherit pkgs nodes; }; } ] ++ modules; };
  inherit (evaluated) config;

  # ---- units ----

  word = value: if value == true then "true" else if value == false then "false" else toString value;
  lines = settings: lib.concatMapStrings (key:
    let value = settings.${key}; in
    if value == null then ""
    else lib.concatMapStrings (each: "${key}=${word each}\n") (if builtins.isList value then value else [ value ]))
    (lib.attrNames settings);
  list = key: values: lib.optionalAttrs (values != [ ]) { ${key} = toString values; };
  unit = service: ''
    [Unit]
    ${lines (list "Description" (lib.optional (service.description != "") service.description) // list "Wants" service.wants
      // list "After" service.after // list "Before" service.before // list "X-Restart-Triggers" service.restartTriggers // service.unitConfig
      // lib.optionalAttrs (service.startLimitIntervalSec != null) { StartLimitIntervalSec = service.startLimitIntervalSec; })}
    [Service]
    Environment="PATH=${lib.makeBinPath (service.path ++ pkgs.systemPath)}"
    ${lib.concatMapStrings (name: lib.optionalString (service.environment.${name} != null)
      ''Environment="${name}=${toString service.environment.${name}}"
      '') (lib.attrNames service.environment)}${lines (lib.optionalAttrs (!service.restartIfChanged) { X-RestartIfChanged = false; }
      // lib.optionalAttrs (!service.stopIfChanged) { X-StopIfChanged = false; } // service.serviceConfig)}
    [Install]
    ${lines (list "WantedBy" service.wantedBy)}'';

  # ---- sshd ----

  keyFiles = lib.mapAttrs' (name: user: lib.nameValuePair "ssh/authorized_keys.d/${name}"
    (lib.concatMapStrings (key: key + "\n") user.openssh.authorizedKeys.keys))
    (lib.filterAttrs (_: user: user.openssh.authorizedKeys.keys != [ ]) config.users.users);
  sshd = lib.concatMapStrings (port: "Port ${toString port}\n") config.services.openssh.ports + ''
    AuthorizedKeysFile %h/.ssh/authorized_keys /etc/ssh/authorized_keys.d/%u
    HostKey /etc/ssh/ssh_host_ed25519_key
  '' + lib.concatMapStrings (key: "${key} ${let value = config.services.openssh.settings.${key}; in
      if value == true then "yes" else if value == false then "no" else toString value}\n")
    (lib.attrNames config.services.openssh.settings) + config.services.openssh.extraConfig;

  # ---- what NixOS asserts itself ----

  own = lib.mapAttrsToList (name: user: {
    assertion = user.isSystemUser != user.isNormalUser && user.group != "" && config.users.groups ? ${user.group};
    message = "users.users.${name} must be either a system user or a normal one, of a group that is in users.groups";
  }) config.users.users;
in
{
  inherit config sshd;
  inherit (evaluated) options;
  units = lib.mapAttrs' (name: service: lib.nameValuePair "${name}.service" (unit service)) config.systemd.services;
  etc = lib.mapAttrs (_: file: if file.text != null then file.text else file.source.text or (toString file.source))
    config.environment.etc // keyFiles;
  tmpfiles = config.systemd.tmpfiles.rules;
  failed = map (each: each.message) (lib.filter (each: !each.assertion) (config.assertions ++ own));
}
