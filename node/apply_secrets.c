// Whose secrets are installed when, and the way of a configuration that brings nothing else. See
// apply_step.h.
#include "apply_step.h"

#include <string.h>

// Until a boot into what is applied, what booted before may be what runs.
static const struct apply_config *belongs_to(const struct apply *a, const char *toplevel)
{
    return a->unproven && strcmp(toplevel, a->applied.path) != 0 ? &a->before : &a->applied;
}

bool apply_secrets_of_old(const struct apply *a, uint8_t digest[HASH_BYTES])
{
    if (digest_is_none(a->seen)) { // a trial that no release began: the journal was not understood
        return false;
    }
    memcpy(digest, belongs_to(a, a->trial.old_path)->digest, HASH_BYTES);
    return true;
}

bool apply_secrets_of(const struct apply *a, const char *toplevel, const uint8_t boot_id[16],
    uint8_t digest[HASH_BYTES])
{
    bool same_boot = memcmp(a->boot_id, boot_id, sizeof a->boot_id) == 0;
    bool tried = apply_in_trial(a->state) && strcmp(toplevel, a->trial.new_path) == 0;
    if (same_boot && (tried ? a->state == APPLY_REVERTING : a->unconfirmed)) {
        return false; // left by a trial that is not decided yet, or never will be
    }
    const struct apply_config *whose = tried ? &a->target : belongs_to(a, toplevel);
    memcpy(digest, whose->digest, HASH_BYTES);
    return true;
}

void way_install(struct step *s)
{
    enter(s, APPLY_INSTALLING, INSTALL_MS);
    plan_add(s, EFFECT_INSTALL);
}

// A trial is for systems: this one runs, and goes on with other secrets.
void way_installed(struct step *s)
{
    struct apply *a = s->a;
    bool elsewhere = !runs(s, a->target.path); // somebody switched meanwhile
    if (elsewhere && a->target.action != ACTION_BOOT) {
        way_check(s);
    } else if (elsewhere) {
        way_commit_untried(s);
    } else if (s->ev->code != CODE_OK) {
        way_install_failed(s, s->ev->code);
    } else if (is_profile(s, a->target.path)) {
        way_applied(s);
    } else {
        way_commit_untried(s);
    }
}

void way_install_failed(struct step *s, enum code code)
{
    way_fail(s, code);
    plan_add(s, EFFECT_SECRETS); // the job may have been lost after it had done its part
}
