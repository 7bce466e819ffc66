# shellcheck shell=sh
# What e2e tests share: sourced first, with the script's own arguments. The rest of the script runs inside the lab.
LAB_SOURCE=$(realpath "$(dirname "$0")/../lab")
LAB_WINDOW=15 # the machine has other tests to do
# shellcheck source-path=SCRIPTDIR source=../lab/lab.sh
. "$LAB_SOURCE/lab.sh"
# shellcheck source-path=SCRIPTDIR source=../lab/fleet.sh
. "$LAB_SOURCE/fleet.sh"
lab_enter "$0" "$@"

# shellcheck source-path=SCRIPTDIR source=../lab/expect.sh
. "$LAB_SOURCE/expect.sh"

finish() {
    if [ "$failures" != 0 ]; then
        fleet_logs
        echo "$failures failed" >&2
        exit 1
    fi
    exit 0
}
