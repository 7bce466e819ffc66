# A machine is enrolled while it runs, and reaches its broker through an onion service, in a Tor network of our own that lives on
# the server.
{ lib, pkgs, ... }:

let
  machines = import ./machines.nix { inherit lib pkgs; };
  # Who the authority is shows when its keys are made. (Tor's unit sees little of /etc.)
  tor = {
    services.tor.enable = true;
    services.tor.settings."%include" = "/etc/tor-network/*.conf";
    systemd.services.tor.serviceConfig.BindReadOnlyPaths = [ "/etc/tor-network" ];
    systemd.tmpfiles.rules = [ "d /etc/tor-network 0755 root root -" ];
  };
in
{
  name = "bento-tor";
  nodes = {
    server = { nodes, ... }: {
      imports = [ machines.server tor ];
      services.bento.broker.onion.enable = true;
      networking.firewall.enable = false; # the relays
      environment.systemPackages = [ pkgs.tor pkgs.python3 ];
      environment.etc."tor.sh".source = ../../tests/lab/tor.sh;
      virtualisation.additionalPaths = [ nodes.delta.system.build.toplevel ];
    };
    delta = {
      imports = [ (machines.common 14) ../node.nix tor ];
      services.bento.node.enable = true;
      services.tor.client.enable = true;
    };
  };

  testScript = { nodes, ... }: machines.script + ''
    start(server, delta)
    server.succeed(
        "mkdir -p /tmp/lab",
        "cat >/tmp/network.sh <<'SH'\n"
        "LAB=/tmp/lab lab_hub=192.168.1.250\n"
        "wait_for() { n=$1; shift 2; until \"$@\"; do n=$((n - 1)); [ $n != 0 ] || return 1; sleep 1; done; }\n"
        ". /etc/tor.sh\n"
        "SH",
        "bash -ec '. /tmp/network.sh; tor_make 23686; echo \"$tor_authority\" >/tmp/lab/authority; tor_start' >/tmp/tor.log 2>&1",
    )
    server.wait_until_succeeds("bash -c '. /tmp/network.sh; tor_consensus_is_full && tor_relays_know_each_other'", timeout=300)
    authority = server.succeed("cat /tmp/lab/authority")
    for machine in [server, delta]:
        machine.succeed(
            "cat >/etc/tor-network/network.conf <<'CONF'\n"
            "TestingTorNetwork 1\nVanguardsLiteEnabled 0\nPathsNeededToBuildCircuits 0.67\n"
            f"{authority}CONF"
        )
        machine.succeed("systemctl restart tor")
    server.wait_until_succeeds("test -s /var/lib/tor/onion/bento/hostname")
    onion = server.succeed("cat /var/lib/tor/onion/bento/hostname").strip()

    # A fleet of one, whose only way is the onion service.
    server.succeed(f"sed -i 's|ssh://192.168.1.250|tor://{onion}|; /^  nodes = /d' /root/fleet/fleet.nix")
    keys = delta.succeed("bento-apply keys")
    host(server, "delta", "${nodes.delta.system.build.toplevel}", "through Tor")
    server.succeed(f"bento -C /root/fleet add-host delta --keys - <<'KEYS'\n{keys}KEYS")
    bootstrap = server.succeed("cat /root/fleet/delta.bootstrap.json")
    delta.succeed(f"cat >/root/bootstrap.json <<'JSON'\n{bootstrap}JSON")
    delta.succeed("bento-apply bootstrap /root/bootstrap.json && systemctl start bento-apply bento-node")

    delta.wait_until_succeeds("journalctl -u bento-node | grep -q 'subscription up'", timeout=300)
    deploy(server, 0, "--wait=600 delta")
    assert release(delta) == "through Tor"
  '';
}
