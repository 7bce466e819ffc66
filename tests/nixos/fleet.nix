# A fleet of its admin, for the modules' tests.
{
  fleet = "0101010101010101010101010101010101010101010101010101010101010101";
  signers = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c admin" ];
  broker = {
    endpoints = [ "ssh://bento-tunnel@broker.example.org" ];
    host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    admin = "/run/bento-broker/admin.sock";
    cache = { url = "http://127.0.0.1:5000"; key = "cache-1:AAAA"; forward = true; };
  };
  nodes.router.tags = [ "edge" ];
}
