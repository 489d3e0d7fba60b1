"""Tensors out of bytes that nobody trusts: the safetensors format, read strictly.

A file is eight bytes that say how long its header is, the header (JSON: of each tensor a name, a kind of number, a shape and a
place), and the numbers. Nothing in it is executed, and nothing is allocated because the file claims that it is large. What is
not exactly as asked for is refused, with a sentence that says why.

    read_tensors(content, {"lora_A": (3, 8), "lora_B": (12, 3)})
"""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

MOST_HEADER = 65_536  # bytes
METADATA = "__metadata__"
KINDS = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
HOW = "Write it with safetensors.torch.save."

Shape = tuple[int, ...]


class Refused(ValueError):
    """The bytes are no checkpoint of the form that was asked for. The message is a sentence for whoever handed it in."""


def read_tensors(content: bytes, shapes: Mapping[str, Shape], kinds: Sequence[str] = ("F32",)) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, as float32. Raises Refused unless it holds exactly those of `shapes`, all finite.

    kinds: which kinds of numbers may stand in it, of KINDS.
    """
    header, data = _parts(content)
    places = {name: place for name, place in header.items() if name != METADATA}
    _check_metadata(header.get(METADATA, {}))
    for name in shapes:
        if name not in places:
            raise Refused(f"The tensor {name} is missing in the checkpoint.")
    for name in places:
        if name not in shapes:
            raise Refused(f"The checkpoint holds a tensor {_quoted(name)}, for which nobody asked.")
    spans = {name: _span(name, places[name], shape, kinds) for name, shape in shapes.items()}
    _check_that_they_fill(sorted(spans.values()), len(data))
    return {name: _numbers(name, data, places[name]["dtype"], spans[name], shape) for name, shape in shapes.items()}


def _parts(content: bytes) -> tuple[dict, memoryview]:
    """The header, parsed, and the numbers behind it."""
    if not isinstance(content, (bytes, bytearray)):
        raise Refused(f"A checkpoint is handed in as bytes; this is of the type {type(content).__name__}. {HOW}")
    if len(content) < 8:
        raise Refused(f"A checkpoint has at least eight bytes; this one has {len(content)}. {HOW}")
    length = int.from_bytes(content[:8], "little")
    if length > MOST_HEADER:
        raise Refused(_too_long(bytes(content[:4]), length))
    if 8 + length > len(content):
        raise Refused(f"The checkpoint is cut off: its header should have {length} bytes, and {len(content) - 8} are there.")
    try:
        header = json.loads(bytes(content[8 : 8 + length]).decode("utf-8"), object_pairs_hook=_once_each)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, a name twice, or too deep
        raise Refused(f"The header of the checkpoint cannot be read. {HOW}") from None
    if not isinstance(header, dict):
        raise Refused(f"The header of the checkpoint is no list of tensors by name. {HOW}")
    return header, memoryview(content)[8 + length :]


def _too_long(begins: bytes, length: int) -> str:
    if begins[:1] == b"\x80" and begins[1] in range(2, 6):
        return f"This is a pickle. Whoever opens one runs what stands in it, so it was not opened. {HOW}"
    if begins == b"PK\x03\x04":
        return f"This is an archive with a pickle in it, as torch.save writes it. It was not opened. {HOW}"
    return f"The checkpoint claims a header of {length:,} bytes. At most {MOST_HEADER:,} are read."


def _once_each(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _check_metadata(metadata) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Refused("The metadata of the checkpoint are no texts by name.")


def _span(name: str, place, shape: Shape, kinds: Sequence[str]) -> tuple[int, int]:
    """Where the numbers of a tensor begin and end, if the header says of it what it has to say."""
    if not isinstance(place, dict) or set(place) != {"dtype", "shape", "data_offsets"}:
        raise Refused(f"Of the tensor {name} the header should say dtype, shape and data_offsets, and nothing else.")
    if place["dtype"] not in tuple(kinds):  # a tuple: what is asked for may be something that cannot be hashed
        raise Refused(f"The numbers of {name} are of the kind {_quoted(place['dtype'])}; asked for is {' or '.join(kinds)}.")
    if not _whole_numbers(place["shape"]) or tuple(place["shape"]) != tuple(shape):
        raise Refused(f"The tensor {name} has the shape {_quoted(place['shape'])}; asked for is {tuple(shape)}.")
    offsets = place["data_offsets"]
    size = math.prod(shape) * KINDS[place["dtype"]].itemsize
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] < 0 or offsets[1] - offsets[0] != size:
        raise Refused(f"The numbers of {name} take {size} bytes; the header gives them the places {_quoted(offsets)}.")
    return offsets[0], offsets[1]


def _whole_numbers(value) -> bool:
    return isinstance(value, list) and all(type(n) is int for n in value)


def _check_that_they_fill(spans: list[tuple[int, int]], size: int) -> None:
    """The tensors lie behind one another, from the first byte to the last."""
    at = 0
    for begin, end in spans:
        if begin != at:
            raise Refused("The tensors of the checkpoint overlap, or leave a gap between them.")
        at = end
    if at != size:
        raise Refused(f"The tensors of the checkpoint take {at} bytes, and {size} stand behind the header.")


def _numbers(name: str, data: memoryview, kind: str, span: tuple[int, int], shape: Shape) -> np.ndarray:
    found = np.frombuffer(data[span[0] : span[1]], dtype=KINDS[kind]).astype(np.float32).reshape(shape)
    if not np.isfinite(found).all():
        raise Refused(f"The tensor {name} holds numbers that are NaN or infinite.")
    return found


def _quoted(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
