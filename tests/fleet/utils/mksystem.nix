# A system with the shape of NixOS and without nixpkgs, from the machine's own /bin/sh and coreutils (sandbox = false).
{ hostName
  # What goes wrong. ok, eval-error, build-error; in the switch fail-check, fail-boot, fail, fail-units; after the switch hang,
  # cut-net, blackhole, kill-agent; after a boot boot-blackhole.
, mode ? "ok"
, text ? ""
  # Seconds that a build takes, and that the activation takes.
, delay ? 0
, activationSeconds ? 0
  # The builder notes when it is done, for the benchmark.
, stamp ? false
, kernel ? "6.6.1"
, kernelKiB ? 0 # its size
, interface ? "systemd 3"
  # Which bento it brings: true; false, none; "broken", whose bento-apply passes the preflight check and does not start;
  # "future", which writes a journal of another version. Another bentoTag is another store path, as after an upgrade.
, bento ? true
, bentoTag ? "0.1.0"
  # /etc/bento/node.json as the system brings it, as attributes; null: the machine's own file stays.
, etcConfig ? null
  # bento as the NixOS modules have it: package -> what tests/nixos/nixos.nix makes of them; null: with the units below.
, module ? null
  # More units: name = "shell command"; a oneshot service each.
, units ? { }
  # Users that its activation makes; a system without them removes them.
, users ? [ ]
  # Child systems: name = { arguments of this function that differ }.
, specialisation ? { }
  # What must not change in a switch: name = "value".
, inhibitors ? { }
  # Where the switch waits for /run/bento-test/go: "test", "boot" (after the profile was set), "revert".
, hold ? ""
}@arguments:

let
  system = "x86_64-linux";
  run = name: more: script: derivation ({
    inherit name system;
    builder = "/bin/sh";
    args = [ "-euc" script ];
    PATH = "/usr/bin:/bin";
    preferLocalBuild = true;
  } // more);

  linux = run "linux-${kernel}" { inherit kernel; } ''
    mkdir -p $out/lib/modules/$kernel
    { echo "kernel $kernel"; head -c ${toString (kernelKiB * 1024)} /dev/zero; } >$out/bzImage
  '';
  initrd = run "initrd-linux-${kernel}" { inherit kernel; } ''
    mkdir -p $out
    echo "initrd $kernel" >$out/initrd
  '';

  # Copies, so that a system's own bento is one thing and that of the machine another. Where the tests of the admin's side run
  # there is none to copy.
  programs = run "bento-${bentoTag}" { kind = toString bento; } ''
    mkdir -p $out/bin $out/libexec
    take() {
      if [ -x "/opt/bento/bin/$1" ]; then cp "/opt/bento/bin/$1" "$2"; else ln -s "/opt/bento/bin/$1" "$2"; fi
    }
    take bento-node $out/bin/bento-node
    case $kind in
    broken)
      take bento-apply $out/libexec/bento-apply
      cat >$out/bin/bento-apply <<SCRIPT
    #!/bin/sh
    case " \$* " in *" selfcheck "*) exec $out/libexec/bento-apply "\$@" ;; esac
    echo "broken on purpose" >&2
    exit 1
    SCRIPT
      chmod +x $out/bin/bento-apply
      ;;
    future) take bento-apply-future $out/bin/bento-apply ;;
    *) take bento-apply $out/bin/bento-apply ;;
    esac
  '';

  service = description: unit: lines: ''
    [Unit]
    Description=${description}
    ${unit}
    [Service]
    ${lines}
  '';
  oneshot = name: command: service "${name} of ${hostName}" "X-StopIfChanged=false" ''
    Type=oneshot
    RemainAfterExit=yes
    ExecStart=/bin/sh -c '${command}'
  '';
  # As the NixOS module has them: restarted in one go, so that a switch that dies in the middle has stopped neither, without a
  # limit of restarts, since nobody is there to start them again, and also when only their configuration is another one.
  restartTrigger = if nodeConfig == null then "" else "X-Restart-Triggers=${nodeConfig}";
  bentoService = program: unit: lines: service program ''
    ConditionPathExists=/etc/bento/node.json
    StartLimitIntervalSec=0
    X-StopIfChanged=false
    ${restartTrigger}
    ${unit}'' ''
    Type=notify
    ExecStart=${programs}/bin/${program} --config /etc/bento/node.json
    ${lines}
    Restart=always
    RestartSec=1s
    WatchdogSec=10
    TimeoutStopSec=15
  '';
  bentoServices = {
    # Before everything that may need a secret, and again in a switch, after the users have come.
    bento-secrets = service "bento-secrets" ''
      DefaultDependencies=no
      After=local-fs.target
      Before=basic.target
      ConditionPathExists=/etc/bento/node.json
      X-StopIfChanged=false'' ''
      Type=oneshot
      RemainAfterExit=yes
      ExecStart=${programs}/bin/bento-apply --config /etc/bento/node.json secrets'';
    bento-apply = bentoService "bento-apply" "" "PrivateNetwork=yes";
    bento-node = bentoService "bento-node" "After=bento-apply.service" "User=bento-node";
  };
  rendered = module programs;
  renderedServices = builtins.listToAttrs (map (unit: {
    name = builtins.replaceStrings [ ".service" ] [ "" ] unit;
    value = rendered.units.${unit};
  }) (builtins.attrNames rendered.units));
  services = { demo = oneshot "demo" ": ${text}"; }
    // builtins.mapAttrs oneshot units
    // (if bento == false then { } else if module != null then renderedServices else bentoServices);

  # A store path of its own, as on NixOS: the same for all systems that have the same configuration.
  nodeConfig =
    let text = if module != null then rendered.etc."bento/node.json" or "" else builtins.toJSON etcConfig; in
    if text == "" || text == "null" then null else builtins.toFile "node.json" text;
  etc = run "etc" ({
    inherit hostName text;
    names = builtins.attrNames services;
    config = if nodeConfig == null then "" else nodeConfig;
    tmpfiles = if module == null then "" else builtins.concatStringsSep "\n" rendered.tmpfiles;
  } // builtins.listToAttrs (map (name: { name = "unit_" + builtins.replaceStrings [ "-" ] [ "_" ] name; value = services.${name}; })
    (builtins.attrNames services))) ''
    units=$out/etc/systemd/system
    mkdir -p $units/multi-user.target.wants
    echo "$hostName" >$out/etc/hostname
    echo "$text" >$out/etc/motd
    for name in $names; do
      variable=unit_$(echo "$name" | tr - _)
      eval "printf '%s' \"\$$variable\"" >$units/$name.service
      ln -s ../$name.service $units/multi-user.target.wants/
    done
    if [ -n "$config" ]; then
      mkdir $out/etc/bento
      ln -s "$config" $out/etc/bento/node.json
    fi
    if [ -n "$tmpfiles" ]; then
      mkdir $out/etc/tmpfiles.d
      echo "$tmpfiles" >$out/etc/tmpfiles.d/bento.conf
    fi
  '';

  child = name: changed: (import ./mksystem.nix (arguments // { specialisation = { }; } // changed)).config.system.build.toplevel;

  toplevel = run "nixos-system-${hostName}-24.05.test" {
    inherit linux initrd etc hostName mode kernel interface hold;
    switch = builtins.readFile ./switch-to-configuration;
    activate = builtins.readFile ./activate;
    passAsFile = [ "switch" "activate" ];
    delay = toString delay;
    activationSeconds = toString activationSeconds;
    users = toString users;
    bento = if bento == false then "" else programs;
    inhibitors = builtins.toJSON inhibitors;
    children = map (name: "${name}=${child name specialisation.${name}}") (builtins.attrNames specialisation);
    stamp = if stamp then "1" else "";
  } ''
    if [ "$mode" = build-error ]; then echo "demo.c:1: compile error on purpose" >&2; exit 3; fi
    if [ "$delay" != 0 ]; then sleep "$delay"; fi
    mkdir -p $out/bin $out/sw/bin $out/specialisation $out/bento-test
    cp "$switchPath" $out/bin/switch-to-configuration
    cp "$activatePath" $out/activate
    # Stage 2 of a boot: called by the boot loader (tests/lab/boot.sh), ends as systemd.
    cat >$out/init <<SCRIPT
    #!/bin/sh
    ln -sfn $out /run/booted-system
    $out/activate
    exec /lib/systemd/systemd "\$@"
    SCRIPT
    chmod +x $out/bin/switch-to-configuration $out/activate $out/init
    ln -s $linux/bzImage $out/kernel
    ln -s $linux $out/kernel-modules
    ln -s $initrd/initrd $out/initrd
    ln -s $etc/etc $out/etc
    printf 24.05.test >$out/nixos-version
    printf x86_64-linux >$out/system
    printf %s "$interface" >$out/init-interface-version
    printf loglevel=4 >$out/kernel-params
    printf %s "$inhibitors" >$out/switch-inhibitors
    echo "$hostName" >$out/bento-test/host
    echo "$mode" >$out/bento-test/mode
    echo "$hold" >$out/bento-test/hold
    echo "$activationSeconds" >$out/bento-test/activation-seconds
    echo "$users" >$out/bento-test/users
    for child in $children; do ln -s "''${child#*=}" "$out/specialisation/''${child%%=*}"; done
    if [ -n "$bento" ]; then
      for program in bento-apply bento-node; do ln -s $bento/bin/$program $out/sw/bin/$program; done
    fi
    if [ -n "$stamp" ]; then date +%s.%N >/run/bento-test/built; fi
  '';
in
if mode == "eval-error" then throw "${hostName}: evaluation error on purpose" else {
  config = {
    networking.hostName = hostName;
    system.build.toplevel = toplevel;
  };
}
