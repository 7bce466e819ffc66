#!/bin/sh
# Who runs a specialisation keeps it through a release; and goes back to it.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

variant_of() {
    lab_exec router readlink -f "$(profile_of router)/specialisation/$1"
}

first_system='specialisation.quiet.units.quiet = "true";'
start_fleet
lab_exec router "$(variant_of quiet)/bin/switch-to-configuration" test
need "the specialisation runs" [ "$(system_of router)" = "$(variant_of quiet)" ]
profile=$(profile_of router)

deploy 'specialisation.quiet.units.quiet = "true";'
expect "a release: converges" deploy_ends_with 0
expect "a release: up to date" shows_all up-to-date ''
expect "a release: the profile is another" not [ "$(profile_of router)" = "$profile" ]
expect "a release: its own specialisation runs" [ "$(system_of router)" = "$(variant_of quiet)" ]
expect "a release: the boot entry is the toplevel" [ "$(boot_entry_of router)" = "$(profile_of router)" ]

profile=$(profile_of router)
deploy 'mode = "cut-net"; specialisation.quiet.units.quiet = "true";'
expect "a bad one: rolled back" shows_all rolled-back CONNECTIVITY
expect "a bad one: the old specialisation is back" [ "$(system_of router)" = "$(variant_of quiet)" ]
expect "a bad one: the old profile, too" [ "$(profile_of router)" = "$profile" ]
expect "a bad one: and boots" [ "$(boot_entry_of router)" = "$profile" ]

deploy ''
expect "without it: up to date" shows_all up-to-date ''
expect "without it: the toplevel runs" consistent router
finish
