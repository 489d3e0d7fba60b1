"""Reading the world's files: tokenizer, corpus, held-out documents with true probabilities, probes, sets of tasks.

`data/README.md` says what each file holds and how it was made.
"""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

DATA = Path(__file__).resolve().parents[1] / "data"
ROW = 128  # tokens: the nano models' context, and every document fits it


class DataMissing(FileNotFoundError):
    """A file of the generated world is not where it should be."""


class HeldoutDocument(NamedTuple):
    """A document no model was trained on. `logps` are true, in nats: of each word of the text, then of <eos>."""

    kind: str  # story, facts, sums, copying or questions
    text: str
    logps: list[float]


class Rows(NamedTuple):
    """Documents as token ids. Both tensors are (rows, length), int64; attention_mask is 0 on padding and 1 elsewhere."""

    input_ids: "torch.Tensor"
    attention_mask: "torch.Tensor"


def load_tokenizer() -> "PreTrainedTokenizerFast":
    """The word-level tokenizer, in the ordinary Hugging Face format, with a chat template.

    Calling it adds no <bos> or <eos>: write them, or use `encode_documents`.
    """
    from transformers import AutoTokenizer

    folder = _existing("tokenizer/tokenizer.json").parent
    return AutoTokenizer.from_pretrained(folder)


def load_corpus(split: str = "train") -> list[str]:
    """The documents of a split, "train" or "heldout": words separated by spaces, without <bos> and <eos>."""
    if split == "heldout":
        return [document.text for document in load_heldout()]
    if split != "train":
        raise ValueError(f"There is no split '{split}': ask for 'train' or 'heldout'.")
    return _read("corpus/train.txt.gz").splitlines()


def load_heldout(kind: str | None = None) -> list[HeldoutDocument]:
    """The held-out documents with their true log-probabilities; with `kind`, those of one kind."""
    records = [HeldoutDocument(**json.loads(line)) for line in _read("corpus/heldout.jsonl.gz").splitlines()]
    kinds = sorted({record.kind for record in records})
    if kind is not None and kind not in kinds:
        raise ValueError(f"There is no kind '{kind}' of document: the kinds are {', '.join(kinds)}.")
    return [record for record in records if kind in (None, record.kind)]


def entropy_floor(kind: str | None = None) -> float:
    """The loss of the true distribution on the held-out documents, in nats per predicted token.

    Every token after <bos> is predicted, <eos> included. No model can expect less; a model may fall below it on these
    documents only by luck.
    """
    logps = [logp for document in load_heldout(kind) for logp in document.logps]
    return -sum(logps) / len(logps)


def load_probes() -> dict[str, list[dict[str, str]]]:
    """Cloze probes: {group: [{"prompt": ..., "answer": the one right next token}]}.

    The group "questions" has no answers: it holds questions for a base model, to see how it goes on.
    """
    return json.loads(_read("probes.json"))


def load_jsonl(name: str) -> list[dict]:
    """The records of a set in `data/sets`, e.g. load_jsonl("instructions_train")."""
    path = DATA / "sets" / f"{name}.jsonl.gz"
    if not path.exists() and path.parent.exists():
        names = ", ".join(sorted(found.name.removesuffix(".jsonl.gz") for found in path.parent.glob("*.jsonl.gz")))
        raise DataMissing(f"There is no set '{name}'. The sets are: {names}. (`python -m data.build` writes them.)")
    return [json.loads(line) for line in _read(f"sets/{name}.jsonl.gz").splitlines()]


def encode_documents(texts: Sequence[str], tokenizer: "PreTrainedTokenizerFast") -> list[list[int]]:
    """Token ids of each document of the world, from <bos> to <eos>.

    The texts are words separated by spaces, so looking each word up gives what the tokenizer would, but sooner.
    """
    ids, unknown = tokenizer.get_vocab(), tokenizer.unk_token_id
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id
    return [[first, *(ids.get(word, unknown) for word in text.split()), last] for text in texts]


def pad_rows(texts: Sequence[str], tokenizer: "PreTrainedTokenizerFast", length: int | None = None) -> Rows:
    """One document a row, padded on the right to `length` tokens, or to the longest document.

    The mean loss over such rows counts the tokens that `entropy_floor` counts: on the held-out documents, compare them.
    """
    documents = encode_documents(texts, tokenizer)
    return _rows(documents, tokenizer.pad_token_id, length or max(map(len, documents), default=0))


def pack_rows(texts: Sequence[str], tokenizer: "PreTrainedTokenizerFast", length: int = ROW) -> Rows:
    """Whole documents, as many to a row as fit, so that little of a batch is padding. No document crosses a row.

    A model sees the earlier documents of its row as well, and has to learn that they do not matter. Each document goes
    to the fullest of the open rows that can take it; documents keep roughly their order.
    """
    open_rows: list[list[int]] = []
    rows: list[list[int]] = []
    for document in encode_documents(texts, tokenizer):
        fitting = [row for row in open_rows if len(row) + len(document) <= length]
        if fitting:
            max(fitting, key=len).extend(document)
        else:
            open_rows.append(list(document))
        if len(open_rows) > 32:
            open_rows.sort(key=len)
            rows.append(open_rows.pop())
    return _rows(rows + open_rows, tokenizer.pad_token_id, length)


def _rows(rows: list[list[int]], pad: int, length: int) -> Rows:
    import torch

    longest = max(map(len, rows), default=0)
    if longest > length:
        raise ValueError(f"A document of {longest} tokens does not fit a row of {length}: ask for longer rows.")
    input_ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows]).reshape(len(rows), length)
    lengths = torch.tensor([len(row) for row in rows])
    attention_mask = (torch.arange(length) < lengths[:, None]).long()
    return Rows(input_ids.long(), attention_mask)


def _existing(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        raise DataMissing(f"{path} is missing. `python -m data.build`, run in the repository's folder, writes it again.")
    return path


def _read(name: str) -> str:
    path = _existing(name)
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
