"""A forged checkpoint is refused with a sentence, and costs nothing; a right one is read as it was written."""

import io
import json
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.torch import save

from autograder.tensors import MOST_HEADER, Refused, read_tensors

SHAPES = {"lora_A": (3, 8), "lora_B": (12, 3)}
RIGHT = {name: torch.arange(24.0 if name == "lora_A" else 36.0).reshape(shape) for name, shape in SHAPES.items()}


def file_of(header, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def changed(**entries) -> bytes:
    """A right file whose header says something else of its tensors; None takes an entry out."""
    header = {
        "lora_A": {"dtype": "F32", "shape": [3, 8], "data_offsets": [0, 96]},
        "lora_B": {"dtype": "F32", "shape": [12, 3], "data_offsets": [96, 240]},
    } | entries
    return file_of({name: place for name, place in header.items() if place is not None}, bytes(240))


def place(dtype="F32", shape=(3, 8), offsets=(0, 96), **more) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)} | more


def saved_by_torch() -> bytes:
    into = io.BytesIO()
    torch.save(RIGHT, into)
    return into.getvalue()


def with_value(value: float) -> bytes:
    tensors = {name: x.clone() for name, x in RIGHT.items()}
    tensors["lora_B"][4, 1] = value
    return save(tensors)


FORGED = {
    "nothing": (b"", "at least eight bytes"),
    "a text": ("lora_A", "handed in as bytes"),
    "a pickle": (pickle.dumps(RIGHT), "This is a pickle"),
    "an old pickle": (pickle.dumps({"lora_A": [1.0] * 9}, protocol=2), "This is a pickle"),
    "torch.save": (saved_by_torch(), "an archive with a pickle in it"),
    "a header of 10 GB": (struct.pack("<Q", 10**10) + b"{}", "10,000,000,000 bytes"),
    "the largest header": (b"\xff" * 8 + b"{}", "bytes. At most"),
    "a header just too long": (file_of({}, length=MOST_HEADER + 1), "At most"),
    "a header that is cut off": (file_of({}, length=500), "cut off"),
    "a header that is no text": (file_of(b"\xff\xfe\xfd"), "cannot be read"),
    "a header that is no JSON": (file_of(b"{'lora_A': 1}"), "cannot be read"),
    "a header deep as a well": (file_of(b"[" * 60_000), "cannot be read"),
    "a name twice": (file_of(b'{"lora_A": {}, "lora_A": {}}'), "cannot be read"),
    "a list for a header": (file_of([1, 2]), "no list of tensors by name"),
    "a tensor too few": (save({"lora_A": RIGHT["lora_A"]}), "lora_B is missing"),
    "a tensor too many": (save(RIGHT | {"more": torch.zeros(1)}), "for which nobody asked"),
    "other shapes": (save(RIGHT | {"lora_A": torch.zeros(8, 3)}), "asked for is (3, 8)"),
    "a shape of another rank": (save(RIGHT | {"lora_A": torch.zeros(24)}), "asked for is (3, 8)"),
    "a shape of truths": (changed(lora_A=place(shape=(True, True))), "has the shape"),
    "a huge shape": (changed(lora_A=place(shape=(2**62, 2**62))), "has the shape"),
    "doubles": (save(RIGHT | {"lora_A": torch.zeros(3, 8).double()}), "are of the kind 'F64'"),
    "integers": (save(RIGHT | {"lora_A": torch.zeros(3, 8, dtype=torch.int32)}), "are of the kind 'I32'"),
    "a kind that is a list": (changed(lora_A=place(dtype=["F32"])), "are of the kind"),
    "something more of a tensor": (changed(lora_A=place(code="x")), "nothing else"),
    "nothing of a tensor": (changed(lora_A=7), "nothing else"),
    "offsets that overlap": (changed(lora_B=place(shape=(12, 3), offsets=(0, 144))), "overlap"),
    "offsets with a gap": (changed(lora_B=place(shape=(12, 3), offsets=(97, 241))), "gap"),
    "offsets from behind": (changed(lora_A=place(offsets=(96, 0))), "take 96 bytes"),
    "offsets below 0": (changed(lora_A=place(offsets=(-96, 0))), "take 96 bytes"),
    "offsets that are no numbers": (changed(lora_A=place(offsets=(0.0, 96.0))), "take 96 bytes"),
    "offsets beyond the end": (changed(lora_A=place(offsets=(240, 336))), "gap"),
    "numbers that are cut off": (save(RIGHT)[:-4], "stand behind the header"),
    "numbers left over": (save(RIGHT) + bytes(4), "stand behind the header"),
    "metadata of another form": (changed(__metadata__={"a": 1}), "metadata"),
    "NaN": (with_value(float("nan")), "NaN or infinite"),
    "infinity": (with_value(float("-inf")), "NaN or infinite"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_checkpoint_is_refused_with_a_sentence(name):
    content, says = FORGED[name]
    with pytest.raises(Refused) as refused:
        read_tensors(content, SHAPES)
    sentence = str(refused.value)
    assert says in sentence and sentence[0].isupper() and sentence.endswith(".") and len(sentence) < 300, sentence


def test_a_right_one_is_read_as_it_was_written():
    found = read_tensors(save(RIGHT, metadata={"format": "pt"}), SHAPES)
    assert list(found) == list(SHAPES)
    for name, x in found.items():
        assert x.dtype == np.float32 and np.array_equal(x, RIGHT[name].numpy())
        x += 1  # it is writable, and a copy


def test_half_precision_is_read_where_it_is_allowed():
    half = {name: x.half() for name, x in RIGHT.items()}
    with pytest.raises(Refused, match="F16"):
        read_tensors(save(half), SHAPES)
    assert np.array_equal(read_tensors(save(half), SHAPES, ("F32", "F16"))["lora_B"], RIGHT["lora_B"].numpy())


def test_a_header_whose_length_begins_like_a_pickle_is_read():
    """128 is the first byte of a pickle, too."""
    text = json.dumps(
        {"lora_A": place(), "lora_B": place(shape=(12, 3), offsets=(96, 240)), "__metadata__": {"x": ""}}
    ).encode()
    text += b" " * (0x280 - len(text))  # a length of 0x0280: its bytes are 80 02 00 …
    assert set(read_tensors(struct.pack("<Q", len(text)) + text + bytes(240), SHAPES)) == set(SHAPES)


def test_nothing_large_is_allocated_for_a_claim():
    tracemalloc.start()
    for content, _ in FORGED.values():
        with pytest.raises(Refused):
            read_tensors(content, SHAPES)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_pickle_is_not_opened():
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was opened",))

    with pytest.raises(Refused, match="pickle"):
        read_tensors(pickle.dumps(Bomb()), SHAPES)


@pytest.mark.parametrize("seed", range(40))
def test_bytes_that_were_changed_by_chance_are_read_or_refused(seed):
    rng = np.random.default_rng(seed)
    content = bytearray(save(RIGHT))
    for _ in range(1 + seed % 5):
        content[int(rng.integers(len(content)))] = int(rng.integers(256))
    try:
        found = read_tensors(bytes(content), SHAPES)
    except Refused:
        return
    assert all(x.shape == SHAPES[name] and np.isfinite(x).all() for name, x in found.items())
