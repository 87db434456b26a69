"""A part of some bytes, as a browser asks for it (RFC 9110, section 14).

In come the header ``Range`` and the bytes; out comes the whole (200), a part (206), or that there
is none (416). Called for sound, which browsers read in parts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastapi.responses import JSONResponse, Response

_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


def ranged(asked: str | None, data: bytes, kind: str, headers: Mapping[str, str]) -> Response:
    """Return the part that is asked for.

    Several parts at once, other units and what cannot be read are passed over, as the standard
    allows: the whole is the answer.

    Parameters
    ----------
    asked : str or None
        The header.
    data : bytes
    kind : str
        Of the data.
    headers : mapping of str to str
    """
    match = _RANGE.fullmatch(asked or "")
    whole = {**headers, "Accept-Ranges": "bytes"}
    if match is None or match.groups() == ("", ""):
        return Response(data, media_type=kind, headers=whole)
    first, last = match.groups()
    if not first:  # the last so many
        start, stop = max(0, len(data) - int(last)), len(data)
    else:
        start, stop = int(first), min(len(data), int(last) + 1 if last else len(data))
        if last and int(last) < int(first):  # no range at all
            return Response(data, media_type=kind, headers=whole)
    if start >= stop:
        return JSONResponse(
            {"error": f"there are {len(data):,} bytes, and none of them in this range"},
            416,
            {"Content-Range": f"bytes */{len(data)}", "Accept-Ranges": "bytes"},
        )
    part = {**whole, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
    return Response(data[start:stop], 206, part, kind)
