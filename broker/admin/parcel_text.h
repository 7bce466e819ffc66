// What is printed about parcels.
#pragma once

#include "parcels.h"

// Appends one line: what became of the host.
void parcel_line(
    const struct assembly *assembly, const struct parcel *parcel, int name_width, struct buf *out);
// On stderr: for each host that failed why, and the last lines of its log. Hosts that failed for the
// same reason are told once, together.
void parcel_print_failures(const struct assembly *assembly);
// "3 changed, 1 failed, 2 not named"
void parcel_print_total(const struct assembly *assembly);
// The store path without /nix/store and all but eight digits of its hash.
void parcel_path(struct bytes path, struct buf *out);
void parcel_print_path(struct bytes path);
