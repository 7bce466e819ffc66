// The secrets in clear, in memory only. config->secrets (/run/bento-secrets) is a link to the newest of
// the numbered folders in a file system of its own beside it (/run/bento-secrets.d, a ramfs: never on
// a disk, not even in swap). A change makes a new folder and moves the link, so that whoever opens a
// file gets the old set or the new one, whole; the old folder goes then.
#pragma once

#include "bundle.h"
#include "config.h"

// OWNERS_KNOWN: one that is not is an error, and nothing changes.
enum owners { OWNERS_KNOWN, OWNERS_MAY_COME };

// That all owners and groups are known here: SECRETS names the first secret whose are not.
MUST_CHECK bool secrets_check_owners(const struct bundle *bundle, struct err *e);
// Makes the bundle's secrets the ones that are there; without a bundle (NULL) there are none. Whole, or
// nothing changes; what is there already is left as it is. SECRETS.
//
// An owner or group that is not known (yet: it may come with the system that is switched to) leaves a
// file that only root can read; installed again, it is put right. Not for two at a time.
MUST_CHECK bool secrets_install(
    const struct config *config, const struct bundle *bundle, struct err *e);

// The same by digest, from what is kept (kept.h); zeros: none. One after another. secrets_cmd.c
MUST_CHECK bool secrets_install_of(
    const struct config *config, const char *digest_hex, enum owners owners, struct err *e);
// The digest of the configuration that the toplevel was obtained for, by the GC roots: for where the
// journal cannot say. The newest one, but not `except`, which may be NULL. NONE. secrets_cmd.c
MUST_CHECK bool secrets_find(const struct config *config, const char *toplevel, const char *except,
    char digest_hex[HASH_HEX_BYTES], struct err *e);
// For a digest of zeros or "": the one that secrets_find() gives, if it gives one. After a journal that was
// not understood nothing is known of what was applied, and that must not pass for 'no secrets'.
void secrets_recall(const struct config *config, const char *toplevel, const char *except,
    char digest_hex[HASH_HEX_BYTES]);
