# fleet.nix of the tests: three nodes and their server. The keys are everybody's.
let
  public = name: builtins.head (builtins.match "([^ ]* [^ ]*).*\n" (builtins.readFile (./keys + "/${name}.pub")));
  node = name: { key = public "${name}.identity"; tunnelKey = public "${name}.tunnel"; };
in
{
  fleet = "0202020202020202020202020202020202020202020202020202020202020202";
  signers = [ (public "admin") ];
  broker = {
    endpoints = [ "ssh://192.168.1.250" ];
    host_key = public "server";
    admin = "/run/bento-broker/admin.sock";
  };
  nodes = { alpha = node "alpha"; beta = node "beta"; gamma = node "gamma"; };
}
