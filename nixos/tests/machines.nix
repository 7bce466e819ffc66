# The machines of the tests, and what their test scripts call.
{ lib, pkgs }:

let
  repository = import ./repository.nix;
  secret = name: { text = builtins.readFile (./keys + "/${name}"); mode = "0600"; };
  # What a host's configuration.nix needs to copy a system.
  tools = [ pkgs.bash pkgs.coreutils pkgs.findutils pkgs.gnused ];

in
rec {
  # eth1 is the network of all; the number is the last of the address.
  common = number: {
    virtualisation.memorySize = 1024;
    virtualisation.additionalPaths = tools;
    networking.interfaces.eth1.ipv4.addresses = lib.mkForce [ { address = "192.168.1.${toString number}"; prefixLength = 24; } ];
    nix.nixPath = [ "nixpkgs=${./nixpkgs}" ];
    nix.settings.substituters = lib.mkForce [ ];
    nix.settings.experimental-features = [ "nix-command" "flakes" ];
  };

  # The server, which is the admin's machine as well.
  server = {
    imports = [ (common 250) ../broker.nix ];
    services.bento.broker = { enable = true; fleet = ./repository.nix; };
    services.openssh.enable = true;
    environment.etc."ssh/ssh_host_ed25519_key" = secret "server";
    environment.etc."admin/id_ed25519" = secret "admin";
    environment.etc."admin/id_ed25519.pub".source = ./keys/admin.pub;
    environment.etc."fleet.nix".source = ./repository.nix;
    environment.etc."keys".source = ./keys;
    environment.systemPackages = [ pkgs.curl pkgs.git ];
  };

  # The way that all nodes have.
  ssh = { tunnel = "ssh"; host = "192.168.1.250"; inherit (repository.broker) host_key; };

  node = name: number: {
    imports = [ (common number) ../node.nix ];
    environment.etc."bento-test/identity" = secret "${name}.identity";
    systemd.tmpfiles.rules = [ "C /var/lib/bento/node/tunnel 0600 bento-node bento-node - ${./keys + "/${name}.tunnel"}" ];
    services.bento.node = {
      enable = true;
      settings = {
        inherit (repository) fleet signers;
        endpoints = lib.mkDefault [ ssh ];
        identity = "/etc/bento-test/identity";
        confirm_seconds = 60;
        return_seconds = 120;
      };
    };
    environment.systemPackages = [ pkgs.curl ];
  };

  script = ''
    import json

    TOOLS = "${toString tools}".split()


    def start(server, *nodes):
        for machine in [server, *nodes]:
            machine.start()
        for machine in [server, *nodes]:
            machine.wait_for_unit("multi-user.target")
            # What an installer does, and the driver has not done.
            machine.succeed("nix-env -p /nix/var/nix/profiles/system --set $(readlink -f /run/current-system)")
        server.wait_for_unit("bento-broker.service")
        server.succeed(
            "mkdir -p /root/.ssh /root/fleet/hosts",
            "cp -L /etc/admin/* /root/.ssh/ && chmod 600 /root/.ssh/id_ed25519",
            "cp -L /etc/fleet.nix /root/fleet/ && cp -rL /etc/keys /root/fleet/keys",
        )


    # What the host is from the next release on: a copy of the system. The text makes it another one.
    def host(server, name, system, text):
        tools = " ".join('"' + tool + '"' for tool in TOOLS)
        server.succeed(f"mkdir -p /root/fleet/hosts/{name}")
        server.succeed(
            f"echo '{{ system = \"{system}\"; text = \"{text}\"; tools = [ {tools} ]; }}'"
            f" >/root/fleet/hosts/{name}/configuration.nix"
        )


    def deploy(server, status, arguments="--wait=300"):
        code, said = server.execute(f"bento-pub -C /root/fleet {arguments} 2>&1", timeout=900)
        assert code == status, f"bento-pub ended with {code}, not {status}: {said}"


    def shown(server, name):
        nodes = json.loads(server.execute("bento-status -C /root/fleet --json")[1])["nodes"]
        return next(node for node in nodes if node["name"] == name)


    def release(machine):
        return machine.execute("cat /run/current-system/release")[1].strip()


    def consistent(machine):
        machine.succeed("test $(readlink -f /run/current-system) = $(readlink -f /nix/var/nix/profiles/system)")

  '';
}
