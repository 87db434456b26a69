"""Arrays as bytes that a browser reads without parsing them.

In come named arrays and what is said of them; out come bytes: the length of a JSON header (u32,
little-endian), the header, padded with spaces so that the data begin at a multiple of 8, then the
columns, each at a multiple of 8. Called by whatever answers with many numbers; ``unpacked`` reads
them again, for programs and tests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

DTYPES = {"u32": "<u4", "i32": "<i4", "i16": "<i2", "u8": "u1", "f32": "<f4"}
_ALIGNED = 8
_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


def packed(columns: Mapping[str, np.ndarray], **said: Any) -> bytes:
    """Return columns as bytes.

    Parameters
    ----------
    columns : mapping of str to np.ndarray
        Of one of the types u32, i32, i16, u8, f32; flattened in C order.
    said
        What else the header holds; ``columns`` and, where it is not given, ``n`` are added.
    """
    described, n_bytes = [], 0
    parts: list[bytes] = []
    for name, column in columns.items():
        data = np.ascontiguousarray(column).tobytes()
        dtype = _NAMES[column.dtype.newbyteorder("<")]
        described.append({"name": name, "dtype": dtype, "offset": n_bytes, "length": column.size})
        parts += [data, bytes(-len(data) % _ALIGNED)]
        n_bytes += len(data) + -len(data) % _ALIGNED
    n = next((column.size for column in columns.values()), 0)
    header = json.dumps({"n": n, **said, "columns": described}, allow_nan=False).encode()
    header += b" " * (-(len(header) + 4) % _ALIGNED)
    return b"".join([len(header).to_bytes(4, "little"), header, *parts])


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the columns of what :func:`packed` gave."""
    begin = 4 + int.from_bytes(data[:4], "little")
    header = json.loads(data[4:begin])
    columns = {
        one["name"]: np.frombuffer(data, DTYPES[one["dtype"]], one["length"], begin + one["offset"])
        for one in header["columns"]
    }
    return header, columns
