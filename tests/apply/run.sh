#!/bin/sh
# run.sh TEST [PART]: a test of this folder by its file's name (kill_commit …) with the programs in BENTO_BIN, as the first
# process of a host of its own. BENTO_LONG=1: at every kill point, also of calls that only read; some minutes each. Exit status
# 77: skipped, and the output says why.
set -eu
LAB_SOURCE=$(realpath "$(dirname "$0")/../lab")
# shellcheck source-path=SCRIPTDIR source=../lab/lab.sh
. "$LAB_SOURCE/lab.sh"

/usr/bin/python3 -c 'import msgpack, nacl' 2>/dev/null ||
    lab_skip "/usr/bin/python3 has no msgpack or no nacl (script/packages installs what is missing)"
for tool in strace nix-env; do
    command -v "$tool" >/dev/null || lab_skip "$tool is not installed (script/packages installs what is missing)"
done
: "${BENTO_BIN:?the folder with the programs}"
lab_enter "$0" "$@"

export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$LAB_PROJECT/tests/attacks"
# LeakSanitizer traces its process, and strace does already.
export ASAN_OPTIONS=detect_leaks=0
test=$1
shift
exec /usr/bin/python3 "$LAB_PROJECT/tests/apply/$test.py" "$@"
