# The power is cut while a new system has not proved yet that it can be reached: what boots is the old one.
{ lib, pkgs, ... }:

let
  machines = import ./machines.nix { inherit lib pkgs; };
  # From its own disk, as a boot loader finds it: what the driver boots otherwise is always the first system.
  fromDisk = {
    imports = [ (machines.node "alpha" 11) ];
    virtualisation.useBootLoader = true;
    virtualisation.useEFIBoot = true;
    boot.loader.systemd-boot.enable = true;
    boot.loader.timeout = 0;
  };
in
{
  name = "bento-power-cut";
  nodes = {
    server = { nodes, ... }: {
      imports = [ machines.server ];
      virtualisation.additionalPaths = map (node: node.system.build.toplevel) [ nodes.alpha nodes.alphacut ];
    };
    alpha = { nodes, ... }: {
      imports = [ fromDisk ];
      virtualisation.additionalPaths = [ nodes.alphacut.system.build.toplevel ];
    };
    # What alpha is to become, without an address and with a long window; never started.
    alphacut = {
      imports = [ fromDisk ];
      networking.interfaces.eth1.ipv4.addresses = lib.mkOverride 10 [ ];
      services.bento.node.settings.confirm_seconds = lib.mkForce 600;
    };
  };

  testScript = { nodes, ... }: machines.script + ''
    start(server, alpha)
    old = alpha.succeed("readlink -f /run/current-system")

    host(server, "alpha", "${nodes.alphacut.system.build.toplevel}", "cut")
    deploy(server, 0, "alpha")
    alpha.wait_until_succeeds("grep -qx cut /run/current-system/release", timeout=300)
    alpha.wait_until_succeeds("journalctl -u bento-apply | grep -q to=CONFIRMING", timeout=120)
    alpha.crash()
    alpha.start()
    alpha.wait_for_unit("bento-node.service")
    assert alpha.succeed("readlink -f /run/current-system") == old
    consistent(alpha)
    server.wait_until_succeeds("bento-status -C /root/fleet --json | grep -q rolled-back", timeout=300)
    assert alpha.succeed("readlink -f /run/current-system") == old
  '';
}
