// A folder under hosts/, and how it becomes a store path that holds the same on every machine.
//
// Reproducible: the folder is packed, unpacked with the node's own code into a fresh folder `source`
// that holds nothing else, added to the store with `nix-store --add`, and evaluated only there. In
// place, an extra file, an x bit or a newest mtime would change the path.
#pragma once

#include "bundle.h"
#include "fs.h"
#include "pool.h"

struct folder {
    char *name; // below hosts/
    enum kind kind;
    bool self_update; // SELF_UPDATE lies in it
    char *reboot;     // what REBOOT says, "when-needed" if it is empty; NULL: no such file
    bool broken;      // why: failure, log. Its hosts fail, the others do not care
    struct err failure;
    struct buf log;
    struct buf tree; // packed
    uint8_t tree_hash[HASH_BYTES];
    char *source;            // its store path
    struct names attributes; // flake: nixosConfigurations, ascending; classic: none
};

// What follows it on its way; any may be NULL.
struct folder_calls {
    void (*phase)(void *context, const char *phase);
    void (*line)(void *context, struct bytes line);
    void (*done)(void *context); // broken or not
    void *context;
};

// Queues it: pack it, put it into the store, and list what a flake offers. Inside pool_run() the
// folder is filled in. EVAL in failure: an input that is not locked, or is locked to a path on this
// machine; a flake without nixosConfigurations; one that does not evaluate.
void folder_load(
    struct pool *pool, const char *root, struct folder *folder, const struct folder_calls *calls);
// What the store would get of hosts/NAME (no secrets, no git), as PATH/source; PATH is made, and has to
// be removed in every case. *tree: the same, packed.
void folder_copy_name(struct buf *path); // a new one, in TMPDIR
MUST_CHECK bool folder_copy(
    const char *root, const char *name, const char *path, struct buf *tree, struct err *e);
void folder_copy_remove(const char *path);
void folder_clear(struct folder *folder);
