// The folders under hosts/ and which node each configuration in them is for.
//
//     hosts/router/       configuration.nix                      one host, named by the folder
//     hosts/laptop/       flake.nix, one nixosConfiguration      one host, named by the attribute
//     hosts/servers/      flake.nix, many                        one host each
//
// A node finds its host by its name, or by `directory` and `attribute` in fleet.nix. What Nix has
// to say is asked about the packed tree (folder.h), so that listing, building and the node's own
// evaluation all see the same files.
#pragma once

#include "fleet.h"
#include "folder.h"

struct host {
    const struct fleet_node *node;
    struct folder *folder; // a broken one if it may have been in there
    const char *attribute; // flake; borrowed
};

struct hosts {
    size_t folder_count;
    struct folder *folders; // ascending by name
    size_t count;
    struct host *list; // one a node of the fleet, in its order
};

// Reads the names and kinds of the folders. CONFIG: no hosts/, a folder with neither
// configuration.nix nor flake.nix.
MUST_CHECK bool hosts_scan(const struct fleet *fleet, struct hosts *hosts, struct err *e);
// Packs every folder and lists the flakes, jobs at once (pool.h). What fails is kept in the folder.
// Does not return when interrupted, like assemble_parcels().
void hosts_load(const struct fleet *fleet, struct hosts *hosts, unsigned jobs);
// Pairs nodes and configurations; several nodes may share one (identical machines). CONFIG: a node
// without a host or with two, a host without a node; names them.
MUST_CHECK bool hosts_match(const struct fleet *fleet, struct hosts *hosts, struct err *e);
// All of that for a whole repository, also before everybody is enrolled: a host without a node gets one,
// with the fleet's defaults. Clear both in every case.
MUST_CHECK bool hosts_open(
    const char *directory, unsigned jobs, struct fleet *fleet, struct hosts *hosts, struct err *e);
void hosts_clear(struct hosts *hosts);
