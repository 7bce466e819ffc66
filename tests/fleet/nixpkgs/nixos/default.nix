# Stands in for <nixpkgs/nixos>: same arguments, same attributes.
{ configuration ? import <nixos-config>, system ? builtins.currentSystem }:

let
  module = if builtins.isFunction configuration then configuration { config = { }; lib = { }; pkgs = { }; } else configuration;
  nixos = import ../../utils/mksystem.nix ({ hostName = module.networking.hostName; } // module.demo);
in
{
  inherit (nixos) config;
  system = nixos.config.system.build.toplevel;
}
