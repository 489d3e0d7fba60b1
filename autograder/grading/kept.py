"""Evidence as a judged notebook keeps it, for a re-judge: packed, since a class of it is read again and again.

Arrays go through as bytes, each once, and all of it through xz: a fifth to a tenth of the JSON. Unpacking is bounded too;
what is unpacked was written by the judge, but it lies in a file.
"""

import base64
import binascii
import json
import lzma

MIME = "application/vnd.course.evidence.kept"
_ARRAY = {"dtype", "shape", "data"}
# With a smaller dictionary than xz takes by itself, which is most of the time for what is small.
_HOW = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 2**20}]


def pack(evidence) -> str:
    """The evidence, whatever JSON value it is, as text."""
    pieces: dict[bytes, int] = {}  # each array once, and where in all of them it begins
    text = json.dumps(_without_arrays(evidence, pieces), separators=(",", ":")).encode()
    whole = len(text).to_bytes(8, "big") + text + b"".join(pieces)
    return base64.b64encode(lzma.compress(whole, filters=_HOW)).decode()


def unpack(kept: str, most: int):
    """What `pack` was given. Raises ValueError for what it did not write, and for more than `most` bytes."""
    try:
        reader = lzma.LZMADecompressor(memlimit=128 * 2**20)
        whole = reader.decompress(base64.b64decode(kept, validate=True), max_length=most + 1)
    except (lzma.LZMAError, binascii.Error, TypeError) as error:
        raise ValueError(f"the evidence that was kept cannot be read: {error}") from error
    if len(whole) > most or not reader.eof:
        raise ValueError(f"the evidence that was kept is cut off, or larger than {most} bytes")
    end = 8 + int.from_bytes(whole[:8], "big")
    return _with_arrays(json.loads(whole[8:end]), memoryview(whole)[end:], [most])


def _without_arrays(value, pieces: dict[bytes, int]):
    """`value`, with the text of arrays' data replaced by [where, how long] in `pieces`."""
    if isinstance(value, dict):
        if value.keys() == _ARRAY and isinstance(value["data"], str) and (data := _as_bytes(value["data"])) is not None:
            last = next(reversed(pieces), b"")
            where = pieces.setdefault(data, pieces.get(last, 0) + len(last))
            return value | {"data": [where, len(data)]}
        return {name: _without_arrays(one, pieces) for name, one in value.items()}
    return [_without_arrays(one, pieces) for one in value] if isinstance(value, list) else value


def _as_bytes(text: str) -> bytes | None:
    """The bytes that give this very text again; None where no bytes do."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode() == text else None


def _with_arrays(value, pieces: memoryview, room: list[int]):
    """What `_without_arrays` was given. room: how many bytes of arrays may still come of it, many of one piece too."""
    if isinstance(value, dict):
        if value.keys() == _ARRAY and isinstance(value["data"], list):
            where, length = value["data"]
            room[0] -= length
            if room[0] < 0:
                raise ValueError("the evidence that was kept holds more than it may")
            return value | {"data": base64.b64encode(pieces[where : where + length]).decode()}
        return {name: _with_arrays(one, pieces, room) for name, one in value.items()}
    return [_with_arrays(one, pieces, room) for one in value] if isinstance(value, list) else value
