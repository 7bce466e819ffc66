# A fleet's server, as its owner writes it; fleet: the admin's fleet.nix.
{ fleet }:
let
  lib = import ./lib.nix;
  # Whoever looks for leaks wants to trace the program, which its unit forbids; and a watchdog that bites soon.
  watched = { environment.ASAN_OPTIONS = "detect_leaks=0"; serviceConfig.WatchdogSec = lib.mkForce 10; };
in
import ./nixos.nix {
  modules = [
    ../../nixos/broker.nix
    {
      services.bento.broker = {
        enable = true;
        package = { outPath = "/opt/server"; };
        inherit fleet;
        cache.server = "files";
        settings.tick_seconds = 2; # short, for tests
      };
      services.openssh.enable = true;
      systemd.services.bento-broker = watched;
    }
  ];
}
