# What every host of the fleet imports: bento, and what it has to know of the fleet. A host links
# this folder (utils -> ../../utils) and imports ./utils/bento.nix; links are followed when a host's
# files are packed.
{ ... }:
let
  # Where bento's NixOS module comes from, pinned, for example
  #   builtins.fetchTarball { url = "https://…/bento.tar.gz"; sha256 = "…"; }
  # (`nix-prefetch-url --unpack URL` prints the hash).
  bento = throw "utils/bento.nix does not say yet where bento's sources come from: set bento there";
in
{
  # A flake that has bento among its inputs lists bento.nixosModules.node itself: then drop this
  # line, and `bento` above.
  imports = [ "${bento}/nixos/node.nix" ];

  services.bento.node = {
    enable = true;
    # Fleet, signers, ways to the broker. The file follows fleet.nix: bento writes it.
    bootstrap = ./node.json;
  };
}
