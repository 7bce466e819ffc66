# A system with the shape of NixOS and without nixpkgs, from the machine's own /bin/sh and coreutils (sandbox = false).
#
# mode: what goes wrong. ok, eval-error, build-error; in the switch fail-check, fail-boot, fail, fail-units; after the switch
# hang, cut-net, blackhole, kill-agent. delay: seconds a build takes. bento: whether the system brings bento-apply. stamp: the
# builder notes when it is done, for the benchmark.
{ hostName, mode ? "ok", text ? "", delay ? 0, stamp ? false, kernel ? "6.6.1", bento ? true, interface ? "systemd 3" }:

let
  system = "x86_64-linux";
  run = name: arguments: script: derivation ({
    inherit name system;
    builder = "/bin/sh";
    args = [ "-euc" script ];
    PATH = "/usr/bin:/bin";
    preferLocalBuild = true;
  } // arguments);

  linux = run "linux-${kernel}" { inherit kernel; } ''
    mkdir -p $out/lib/modules/$kernel
    echo "kernel $kernel" >$out/bzImage
  '';
  initrd = run "initrd-linux-${kernel}" { inherit kernel; } ''
    mkdir -p $out
    echo "initrd $kernel" >$out/initrd
  '';
  etc = run "etc" {
    inherit hostName text;
    unit = ''
      [Unit]
      Description=demo of ${hostName}: ${text}
      X-StopIfChanged=false
      [Service]
      Type=oneshot
      RemainAfterExit=yes
      ExecStart=/bin/true
    '';
  } ''
    mkdir -p $out/etc/systemd/system
    echo "$hostName" >$out/etc/hostname
    echo "$text" >$out/etc/motd
    printf %s "$unit" >$out/etc/systemd/system/demo.service
  '';

  toplevel = run "nixos-system-${hostName}-24.05.test" {
    inherit linux initrd etc hostName mode kernel interface;
    switch = builtins.readFile ./switch-to-configuration;
    activate = builtins.readFile ./activate;
    passAsFile = [ "switch" "activate" ];
    delay = toString delay;
    withBento = if bento then "1" else "";
    stamp = if stamp then "1" else "";
  } ''
    if [ "$mode" = build-error ]; then echo "demo.c:1: compile error on purpose" >&2; exit 3; fi
    if [ "$delay" != 0 ]; then sleep "$delay"; fi
    mkdir -p $out/bin $out/sw/bin $out/specialisation $out/bento-test
    cp "$switchPath" $out/bin/switch-to-configuration
    cp "$activatePath" $out/activate
    printf '#!/bin/sh\nexec /bin/true\n' >$out/init
    chmod +x $out/bin/switch-to-configuration $out/activate $out/init
    ln -s $linux/bzImage $out/kernel
    ln -s $linux $out/kernel-modules
    ln -s $initrd/initrd $out/initrd
    ln -s $etc/etc $out/etc
    printf 24.05.test >$out/nixos-version
    printf x86_64-linux >$out/system
    printf %s "$interface" >$out/init-interface-version
    printf loglevel=4 >$out/kernel-params
    echo "$hostName" >$out/bento-test/host
    echo "$mode" >$out/bento-test/mode
    if [ -n "$withBento" ]; then
      for program in bento-apply bento-node; do ln -s /opt/bento/bin/$program $out/sw/bin/$program; done
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
