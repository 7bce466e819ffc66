#!/bin/sh
# A switch that never ends: in its activation, or waiting for a unit that never starts.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
configure '.switch_seconds = 20'

start_fleet
remember
deploy 'mode = "hang";'
settles "an activation that hangs" rolled-back SWITCH good
deploy 'units.forever = "sleep infinity";'
settles "a unit that never starts" rolled-back SWITCH good
expect "nothing of it is left" not lab_exec router pgrep -f 'sleep infinity'
deploy 'activationSeconds = 2;'
settles "an activation that takes its time" up-to-date '' new
finish
