# @name@. If the machine runs NixOS already: its /etc/nixos/hardware-configuration.nix belongs beside
# this file, and what its configuration.nix says into it.
{ ... }:
{
  imports = [
    # ./hardware-configuration.nix
    ./utils/bento.nix
  ];
  networking.hostName = "@name@";
  services.openssh.enable = true;
}
