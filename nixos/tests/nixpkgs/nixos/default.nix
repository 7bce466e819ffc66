# Stands in for <nixpkgs/nixos> in the virtual machines, which have no network to fetch nixpkgs from and little memory to
# evaluate it: a host's configuration names a whole system, and what is built is a copy of that under a path of its own.
{ configuration ? import <nixos-config> }:

let
  original = builtins.storePath configuration.system;
  tools = map builtins.storePath configuration.tools;
in
{
  system = derivation {
    # Of the same length, so that the path can be replaced inside of programs, too.
    name = builtins.substring 33 (-1) (baseNameOf (builtins.unsafeDiscardStringContext original));
    system = builtins.currentSystem;
    builder = "${builtins.head tools}/bin/bash";
    PATH = builtins.concatStringsSep ":" (map (tool: "${tool}/bin") tools);
    inherit original;
    args = [ "-euc" ''
      cp -a "$original" "$out"
      chmod -R u+w "$out"
      find "$out" -type f -exec sed -i "s|$original|$out|g" {} +
      echo "${configuration.text}" >"$out/release"
    '' ];
  };
}
