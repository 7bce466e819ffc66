"""msgpack as PROTOCOL.md §encoding has it, and every way to get it wrong. Nothing but the standard library."""
import struct


class Raw(bytes):
    """Bytes that are put in as they are."""


BIN = ((0xC4, 1), (0xC5, 2), (0xC6, 4))
STR = ((0xD9, 1), (0xDA, 2), (0xDB, 4))
ARRAY = ((0xDC, 2), (0xDD, 4))
MAP = ((0xDE, 2), (0xDF, 4))
UINT = ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8))
FIX = {STR: (0xA0, 31), ARRAY: (0x90, 15), MAP: (0x80, 15), UINT: (0x00, 127), BIN: (0, -1)}


def header(forms, number, wider=False):
    """The shortest form, or the next longer one; None if there is none."""
    fix, fix_max = FIX[forms]
    found = [bytes([fix | number])] if number <= fix_max else []
    found += [bytes([tag]) + number.to_bytes(width, "big") for tag, width in forms if number < 1 << 8 * width]
    return found[0] if not wider else found[1] if len(found) > 1 else None


def forms_of(value):
    return BIN if isinstance(value, bytes) else STR if isinstance(value, str) else ARRAY if isinstance(
        value, list) else MAP


def content(value, **how):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, list):
        return b"".join(pack(item, **inside(how, i)) for i, item in enumerate(value))
    return b"".join(pack(key) + pack(item, **inside(how, key)) for key, item in value.items())


def inside(how, step):
    if not how or not how["path"] or how["path"][0] != step:
        return {}
    return {"path": how["path"][1:], "damage": how["damage"]}


def pack(value, **how):
    if how and not how["path"]:
        return how["damage"](value)
    if isinstance(value, Raw):
        return bytes(value)
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return header(UINT, value)
    body = content(value, **how)
    return header(forms_of(value), len(body) if isinstance(value, (bytes, str)) else len(value)) + body


def parts(value, path=()):
    """(path, value) of it and all that is in it."""
    yield path, value
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from parts(item, path + (i,))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from parts(item, path + (key,))


def longer(value):
    """The same in a longer form than needed, or None."""
    if isinstance(value, bool) or value is None or isinstance(value, Raw):
        return None
    if isinstance(value, int):
        return header(UINT, value, wider=True)
    body = content(value)
    start = header(forms_of(value), len(body) if isinstance(value, (bytes, str)) else len(value), wider=True)
    return start + body if start else None


def wrong_types(value):
    """(what, bytes) of values that stand for the same to a lax reader."""
    if isinstance(value, bool):
        return [("as an integer", pack(int(value)))]
    if value is None:
        return [("as false", b"\xc2")]
    if isinstance(value, int):
        return [("as a float", b"\xcb" + struct.pack(">d", value)), ("as a signed integer", b"\xd3" + struct.pack(
            ">Q", value)), ("negative", b"\xff")]
    if isinstance(value, bytes):
        return [("as a str", header(STR, len(value)) + value)]
    if isinstance(value, str):
        return [("as a bin", header(BIN, len(value.encode())) + value.encode())]
    if isinstance(value, list):
        return [("as a map", b"\x80")]
    return [("as an array", b"\x90")]


def label(names, path):
    if not path:
        return "the whole"
    first = names[path[0]] if path[0] < len(names) else str(path[0])
    return first + "".join("[%s]" % step for step in path[1:])


def damages(structure, names):
    """(what is wrong, message) for every wrong form of every part of a good structure."""
    good = pack(structure)
    yield "empty message", b""
    yield "last byte missing", good[:-1]
    yield "one byte too many", good + b"\x00"
    yield "a nil too many", good + b"\xc0"
    yield "an element too few", pack(structure[:-1])
    yield "an element too many", pack(structure + [None])
    yield "another type name", pack([structure[0] + "x"] + structure[1:])
    yield "version 0", pack([structure[0], 0] + structure[2:])
    yield "version 2", pack([structure[0], 2] + structure[2:])
    for path, value in parts(structure):
        where = label(names, path)
        wide = longer(value)
        if wide is not None:
            yield where + " not in its shortest form", pack(structure, path=path, damage=lambda _: wide)
        for what, raw in wrong_types(value):
            yield where + " " + what, pack(structure, path=path, damage=lambda _: raw)
