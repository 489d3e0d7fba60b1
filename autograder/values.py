"""Raw data as JSON and back: what travels from the student's kernel to the judge.

`encode` runs beside the student's code; `decode` runs in the judge and treats what it reads as hostile: it accepts
only numbers, strings and arrays of plain dtypes whose sizes agree, and never unpickles.
"""

import base64
import math
from dataclasses import dataclass

import numpy as np

MAX_BYTES = 2_000_000  # of one array: a probe's answers are small, a larger one is a mistake or an attack
MAX_DIGITS = 300  # of one integer: more than that does not fit a float
DTYPES = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
)


class MalformedEvidence(Exception):
    """What the kernel emitted is not evidence in the agreed form."""


@dataclass(frozen=True)
class Other:
    """A value of a kind that is not data: only its type and a short repr are kept."""

    type: str
    repr: str


def encode(value) -> dict:
    """A JSON object for a tensor, array, number, string, None, or a list of these."""
    if value is None:
        return {"none": True}
    if isinstance(value, (bool, np.bool_)):
        return {"bool": bool(value)}
    if isinstance(value, (int, np.integer)):
        if abs(int(value)) >= 10 ** (MAX_DIGITS - 1):
            return {"other": {"type": "integer", "repr": f"(more than {MAX_DIGITS - 1} digits)"}}
        return {"int": str(int(value))}
    if isinstance(value, (float, np.floating)):
        return {"float": repr(float(value))}
    if isinstance(value, str):
        return {"text": value[:100_000]}
    array = _as_array(value)
    if array is not None:
        return _encode_array(array)
    if isinstance(value, (list, tuple)):
        return {"list": [encode(item) for item in value]}
    return {"other": {"type": type(value).__name__, "repr": _short_repr(value)}}


def _as_array(value) -> np.ndarray | None:
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a torch tensor, without importing torch here
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        if str(value.dtype).removeprefix("torch.") not in DTYPES:
            return None
        return value.numpy()
    if isinstance(value, np.ndarray):
        return value if str(value.dtype) in DTYPES else None
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, (int, float)) for v in value):
        array = np.asarray(value)
        return array if str(array.dtype) in DTYPES else None  # integers beyond 64 bits stay a list
    return None


def _encode_array(array: np.ndarray) -> dict:
    if array.nbytes > MAX_BYTES:
        return {"other": {"type": f"array of shape {array.shape}", "repr": "(too large to keep)"}}
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"array": {"dtype": str(array.dtype), "shape": list(array.shape), "data": data}}


def _short_repr(value) -> str:
    try:
        return repr(value)[:200]
    except Exception as error:  # a broken __repr__ is the student's, and must not stop the check
        return f"(its repr raised {type(error).__name__})"


def decode(encoded):
    """The value that `encode` was given: None, bool, int, float, str, np.ndarray, list, or Other.

    Raises MalformedEvidence when the object is of no agreed form.
    """
    if not isinstance(encoded, dict) or len(encoded) != 1:
        raise MalformedEvidence("a value is not an object with one key")
    kind, content = next(iter(encoded.items()))
    try:
        return _DECODERS[kind](content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise MalformedEvidence(f"a value of kind {str(kind)[:40]!r} cannot be read") from error


def _decode_array(content: dict) -> np.ndarray:
    dtype, shape = content["dtype"], content["shape"]
    if dtype not in DTYPES or len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise ValueError("dtype or shape")
    # An axis of length 0 makes an array of nothing whose other axes may claim anything: whoever sums over it pays.
    if math.prod(n for n in shape if n) * np.dtype(dtype).itemsize > MAX_BYTES:
        raise ValueError("too large")
    claimed = math.prod(shape) * np.dtype(dtype).itemsize
    if len(content["data"]) != 4 * -(-claimed // 3):  # seen before it is decoded
        raise ValueError("size")
    data = base64.b64decode(content["data"], validate=True)
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()


_DECODERS = {
    "none": lambda content: None,
    "bool": lambda content: bool(content),
    "int": lambda content: int(content) if len(content) <= MAX_DIGITS else _too_long(),
    "float": lambda content: float(content),
    "text": lambda content: str(content),
    "array": _decode_array,
    "list": lambda content: [decode(item) for item in content],
    "other": lambda content: Other(str(content["type"])[:100], str(content["repr"])[:200]),
}


def _too_long():
    raise ValueError("too many digits")
