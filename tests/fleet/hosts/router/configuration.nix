{ ... }:
{
  networking.hostName = "router";
  demo = import ./demo.nix;
}
