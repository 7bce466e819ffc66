{
  description = "Keeps a fleet of NixOS machines up to date: signed releases, trials, and a way back";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      forEach = systems: make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      forAll = forEach [ "x86_64-linux" "aarch64-linux" ];
      package = pkgs: pkgs.callPackage ./nixos/package.nix { };
      # The modules take the package of this flake, whatever nixpkgs the machine has.
      withPackage = module: { pkgs, ... }: {
        imports = [ module ];
        nixpkgs.overlays = [ self.overlays.default ];
      };
    in
    {
      packages = forAll (pkgs: { default = package pkgs; });
      overlays.default = final: _: { bento = package final; };

      nixosModules = {
        node = ./nixos/node.nix;
        broker = ./nixos/broker.nix;
        default = { imports = [ ./nixos/node.nix ./nixos/broker.nix ]; };
      };

      templates.default = {
        path = ./nixos/template;
        description = "A fleet's repository, as `bento init` writes it";
      };

      # script/demo and script/test find everything here.
      devShells = forAll (pkgs: { default = pkgs.callPackage ./nixos/shell.nix { bento = package pkgs; }; });

      checks = forAll (pkgs: { unit = pkgs.callPackage ./nixos/unit.nix { bento = package pkgs; }; }
        // lib.optionalAttrs pkgs.stdenv.hostPlatform.isx86_64 (import ./nixos/tests { inherit pkgs; bento = package pkgs; }));
    };
}
