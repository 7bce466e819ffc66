{
  description = "Keeps a fleet of NixOS machines up to date: signed releases, trials, and a way back";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      each = make: nixpkgs.lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (pkgs: { default = pkgs.callPackage ./nixos/package.nix { }; });
      # (nixpkgs has another program of the name bento.)
      overlays.default = final: _: { bento-fleet = final.callPackage ./nixos/package.nix { }; };

      nixosModules = {
        node.imports = [ ./nixos/node.nix ];
        broker.imports = [ ./nixos/broker.nix ];
      };

      templates.default = {
        path = ./nixos/template;
        description = "The repository of a fleet, as `bento init` writes it";
      };

      devShells = each (pkgs: { default = pkgs.callPackage ./nixos/shell.nix { }; });

      checks = each (pkgs: {
        unit = pkgs.callPackage ./nixos/package.nix { withTests = true; };
      } // import ./nixos/tests { inherit pkgs; });
    };
}
