{
  services.bento.node = {
    enable = true;
    bootstrap = ./router.bootstrap.json;
    # Short windows, for tests.
    settings = { confirm_seconds = 10; switch_seconds = 30; return_seconds = 30; poll_seconds = 20; tick_seconds = 2; };
  };
  # (Whoever looks for leaks wants to trace the program, which its unit forbids.)
  systemd.services.bento-apply.environment.ASAN_OPTIONS = "detect_leaks=0";
  systemd.services.bento-node.environment.ASAN_OPTIONS = "detect_leaks=0";
}
