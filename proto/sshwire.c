#include "sshwire.h"

#include <string.h>

struct bytes sshwire_raw(struct sshwire_in *in, size_t len)
{
    if (in->failed || len > in->rest.len) {
        in->failed = true;
        return (struct bytes){0};
    }
    struct bytes raw = bytes_of(in->rest.at, len);
    in->rest.at += len;
    in->rest.len -= len;
    return raw;
}

uint32_t sshwire_u32(struct sshwire_in *in)
{
    struct bytes raw = sshwire_raw(in, 4);
    uint32_t value = 0;
    for (size_t i = 0; i < raw.len; i++)
        value = value << 8 | raw.at[i];
    return value;
}

uint8_t sshwire_u8(struct sshwire_in *in)
{
    struct bytes raw = sshwire_raw(in, 1);
    return raw.len == 1 ? raw.at[0] : 0;
}

struct bytes sshwire_string(struct sshwire_in *in)
{
    uint32_t len = sshwire_u32(in);
    return sshwire_raw(in, len);
}

bool sshwire_end(const struct sshwire_in *in)
{
    return !in->failed && in->rest.len == 0;
}

void sshwire_put_u32(struct buf *out, uint32_t value)
{
    uint8_t raw[4] = {
        (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    buf_append(out, raw, sizeof(raw));
}

void sshwire_put_string(struct buf *out, struct bytes value)
{
    ASSERT(value.len <= UINT32_MAX);
    sshwire_put_u32(out, (uint32_t)value.len);
    buf_append(out, value.at, value.len);
}

void sshwire_put_text(struct buf *out, const char *value)
{
    sshwire_put_string(out, bytes_of_text(value));
}
