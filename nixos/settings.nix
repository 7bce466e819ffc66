# What both modules need for `settings`: attributes that become the JSON which bento's programs read. Those are strict, so every
# key is an option with a type, and a misspelt one is found while the system is evaluated and not by a machine far away.
{ lib }:

let
  inherit (lib) mkOption types;
in
rec {
  # A key that may be left out: the program's own default holds then.
  optional = type: description: mkOption { type = types.nullOr type; default = null; inherit description; };

  # A module that does nothing until it is asked to, and its programs.
  enable = description: mkOption { type = types.bool; default = false; inherit description; };
  package = pkgs: mkOption {
    type = types.package;
    default = pkgs.callPackage ./package.nix { };
    defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
    description = "The package with bento's programs.";
  };

  orDefault = value: default: if value != null then value else default;
  withoutNull = value:
    if builtins.isAttrs value then lib.mapAttrs (_: withoutNull) (lib.filterAttrs (_: v: v != null) value)
    else if builtins.isList value then map withoutNull value
    else value;

  # The file, which the program itself has read: what it would refuse does not become part of a system.
  configFile = pkgs: name: check: settings:
    let json = (pkgs.formats.json { }).generate name (withoutNull settings); in
    if !pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform then json
    else pkgs.runCommand name { inherit json; } ''
      cp "$json" "$out"
      ${check} --check-config --config "$out"
    '';

  # A path on the machine: a string, since Nix would copy what a path of its own names into the store, for all to read.
  absolute = types.strMatching "/[^\n]*";
  seconds = types.ints.between 1 86400;
  fleetId = types.strMatching "[0-9a-f]{64}";
  publicKey = types.strMatching "(sk-)?ssh-ed25519(@openssh.com)? [A-Za-z0-9+/=]+( [^\n]*)?";

  # Whom both believe.
  trust = {
    fleet = optional fleetId "The fleet's id, 64 hexadecimal digits, as `bento init` wrote it into fleet.nix.";
    signers = mkOption {
      type = types.listOf publicKey;
      default = [ ];
      description = "Public key lines of the admins who may sign a release.";
    };
    threshold = optional (types.ints.between 1 4) "How many of them must sign a release (1).";
    require_pin = optional types.bool "Whether a signature made with a FIDO token counts only if its PIN was asked for.";
  };

  trustAssertions = name: settings: [
    {
      assertion = settings.signers != [ ];
      message = "${name}.settings.signers names nobody: put the public key line of each admin there.";
    }
    {
      assertion = settings.threshold == null || settings.threshold <= builtins.length settings.signers;
      message = "${name}.settings.threshold asks for more signatures than there are signers.";
    }
  ];

  # The mount point that holds a folder: the longest one that is above it.
  mountOf = fileSystems: folder:
    let
      above = lib.filter (point: point == "/" || folder == point || lib.hasPrefix "${point}/" folder)
        (lib.attrNames fileSystems);
      longer = a: b: if builtins.stringLength b > builtins.stringLength a then b else a;
    in
    fileSystems.${builtins.foldl' longer "/" above} or { fsType = "unknown"; };

  # State that a restart forgets.
  persistent = name: fileSystems: folder: {
    assertion = !(lib.elem (mountOf fileSystems folder).fsType [ "tmpfs" "ramfs" ]);
    message = "${name}: ${folder} lies in a file system in memory, and what bento keeps there must survive a restart: make it "
      + "persistent (fileSystems, or what your configuration has for that), or name another folder in settings.state.";
  };

  # What a program of bento needs of systemd, whatever it does: nobody is there to start it again.
  service = {
    Type = "notify";
    Restart = "always";
    RestartSec = 2;
    WatchdogSec = 60;
    TimeoutStopSec = 30; # a switch waits for it
    UMask = "0077";
  };

  # What none of them needs of the kernel.
  confined = {
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    NoNewPrivileges = true;
    PrivateDevices = true;
    PrivateTmp = true;
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    RestrictNamespaces = true;
    RestrictRealtime = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
  };
}
