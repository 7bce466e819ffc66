# A host of a fleet. What its owner writes is bento.nix; stand-ins take the places of nixpkgs and NixOS.
{ ... }:
{
  networking.hostName = "router";
  demo = import ./demo.nix // {
    module = package: import ./nixos/nixos.nix {
      modules = [ ./modules/node.nix ./bento.nix { services.bento.node.package = package; } ];
    };
  };
}
