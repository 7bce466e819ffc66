{
  description = "two hosts, no inputs";
  outputs = { self }:
    let host = name: import ./mksystem.nix ({ hostName = name; } // import (./. + "/${name}.nix"));
    in { nixosConfigurations = { alpha = host "alpha"; beta = host "beta"; }; };
}
