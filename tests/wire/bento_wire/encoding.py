"""§encoding: the strict subset of msgpack, and types to say what a structure is made of.

Every value has one legal form. So a message is canonical if packing what was unpacked gives the same bytes;
msgpack's packer always takes the shortest form.
"""

import msgpack

from .refused import Refused, require

U64_MAX = 2**64 - 1


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def unpack(data):
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
        check_values(value)
        again = pack(value)
    except Refused:
        raise
    except Exception as error:  # msgpack's own exceptions have no common base
        raise Refused("FORMAT", f"not msgpack: {error}") from None
    require(again == data, "FORMAT", "not the shortest form, or a key twice")
    return value


def check_values(root):
    """Without recursion: a hostile message nests as deeply as it likes."""
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if type(value) is list:
            waiting.extend(value)
        elif type(value) is dict:
            check_keys(list(value))
            waiting.extend(value.keys())
            waiting.extend(value.values())
        elif type(value) is str:
            check_text(value)
        elif type(value) is int:
            require(0 <= value <= U64_MAX, "FORMAT", "negative")
        else:
            require(value is None or type(value) in (bool, bytes), "FORMAT", f"a {type(value).__name__}")


def check_keys(keys):
    for key in keys:
        require(type(key) is str and len(key.encode()) <= 64, "FORMAT", "key of a map")
    require(ascending([key.encode() for key in keys]), "FORMAT", "order of the keys")


def check_text(text):
    for char in text:
        require(not (ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F), "FORMAT", "control character")


def ascending(items):
    return all(a < b for a, b in zip(items, items[1:]))


# Types. Each is a function that refuses what is not of the type, and gives the value back.


def integer(low, high):
    def check(value):
        require(type(value) is int and low <= value <= high, "FORMAT", f"not an integer of {low}..{high}: {value!r:.40}")
        return value

    return check


u64 = integer(0, U64_MAX)
u32 = integer(0, 2**32 - 1)


def boolean(value):
    require(type(value) is bool, "FORMAT", "not a bool")
    return value


def binary(low, high=None):
    high = low if high is None else high

    def check(value):
        require(type(value) is bytes and low <= len(value) <= high, "FORMAT", f"not a bin of {low}..{high}")
        return value

    return check


def text(low, high, letters=None):
    def check(value):
        require(type(value) is str and low <= len(value.encode()) <= high, "FORMAT", f"not a str of {low}..{high}")
        require(letters is None or set(value) <= set(letters), "FORMAT", f"letters of {value!r}")
        return value

    return check


def one_of(*values):
    def check(value):
        require(any(type(value) is type(v) and value == v for v in values), "FORMAT", f"{value!r:.40} is not one of {values}")
        return value

    return check


def array(item, low=0, high=U64_MAX):
    def check(value):
        require(type(value) is list and low <= len(value) <= high, "FORMAT", f"not an array of {low}..{high}")
        return [item(v) for v in value]

    return check


def row(*items):
    """An array of these types, one each."""

    def check(value):
        require(type(value) is list and len(value) == len(items), "FORMAT", f"not an array of {len(items)}")
        return [item(v) for item, v in zip(items, value)]

    return check


def nil_or(item):
    return lambda value: None if value is None else item(value)


def mapping(table):
    def check(value):
        require(type(value) is dict, "FORMAT", "not a map")
        for key, item in value.items():
            require(key in table, "FORMAT", f"unknown key {key!r}")
            table[key](item)
        return value

    return check


def map_of(item):
    """A map with any keys."""

    def check(value):
        require(type(value) is dict, "FORMAT", "not a map")
        return {key: item(v) for key, v in value.items()}

    return check


class Structure:
    """A class for each structure: NAME is its type's name, FIELDS its elements behind name and version."""

    NAME = ""
    FIELDS = {}
    BYTES_MAX = None

    def __init__(self, **values):
        assert set(values) == set(self.FIELDS), set(values) ^ set(self.FIELDS)
        self.__dict__.update(values)

    def replace(self, **values):
        return type(self)(**{**self.__dict__, **values})

    def encode(self):
        return pack([self.NAME, 1] + [getattr(self, field) for field in self.FIELDS])

    @classmethod
    def decode(cls, data):
        require(cls.BYTES_MAX is None or len(data) <= cls.BYTES_MAX, "LENGTH", cls.NAME)
        values = row(one_of(cls.NAME), one_of(1), *cls.FIELDS.values())(unpack(data))
        structure = cls(**dict(zip(cls.FIELDS, values[2:])))
        structure.check()
        return structure

    def check(self):
        """Rules beyond the types of the elements."""
