"""§operations: requests and replies."""

import io

import msgpack

from . import encoding as e
from .refused import (
    BLOB_BYTES_MAX, CHUNK_BYTES_MAX, CODES, ENVELOPE_BYTES_MAX, PROVEN_BYTES_MAX, STATUS_BYTES_MAX, Refused, require,
)  # fmt: skip

OPERATIONS = dict(
    GET_HEAD=1, GET_TICKET=2, GET_BLOB=3, PUT_STATUS=4, GET_RELEASE=16, MISSING_BLOBS=17, PUT_BLOB=18, PUBLISH=19,
    GET_STATUSES=20, GET_HISTORY=21, GET_EARLIER=22,
)  # fmt: skip
NAMES = {number: name for name, number in OPERATIONS.items()}

any_bin = e.binary(0, e.U64_MAX)
hash32 = e.binary(32)
envelope = e.binary(0, ENVELOPE_BYTES_MAX)
code_word = e.one_of(*CODES)

REQUESTS = dict(
    GET_HEAD=(), GET_TICKET=(hash32, hash32), GET_BLOB=(hash32, e.u64), PUT_STATUS=(e.binary(0, STATUS_BYTES_MAX),),
)  # fmt: skip

# What an operation may answer, beside the bare codes that every operation may.
REPLIES = dict(
    GET_HEAD=dict(OK=(envelope,)),
    GET_TICKET=dict(OK=(e.binary(0, PROVEN_BYTES_MAX),), STALE=(envelope,)),
    GET_BLOB=dict(OK=(e.integer(0, BLOB_BYTES_MAX), e.binary(0, CHUNK_BYTES_MAX))),
    PUT_STATUS=dict(OK=(e.u64, hash32), SEQ=(e.u64,), REFUSED=(code_word,)),
    GET_RELEASE=dict(OK=(any_bin, any_bin, e.array(any_bin))),
    MISSING_BLOBS=dict(OK=(e.array(hash32),)),
    PUT_BLOB=dict(OK=(e.u64,)),
    PUBLISH=dict(OK=(), STALE=(envelope,), REFUSED=(code_word, e.text(0, 65536))),
    GET_STATUSES=dict(OK=(e.boolean, e.array(e.row(hash32, e.u64, any_bin)))),
    GET_HISTORY=dict(OK=(e.boolean, e.array(e.row(e.u64, any_bin)))),
    GET_EARLIER=dict(OK=(any_bin, any_bin, e.array(any_bin))),
)


def request(operation, *body):
    number = OPERATIONS.get(operation, operation)
    return e.pack(["bento-req", 1, number, *body])


def reply(code, *body):
    return e.pack(["bento-rep", 1, code, *body])


def opening(data, name):
    """Gives the third element, and the number of elements and the bytes of the body, which is not looked at."""
    require(data and 0x93 <= data[0] <= 0x9B, "FORMAT", "opening")
    unpacker = msgpack.Unpacker(io.BytesIO(data), raw=False, strict_map_key=True)
    unpacker.read_array_header()
    try:
        start = [unpacker.unpack() for _ in range(3)]
    except Exception as error:  # msgpack's own exceptions have no common base
        raise Refused("FORMAT", f"opening: {error}") from None
    end = unpacker.tell()
    require(e.pack(start)[1:] == data[1:end], "FORMAT", "not the shortest form")
    e.check_values(start)
    e.row(e.one_of(name), e.one_of(1), lambda value: value)(start)
    return start[2], data[0] - 0x93, data[end:]


def open_request(data):
    number, count, body = opening(data, "bento-req")
    e.u64(number)
    require(number in NAMES, "BAD", f"operation {number}")
    return NAMES[number], count, body


def open_reply(data):
    code, count, body = opening(data, "bento-rep")
    code_word(code)
    return code, count, body


def decode_request(data):
    """For the public operations: name and body."""
    name, _, _ = open_request(data)
    require(name in REQUESTS, "BAD", name)
    return name, e.row(*REQUESTS[name])(e.unpack(data)[3:])


def decode_reply(data, operation):
    code, count, _ = open_reply(data)
    body = e.unpack(data)[3:]
    types = REPLIES[operation].get(code, ())
    return code, e.row(*types)(body)
