# A network configuration that cuts the node off comes back by itself.
{ lib, pkgs, ... }:

let
  machines = import ./machines.nix { inherit lib pkgs; };
in
{
  name = "bento-network";
  nodes = {
    server = { nodes, ... }: {
      imports = [ machines.server ];
      virtualisation.additionalPaths = map (node: node.system.build.toplevel) [ nodes.alpha nodes.alphacut ];
    };
    alpha = { nodes, ... }: {
      imports = [ (machines.node "alpha" 11) ];
      virtualisation.additionalPaths = [ nodes.alphacut.system.build.toplevel ];
    };
    # What alpha is to become, without an address; never started.
    alphacut = {
      imports = [ (machines.node "alpha" 11) ];
      networking.interfaces.eth1.ipv4.addresses = lib.mkOverride 10 [ ];
    };
  };

  testScript = { nodes, ... }: machines.script + ''
    start(server, alpha)
    host(server, "alpha", "${nodes.alpha.system.build.toplevel}", "good")
    deploy(server, 0, "--wait=300 alpha")
    good = alpha.succeed("readlink -f /run/current-system")

    host(server, "alpha", "${nodes.alphacut.system.build.toplevel}", "cut")
    deploy(server, 3, "--wait=300 alpha")
    status = shown(server, "alpha")
    assert status["state"] == "rolled-back", status
    assert status["code"] == "CONNECTIVITY", status
    assert alpha.succeed("readlink -f /run/current-system") == good
    consistent(alpha)
    alpha.succeed("ip address show eth1 | grep -q 192.168.1.11")

    # It is not tried again by itself, and the next one is taken.
    host(server, "alpha", "${nodes.alpha.system.build.toplevel}", "better")
    deploy(server, 0, "--wait=300 alpha")
    assert release(alpha) == "better"
  '';
}
