# shellcheck shell=sh
# One host with the machine's systemd as process 1 and no system of its own: sourced first, with the script's own arguments; the
# rest of the script runs inside the lab. BENTO_BUILD: the build folder, which shows through.
#
#   in_host COMMAND…
LAB_SYSTEMD=1
LAB_SHARED=${LAB_SHARED-$BENTO_BUILD}
LAB_SOURCE=$(realpath "$(dirname "$0")/../lab")
export LAB_SYSTEMD LAB_SHARED
# shellcheck source-path=SCRIPTDIR source=../lab/lab.sh
. "$LAB_SOURCE/lab.sh"
lab_enter "$0" "$@"
lab_up host

in_host() {
    lab_exec host "$@"
}
