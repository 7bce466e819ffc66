// SSH's own encoding, RFC 4251 §5, as far as keys and signatures need it: numbers big-endian, a
// string is a u32 and bytes. Sticky like wire.h: after the first fault everything is empty, and
// sshwire_end() judges.
#pragma once

#include "bytes.h"

struct sshwire_in {
    struct bytes rest;
    bool failed;
};

struct bytes sshwire_raw(struct sshwire_in *in, size_t len); // borrowed
struct bytes sshwire_string(struct sshwire_in *in);          // borrowed
uint32_t sshwire_u32(struct sshwire_in *in);
uint8_t sshwire_u8(struct sshwire_in *in);
bool sshwire_end(const struct sshwire_in *in); // nothing failed, nothing is left

void sshwire_put_u32(struct buf *out, uint32_t value);
void sshwire_put_string(struct buf *out, struct bytes value);
void sshwire_put_text(struct buf *out, const char *value);
