# A fleet's server, as its owner writes it; fleet: the admin's fleet.nix.
{ fleet }:
import ./nixos.nix {
  modules = [
    ../../nixos/broker.nix
    {
      services.bento.broker = {
        enable = true;
        package = { outPath = "/opt/server"; };
        inherit fleet;
        settings.tick_seconds = 2; # short, for tests
      };
      services.openssh.enable = true;
      systemd.services.bento-broker.environment.ASAN_OPTIONS = "detect_leaks=0";
    }
  ];
}
