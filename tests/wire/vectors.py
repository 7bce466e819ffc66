"""How the vectors of proto/vectors/ write bytes down."""

import pathlib

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "proto" / "vectors"


def unhex(value):
    """Hex, or a list of hex and [hex, times]: long repetitions are written so."""
    if value is None or isinstance(value, str):
        return None if value is None else bytes.fromhex(value)
    return b"".join(bytes.fromhex(v) if isinstance(v, str) else bytes.fromhex(v[0]) * int(v[1]) for v in value)
