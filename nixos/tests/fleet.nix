# Three nodes behind one broker: all get their release, one of them another, one that was off catches up, and bento changes its
# own configuration.
{ lib, pkgs, ... }:

let
  machines = import ./machines.nix { inherit lib pkgs; };
in
{
  name = "bento-fleet";
  nodes = {
    server = { nodes, ... }: {
      imports = [ machines.server ];
      virtualisation.additionalPaths =
        map (node: node.system.build.toplevel) [ nodes.alpha nodes.alphanext nodes.beta nodes.gamma ];
    };
    alpha = { nodes, ... }: {
      imports = [ (machines.node "alpha" 11) ];
      virtualisation.additionalPaths = [ nodes.alphanext.system.build.toplevel ];
    };
    beta.imports = [ (machines.node "beta" 12) ];
    gamma.imports = [ (machines.node "gamma" 13) ];
    # What alpha is to become; never started.
    alphanext = {
      imports = [ (machines.node "alpha" 11) ];
      services.bento.node.settings.page_port = 8042;
    };
  };

  testScript = { nodes, ... }: machines.script + ''
    start(server, alpha, beta, gamma)
    system = {
        "alpha": "${nodes.alpha.system.build.toplevel}",
        "beta": "${nodes.beta.system.build.toplevel}",
        "gamma": "${nodes.gamma.system.build.toplevel}",
    }

    with subtest("everybody gets the first release"):
        for name in system:
            host(server, name, system[name], "first")
        deploy(server, 0)
        for machine in [alpha, beta, gamma]:
            assert release(machine) == "first"
            consistent(machine)

    with subtest("one gets another"):
        host(server, "beta", system["beta"], "second")
        deploy(server, 0)
        assert [release(m) for m in [alpha, beta, gamma]] == ["first", "second", "first"]

    with subtest("one that was off catches up"):
        gamma.shutdown()
        host(server, "gamma", system["gamma"], "third")
        deploy(server, 0, "")
        gamma.start()
        gamma.wait_until_succeeds("grep -qx third /run/current-system/release", timeout=300)

    with subtest("bento changes its own configuration"):
        host(server, "alpha", "${nodes.alphanext.system.build.toplevel}", "fourth")
        deploy(server, 0, "--wait=300 alpha")
        alpha.succeed("curl -sf http://localhost:8042/status.json")
        consistent(alpha)

    with subtest("the broker is for those with a tunnel"):
        server.succeed("timeout 5 bash -c 'head -c 3 </dev/tcp/127.0.0.1/23687' | grep -q SP")
        beta.fail("timeout 5 bash -c ': </dev/tcp/192.168.1.250/23687'")
  '';
}
