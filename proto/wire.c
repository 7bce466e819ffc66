#include "wire.h"

#include <msgpack.h>
#include <string.h>

// ---- reader

struct wire_in wire_in(struct bytes message)
{
    return (struct wire_in){.rest = message};
}

void wire_require(struct wire_in *in, bool holds, const char *fault)
{
    if (!holds && in->fault == NULL)
        in->fault = fault;
}

// The first byte of what is next; false and a fault if there is none.
static bool peek(struct wire_in *in, uint8_t *tag)
{
    wire_require(in, in->rest.len != 0, "ends too early");
    if (in->fault != NULL)
        return false;
    *tag = in->rest.at[0];
    return true;
}

// The bytes at `from`, without moving; false and a fault if there are fewer.
static bool look(struct wire_in *in, size_t from, size_t len)
{
    wire_require(in, in->rest.len >= from && in->rest.len - from >= len, "ends too early");
    return in->fault == NULL;
}

static struct bytes take(struct wire_in *in, size_t header, size_t len)
{
    struct bytes taken = bytes_of(in->rest.at + header, len);
    in->rest.at += header + len;
    in->rest.len -= header + len;
    return taken;
}

// Big-endian number of `width` bytes behind the tag.
static bool number(struct wire_in *in, size_t width, uint64_t *value)
{
    *value = 0;
    if (!look(in, 1, width))
        return false;
    for (size_t i = 0; i < width; i++)
        *value = *value << 8 | in->rest.at[1 + i];
    return true;
}

// A header without its elements or content: which tags mean which width, and from which value on
// the width is the shortest.
struct shape {
    uint8_t fix, fix_mask; // the value in the tag itself; fix_mask 0: there is no such form
    uint8_t tags[3];       // of 8, 16 and 32 bit; 0: there is no such form
    const char *wrong_type;
};

static const struct shape shape_array = {0x90, 0x0f, {0, 0xdc, 0xdd}, "not an array"};
static const struct shape shape_map = {0x80, 0x0f, {0, 0xde, 0xdf}, "not a map"};
static const struct shape shape_str = {0xa0, 0x1f, {0xd9, 0xda, 0xdb}, "not a string"};
static const struct shape shape_bin = {0, 0, {0xc4, 0xc5, 0xc6}, "not a binary"};

// Reads a header without consuming it: its length and the value in it.
static bool header(struct wire_in *in, const struct shape *shape, size_t *header_len, size_t *value)
{
    uint8_t tag;
    if (!peek(in, &tag))
        return false;
    if (shape->fix_mask != 0 && (tag & (uint8_t)~shape->fix_mask) == shape->fix) {
        *header_len = 1;
        *value = tag & shape->fix_mask;
        return true;
    }
    size_t smallest = shape->fix_mask == 0 ? 0 : shape->fix_mask + 1u;
    for (size_t i = 0; i < 3; i++) {
        if (shape->tags[i] == 0)
            continue;
        size_t width = (size_t)1 << i;
        if (tag == shape->tags[i]) {
            uint64_t count;
            if (!number(in, width, &count))
                return false;
            wire_require(in, count >= smallest, "a length is not in its shortest form");
            *header_len = 1 + width;
            *value = (size_t)count;
            return in->fault == NULL;
        }
        smallest = (size_t)1 << (8 * width);
    }
    wire_require(in, false, shape->wrong_type);
    return false;
}

size_t wire_array(struct wire_in *in, size_t min, size_t max)
{
    size_t header_len, elements;
    if (!header(in, &shape_array, &header_len, &elements))
        return 0;
    wire_require(in, elements >= min, "an array has too few elements");
    wire_require(in, elements <= max, "an array has too many elements");
    // An element has at least one byte: whoever allocates by this number allocates no more than the
    // message justifies.
    wire_require(in, elements <= in->rest.len - header_len, "ends too early");
    if (in->fault != NULL)
        return 0;
    take(in, header_len, 0);
    return elements;
}

size_t wire_map(struct wire_in *in, size_t max)
{
    size_t header_len, pairs;
    if (!header(in, &shape_map, &header_len, &pairs))
        return 0;
    wire_require(in, pairs <= max, "a map has too many keys");
    if (in->fault != NULL)
        return 0;
    take(in, header_len, 0);
    return pairs;
}

struct bytes wire_key(struct wire_in *in, struct bytes *last)
{
    struct bytes key = wire_str(in, 64);
    bool ascends = last->at == NULL || bytes_compare(*last, key) < 0;
    wire_require(in, ascends, "the keys of a map are not strictly ascending");
    if (in->fault != NULL)
        return (struct bytes){0};
    *last = key;
    return key;
}

uint64_t wire_u64(struct wire_in *in, uint64_t max)
{
    uint8_t tag;
    uint64_t value = 0;
    size_t len = 1;
    if (!peek(in, &tag))
        return 0;
    if (tag <= 0x7f) {
        value = tag;
    } else if (tag >= 0xcc && tag <= 0xcf) {
        unsigned step = tag - 0xccu; // widths 1, 2, 4, 8
        size_t width = (size_t)1 << step;
        if (!number(in, width, &value))
            return 0;
        uint64_t smallest = step == 0 ? 0x80 : UINT64_C(1) << (8 * (width / 2));
        wire_require(in, value >= smallest, "a number is not in its shortest form");
        len = 1 + width;
    } else {
        wire_require(in, false, "not an unsigned number");
    }
    wire_require(in, value <= max, "a number is too large");
    if (in->fault != NULL)
        return 0;
    take(in, len, 0);
    return value;
}

bool wire_bool(struct wire_in *in)
{
    uint8_t tag;
    if (!peek(in, &tag))
        return false;
    wire_require(in, tag == 0xc2 || tag == 0xc3, "not a boolean");
    if (in->fault != NULL)
        return false;
    take(in, 1, 0);
    return tag == 0xc3;
}

bool wire_nil(struct wire_in *in)
{
    if (in->fault != NULL || in->rest.len == 0 || in->rest.at[0] != 0xc0)
        return false;
    take(in, 1, 0);
    return true;
}

struct bytes wire_bin(struct wire_in *in, size_t min, size_t max)
{
    size_t header_len, len;
    if (!header(in, &shape_bin, &header_len, &len))
        return (struct bytes){0};
    wire_require(in, len >= min, "a binary is too short");
    wire_require(in, len <= max, "a binary is too long");
    if (in->fault != NULL || !look(in, header_len, len))
        return (struct bytes){0};
    return take(in, header_len, len);
}

void wire_bin_copy(struct wire_in *in, uint8_t *out, size_t len)
{
    struct bytes value = wire_bin(in, len, len);
    if (value.at == NULL)
        memset(out, 0, len);
    else
        memcpy(out, value.at, len);
}

// Length of the UTF-8 sequence at `at`, 0 if it is not one: no overlong form, no surrogate, nothing
// above U+10FFFF.
static size_t utf8_sequence(const uint8_t *at, size_t len, uint32_t *character)
{
    uint8_t first = at[0];
    if (first < 0x80) {
        *character = first;
        return 1;
    }
    size_t width = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (width == 0 || width > len)
        return 0;
    uint32_t value = first & (0x7fu >> width);
    for (size_t i = 1; i < width; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3fu);
    }
    bool overlong = (width == 3 && value < 0x800) || (width == 4 && value < 0x10000);
    bool surrogate = value >= 0xd800 && value <= 0xdfff;
    if (overlong || surrogate || value > 0x10ffff)
        return 0;
    *character = value;
    return width;
}

bool wire_text_is_clean(struct bytes text)
{
    for (size_t i = 0; i < text.len;) {
        uint32_t character;
        size_t width = utf8_sequence(text.at + i, text.len - i, &character);
        if (width == 0 || character < 0x20 || (character >= 0x7f && character <= 0x9f))
            return false;
        i += width;
    }
    return true;
}

struct bytes wire_str(struct wire_in *in, size_t max)
{
    size_t header_len, len;
    if (!header(in, &shape_str, &header_len, &len))
        return (struct bytes){0};
    wire_require(in, len <= max, "a string is too long");
    if (in->fault != NULL || !look(in, header_len, len))
        return (struct bytes){0};
    bool clean = wire_text_is_clean(bytes_of(in->rest.at + header_len, len));
    wire_require(in, clean, "a string is not UTF-8 without control characters");
    if (in->fault != NULL)
        return (struct bytes){0};
    return take(in, header_len, len);
}

void wire_str_copy(struct wire_in *in, char *text, size_t room)
{
    struct bytes value = wire_str(in, room - 1);
    memset(text, 0, room);
    if (value.len != 0)
        memcpy(text, value.at, value.len);
}

void wire_literal(struct wire_in *in, const char *text)
{
    struct wire_in before = *in;
    struct bytes value = wire_str(in, strlen(text));
    if (in->fault != NULL || bytes_equal_text(value, text))
        return;
    *in = before;
    wire_require(in, false, "not of this type");
}

void wire_open(struct wire_in *in, size_t elements, const char *type)
{
    wire_array(in, elements, elements);
    wire_literal(in, type);
    wire_require(in, wire_u64(in, UINT64_MAX) == 1, "of an unknown version");
}

bool wire_end(const struct wire_in *in, const char *what, struct err *e)
{
    if (in->fault != NULL)
        return err_set(e, CODE_FORMAT, "%s: %s", what, in->fault);
    if (in->rest.len != 0)
        return err_set(e, CODE_FORMAT, "%s: %zu bytes too many", what, in->rest.len);
    return true;
}

// ---- writer

static int write_buf(void *data, const char *at, size_t len)
{
    buf_append(data, at, len);
    return 0;
}

static msgpack_packer packer(struct buf *out)
{
    return (msgpack_packer){.data = out, .callback = write_buf};
}

void wire_put_array(struct buf *out, size_t elements)
{
    msgpack_packer pack = packer(out);
    msgpack_pack_array(&pack, elements);
}

void wire_put_map(struct buf *out, size_t pairs)
{
    msgpack_packer pack = packer(out);
    msgpack_pack_map(&pack, pairs);
}

void wire_put_u64(struct buf *out, uint64_t value)
{
    msgpack_packer pack = packer(out);
    msgpack_pack_uint64(&pack, value);
}

void wire_put_bool(struct buf *out, bool value)
{
    msgpack_packer pack = packer(out);
    if (value)
        msgpack_pack_true(&pack);
    else
        msgpack_pack_false(&pack);
}

void wire_put_nil(struct buf *out)
{
    msgpack_packer pack = packer(out);
    msgpack_pack_nil(&pack);
}

void wire_put_bin(struct buf *out, struct bytes value)
{
    ASSERT(value.len <= UINT32_MAX);
    msgpack_packer pack = packer(out);
    msgpack_pack_bin(&pack, value.len);
    buf_append(out, value.at, value.len);
}

void wire_put_hash(struct buf *out, const uint8_t hash[HASH_BYTES])
{
    wire_put_bin(out, bytes_of(hash, HASH_BYTES));
}

void wire_put_str(struct buf *out, struct bytes value)
{
    ASSERT(value.len <= UINT32_MAX);
    msgpack_packer pack = packer(out);
    msgpack_pack_str(&pack, value.len);
    buf_append(out, value.at, value.len);
}

void wire_put_text(struct buf *out, const char *value)
{
    wire_put_str(out, bytes_of_text(value));
}

void wire_put_open(struct buf *out, size_t elements, const char *type)
{
    wire_put_array(out, elements);
    wire_put_text(out, type);
    wire_put_u64(out, 1);
}
