{ lib, ... }:
let
  # Whoever looks for leaks wants to trace the program, which its unit forbids; and a watchdog that bites soon.
  watched = { environment.ASAN_OPTIONS = "detect_leaks=0"; serviceConfig.WatchdogSec = lib.mkForce 10; };
in
{
  services.bento.node = {
    enable = true;
    bootstrap = ./router.bootstrap.json;
    # Short windows, for tests.
    settings = { confirm_seconds = 20; switch_seconds = 40; return_seconds = 30; poll_seconds = 20; tick_seconds = 2; };
  };
  systemd.services.bento-apply = watched;
  systemd.services.bento-node = watched;
}
