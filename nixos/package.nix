# bento's programs and man pages. Without flakes:  pkgs.callPackage (bento + "/nixos/package.nix") { }
{ lib
, stdenv
, cmake
, cmocka
, jansson
, libsodium
, msgpack-c
, ninja
, nng
, openssh
, pkg-config
, sqlite
, util-linux
  # Also builds the tests, and runs those that need nothing of the machine.
, withTests ? false
}:

let
  needed = [ "CMakeLists.txt" "LICENSE" "README.md" "broker" "nixos/template" "node" "proto" ] ++ lib.optional withTests "tests";
  root = toString ../. + "/";
  # What is needed, what is in it, and the folders above it.
  isNeeded = path: lib.any (each: path == each || lib.hasPrefix "${each}/" path || lib.hasPrefix "${path}/" each) needed;
in
stdenv.mkDerivation {
  pname = "bento";
  version = builtins.head (builtins.match ".*project\\(bento VERSION ([0-9.]+) .*" (builtins.readFile ../CMakeLists.txt));

  src = builtins.path {
    name = "bento-source";
    path = ../.;
    filter = path: _: isNeeded (lib.removePrefix root (toString path));
  };

  strictDeps = true;
  nativeBuildInputs = [ cmake ninja pkg-config ];
  buildInputs = [ jansson libsodium msgpack-c nng sqlite util-linux ] ++ lib.optional withTests cmocka;
  nativeCheckInputs = [ openssh ];
  cmakeFlags = [ "-DBENTO_TESTS=${if withTests then "ON" else "OFF"}" ];

  doCheck = withTests;
  checkPhase = ''
    runHook preCheck
    ctest --output-on-failure -j "$NIX_BUILD_CORES" -L '^(unit|sim)$'
    runHook postCheck
  '';

  # The programs are not wrapped: a node compares the executable that runs with the one of its system.
  meta = {
    description = "Keeps a fleet of NixOS machines up to date: signed releases, trials, and a way back";
    license = lib.licenses.mit;
    platforms = lib.platforms.linux;
    mainProgram = "bento";
  };
}
