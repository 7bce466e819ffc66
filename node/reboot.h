// The reboot policy of a host: "" by hand, "when-needed", or a calendar time as systemd has it
// (systemd.time(7)); "kexec " before it starts the new kernel without the firmware, where that works.
#pragma once

#include "apply.h"

struct reboot {
    enum reboot_policy policy;
    bool kexec;
    struct bytes calendar; // borrowed from the text
};
struct reboot reboot_parse(struct bytes text);
