#!/bin/sh
# Jobs as transient units: the cases of test_job against a real systemd. BENTO_BUILD: the build folder.
set -eu
# shellcheck source-path=SCRIPTDIR source=host.sh
. "$(dirname "$0")/host.sh"
in_host "$BENTO_BUILD/tests/test_job" --systemd
