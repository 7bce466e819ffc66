#!/bin/sh
# The flake, as Nix evaluates it with a stand-in for nixpkgs; what the tests in virtual machines would run, as far as it can be
# looked at without any; and the copies of systems that they deploy.
set -eu
if [ -z "${BENTO_FLAKE-}" ]; then
    command -v nix >/dev/null || { echo "skipped: nix is not installed"; exit 77; }
    [ -d /nix ] || { echo "skipped: there is no /nix"; exit 77; }
    own=
    [ "$(id -u)" = 0 ] || own='--user --map-root-user'
    # shellcheck disable=SC2086 # a list
    why=$(unshare $own --mount true 2>&1) || { echo "skipped: namespaces are refused: $why"; exit 77; }
    # shellcheck disable=SC2086 # a list
    BENTO_FLAKE=1 exec unshare $own --mount --propagation private sh "$0"
fi
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir "$work/nix"
mount --bind "$work/nix" /nix
unset NIX_REMOTE
export NIX_CONFIG='sandbox = false
build-users-group =
substituters =
flake-registry =
warn-dirty = false
experimental-features = nix-command flakes'

# ---- the flake ----

mkdir "$work/bento"
find flake.nix CMakeLists.txt LICENSE README.md broker node proto nixos tests/nixos tests/lab/tor.sh -type f |
    tar -c -T - | tar -x --no-same-owner -C "$work/bento"
# with_nixpkgs NIX-COMMAND…
with_nixpkgs() {
    nix "$@" --override-input nixpkgs "path:$work/bento/tests/nixos" --no-write-lock-file 2>"$work/said" && return
    cat "$work/said"
    return 1
}
output() {
    with_nixpkgs eval --raw "path:$work/bento#$1"
}
with_nixpkgs flake show "path:$work/bento" --json >"$work/outputs" || fail "nix flake show"
jq -r 'paths(type == "object" and has("type")) | join(" ")' "$work/outputs" | sort >"$work/shown"
{
    for system in aarch64-linux x86_64-linux; do
        printf '%s\n' "packages $system default" "devShells $system default"
        for check in unit fleet network power-cut tor; do echo "checks $system $check"; done
    done
    printf '%s\n' "nixosModules node" "nixosModules broker" "overlays default" "templates default"
} | sort >"$work/expected"
expect "its outputs are these" diff "$work/expected" "$work/shown"
expect "nix flake check" with_nixpkgs flake check "path:$work/bento" --no-build
expect "the package knows its version" \
    [ "$(output packages.x86_64-linux.default.version)" = "$(sed -n 's/^project(bento VERSION \([^ ]*\).*/\1/p' CMakeLists.txt)" ]
find CMakeLists.txt LICENSE README.md broker nixos/template node proto -type f | sort >"$work/needed"
source=$(output packages.x86_64-linux.default.src)
(cd "$source" && find . -type f | sed 's|^\./||' | sort) >"$work/source"
expect "its source is what it needs" diff "$work/needed" "$work/source"
# As nixpkgs does it: all folders are given, and absolute.
builds() {
    cmake -S "$source" -B "$work/build" -G Ninja -DBENTO_TESTS=OFF -DCMAKE_INSTALL_PREFIX="$work/out" \
        -DCMAKE_INSTALL_BINDIR="$work/out/bin" -DCMAKE_INSTALL_MANDIR="$work/out/share/man" \
        -DCMAKE_INSTALL_DOCDIR="$work/out/share/doc/bento" >"$work/said" 2>&1 &&
        cmake --build "$work/build" --target install >"$work/said" 2>&1 && return
    cat "$work/said"
    return 1
}
expect "and all that it needs" builds
"$work/out/bin/bento" init "$work/fleet" >"$work/said" 2>&1 || cat "$work/said"
expect "and bento init writes the template" [ -e "$work/fleet/fleet.nix" ]

# ---- the virtual machines' scripts ----

for test in fleet network power-cut tor; do
    output "checks.x86_64-linux.$test.script" >"$work/script.py" || fail "the script of $test"
    expect "the script of $test is Python" python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$work/script.py"
done

# ---- the systems that they deploy ----

mkdir -p "$work/original/bin" "$work/tools/bin"
for tool in bash cat chmod cp find sed; do ln -s "$(command -v "$tool")" "$work/tools/bin/$tool"; done
mv "$work/original" "$work/nixos-system-alpha-24.05"
original=$(nix-store --add "$work/nixos-system-alpha-24.05")
chmod -R u+w "$original"
echo "exec $original/activate" >"$original/bin/switch-to-configuration"
tools=$(nix-store --add "$work/tools")
echo "{ system = \"$original\"; text = \"first\"; tools = [ \"$tools\" ]; }" >"$work/configuration.nix"
copy=$(nix-build nixos/tests/nixpkgs/nixos -A system -I "nixos-config=$work/configuration.nix" --no-out-link 2>"$work/said") || {
    cat "$work/said" >&2
    fail "the copy of a system"
}
expect "a copy of a system has a path of its own" [ "$copy" != "$original" ]
expect "and speaks of itself" [ "$(cat "$copy/bin/switch-to-configuration")" = "exec $copy/activate" ]
expect "and says which it is" [ "$(cat "$copy/release")" = first ]
finish
