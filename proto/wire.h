// Bounded, strict msgpack. PROTOCOL.md §encoding
//
// The reader is a cursor of our own over borrowed bytes, the writer is msgpack-c's packer. Why not
// msgpack-c's unpacker: it allocates what a length claims before it has seen one element, and
// forgets whether a number or a header was in its shortest form, which a signed format must demand.
// The writer only ever produces shortest forms. wire.c is the only file that includes msgpack.h.
//
// Both sides are sticky: after the first fault a reader returns zeros and stays where it was, so a
// decoder is a straight line that is judged once, by wire_end(). Nothing is allocated while
// reading.
#pragma once

#include "bytes.h"

struct wire_in {
    struct bytes rest;
    const char *fault; // NULL: none so far; static text
};

struct wire_in wire_in(struct bytes message);

// Array header with a number of elements in [min, max].
size_t wire_array(struct wire_in *in, size_t min, size_t max);
// Map header; read key and value in turn, keys with wire_key().
size_t wire_map(struct wire_in *in, size_t max);
// Next key of a map. *last holds the previous key ({0} at first) and enforces strictly ascending
// keys.
struct bytes wire_key(struct wire_in *in, struct bytes *last);
uint64_t wire_u64(struct wire_in *in, uint64_t max);
bool wire_bool(struct wire_in *in);
// Binary of a length in [min, max]; borrowed from the message.
struct bytes wire_bin(struct wire_in *in, size_t min, size_t max);
// Binary of exactly len bytes, copied to out (zeros after a fault).
void wire_bin_copy(struct wire_in *in, uint8_t *out, size_t len);
// UTF-8 without U+0000–001F, 007F–009F, at most max bytes; borrowed, not NUL-terminated.
struct bytes wire_str(struct wire_in *in, size_t max);
// The same copied into text[room] with a NUL; longer than room - 1 is a fault.
void wire_str_copy(struct wire_in *in, char *text, size_t room);
// A string that must be exactly this one.
void wire_literal(struct wire_in *in, const char *text);
// Consumes a nil if one is next.
bool wire_nil(struct wire_in *in);
// Opening of every structure: array of `elements`, type name, version 1.
void wire_open(struct wire_in *in, size_t elements, const char *type);
// For rules of a decoder's own ("not ascending"): faults unless it holds. Static text.
void wire_require(struct wire_in *in, bool holds, const char *fault);
// Judges: true if nothing failed and nothing is left over, else FORMAT and "head: …".
MUST_CHECK bool wire_end(const struct wire_in *in, const char *what, struct err *e);
// True for text that wire_str would accept.
bool wire_text_is_clean(struct bytes text);

// Writers append to out.
void wire_put_array(struct buf *out, size_t elements);
void wire_put_map(struct buf *out, size_t pairs);
void wire_put_u64(struct buf *out, uint64_t value);
void wire_put_bool(struct buf *out, bool value);
void wire_put_nil(struct buf *out);
void wire_put_bin(struct buf *out, struct bytes value);
void wire_put_hash(struct buf *out, const uint8_t hash[HASH_BYTES]);
void wire_put_str(struct buf *out, struct bytes value);
void wire_put_text(struct buf *out, const char *value);
// The reverse of wire_open.
void wire_put_open(struct buf *out, size_t elements, const char *type);
