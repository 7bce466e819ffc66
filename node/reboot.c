#include "reboot.h"

#include "actions.h"
#include "fs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEXEC "kexec"
#define PARAMETERS_BYTES_MAX (16u << 10)

struct reboot reboot_parse(struct bytes text)
{
    struct reboot reboot = {.policy = REBOOT_BY_HAND};
    if (text.len >= strlen(KEXEC) && memcmp(text.at, KEXEC, strlen(KEXEC)) == 0) {
        reboot.kexec = true;
        text.at += strlen(KEXEC);
        text.len -= strlen(KEXEC);
    }
    while (text.len > 0 && *text.at == ' ') {
        text.at++;
        text.len--;
    }
    if (text.len == 0) {
        reboot.policy = reboot.kexec ? REBOOT_WHEN_NEEDED : REBOOT_BY_HAND;
    } else if (bytes_equal_text(text, "when-needed")) {
        reboot.policy = REBOOT_WHEN_NEEDED;
    } else {
        reboot.policy = REBOOT_CALENDAR;
        reboot.calendar = text;
    }
    return reboot;
}

// Loads the profile's kernel, to be started by systemctl kexec.
static bool load_kernel(const struct config *config)
{
    char file[PATH_MAX], kernel[PATH_MAX], initrd[PATH_MAX], real[PATH_MAX];
    struct buf parameters CLEANUP(buf_clear) = {0};
    struct buf append CLEANUP(buf_clear) = {0};
    struct err e;
    snprintf(file, sizeof file, "%s/kernel-params", config->profile);
    if (!fs_read_following(AT_FDCWD, file, PARAMETERS_BYTES_MAX, &parameters, &e) ||
        realpath(config->profile, real) == NULL) {
        return false;
    }
    snprintf(kernel, sizeof kernel, "%s/kernel", config->profile);
    snprintf(initrd, sizeof initrd, "--initrd=%.*s/initrd", PATH_MAX - 32, config->profile);
    buf_printf(&append, "--append=init=%s/init %s", real, buf_text(&parameters));
    const char *argv[] = {"kexec", "--load", kernel, initrd, buf_text(&append), NULL};
    return run_command(config, argv, NULL) == 0;
}

int action_reboot(const struct invocation *call)
{
    const char *reboot[] = {"systemctl", "reboot", NULL};
    const char *kexec[] = {"systemctl", "kexec", NULL};
    sync();
    if (call->argc == 1 && strcmp(call->argv[0], KEXEC) == 0) {
        if (load_kernel(call->config) && run_command(call->config, kexec, NULL) == 0) {
            return 0;
        }
        fprintf(stderr, "kexec does not work here, so it is an ordinary reboot\n");
    }
    return run_command(call->config, reboot, NULL);
}

int action_due(const struct invocation *call)
{
    (void)call;
    return 0;
}
