# A fleet of NixOS machines, kept up to date by bento. Plain data: this file is evaluated alone.
{
  # The fleet's identity, made by `bento init`. Everything that is signed carries it; it never
  # changes.
  fleet = "@fleet@";

  # Who may sign a release: public key lines of the admins, ssh-ed25519 or (a token)
  # sk-ssh-ed25519@openssh.com. Once there are nodes, `bento signers` adds and retires keys without
  # locking out one that is off.
  signers = [
    # "ssh-ed25519 AAAA… you"   the line of ~/.ssh/id_ed25519.pub (ssh-keygen -t ed25519)
  ];
  # threshold = 2;       # how many of them must sign; default 1
  # expires_days = 90;   # after that a release is not installed any more

  broker = {
    # How the nodes reach the broker, tried in turn: ssh://user@host[:port], tor://….onion,
    # tcp://host
    endpoints = [ "ssh://bento-tunnel@broker.example.org" ];
    # The ssh host key of that server, one line:
    # ssh-keyscan -t ed25519 broker.example.org | cut -d' ' -f2-
    # host_key = "ssh-ed25519 AAAA…";
    # How you reach it: the socket on the server itself, or ssh://admin@broker.example.org
    admin = "/run/bento-broker/admin.sock";
    # host = "server";     # the node that the broker runs on, if it is one of the fleet
    # cache = { url = "http://127.0.0.1:5000"; key = "cache:AAAA…"; forward = true; };
  };

  # For every node, unless it says otherwise:
  defaults = {
    # tags = [ "home" ];
    # window = 180;              # seconds to prove that a new system reaches the broker
    # last_resort = "reboot";    # servers; "stay" for laptops
    # health = [ { command = [ "systemctl" "is-active" "sshd" ]; } ];
  };

  # `bento add-host NAME` enrols a node; its keys stand in nodes.json, all else may be said here.
  nodes = {
    # router = {
    #   tags = [ "edge" ];
    #   ssh = "root@192.168.1.1";    # for `bento ssh router`
    #   secrets.wifi = { file = "private/wifi"; mode = "0400"; };
    # };
  };
}
