# The system as a whole in virtual machines, for `nix flake check` on a machine with KVM: real NixOS systems, whose configuration
# bento changes.
{ pkgs }:

builtins.mapAttrs (_: pkgs.testers.runNixOSTest) {
  fleet = ./fleet.nix;
  network = ./network.nix;
  power-cut = ./power-cut.nix;
  tor = ./tor.nix;
}
