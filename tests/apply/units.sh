#!/bin/sh
# Units that fail in a switch: what each policy makes of them, and that old failures are nobody's fault.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

start_fleet
remember
policy 'unit_failures = "ignore";'
deploy 'units.one = "exit 1";'
settles "ignored" up-to-date '' new

remember
policy 'unit_failures = "report";'
deploy 'units.one = "exit 1"; units.two = "exit 1";'
settles "reported" up-to-date UNITS new
expect "reported: and only the one that is new" tried_with 'failed now, and not before: two.service'

remember
policy 'unit_failures = "rollback";'
deploy 'units.one = "exit 1"; units.two = "exit 1"; units.three = "exit 1";'
settles "rolled back" rolled-back UNITS good

# The switch starts what had failed before again, and it fails again.
deploy 'units.one = "exit 1"; units.two = "exit 1";'
expect "failed before: the switch complains" tried_with 'warning: the following units failed: one.service two.service'
settles "failed before" up-to-date '' new
finish
