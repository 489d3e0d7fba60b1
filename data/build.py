"""Writes every generated file of this folder, always the same: `python -m data.build`.

`python -m data.build --check` writes nothing; it compares what is on the disk, and what would be written, with CHECKSUMS.
Checkpoints are not made here: chapters train them.
"""

import argparse
import gzip
import hashlib
import io
import json
import random
import sys
from pathlib import Path

from data import card, tasks
from data.probes import probes
from data.style import style
from data.words import BOS, CLS, EOS, MASK, PAD, SEP, SPECIAL_TOKENS, UNK, VOCABULARY
from data.world import LONGEST, Document, write_document

FOLDER = Path(__file__).resolve().parent
CHECKSUMS = FOLDER / "CHECKSUMS"
README = FOLDER / "README.md"  # the data card; its table of numbers is generated
TRAIN_DOCUMENTS, HELDOUT_DOCUMENTS = 40_000, 600
SEEDS = {"heldout": 1, "train": 2, "instructions": 3, "preferences": 4, "dialect": 5, "style": 6, "demonstrations": 7}

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    " <assistant> {% generation %}{{ message['content'] }} <end>{% endgeneration %}"
    "{% else %} <{{ message['role'] }}> {{ message['content'] }} <end>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} <assistant>{% endif %}"
)


def contents() -> dict[str, str]:
    """The text of every generated file, by its path in this folder."""
    heldout = write_documents(SEEDS["heldout"], HELDOUT_DOCUMENTS, avoid=set())
    train = write_documents(SEEDS["train"], TRAIN_DOCUMENTS, avoid={document.text for document in heldout})
    files = {
        "corpus/train.txt.gz": "".join(f"{document.text}\n" for document in train),
        "corpus/heldout.jsonl.gz": json_lines(
            {"kind": document.kind, "text": document.text, "logps": [round(logp, 5) for logp in document.logps]}
            for document in heldout
        ),
        "probes.json": json.dumps(probes(heldout), indent=1) + "\n",
    }
    for make in (tasks.instructions, tasks.demonstrations, tasks.preferences, tasks.dialect, style):
        name = make.__name__
        for split, records in zip(("train", "heldout"), make(SEEDS[name]), strict=True):
            files[f"sets/{name}_{split}.jsonl.gz"] = json_lines(records)
    return files | tokenizer_files()


def write_documents(seed: int, count: int, avoid: set[str]) -> list[Document]:
    """So many documents, none of whose texts is in `avoid`."""
    rng = random.Random(seed)
    documents: list[Document] = []
    while len(documents) < count:
        document = write_document(rng)
        if len(document.words) - 1 > LONGEST:
            raise ValueError(f"A document has {len(document.words)} words; world.LONGEST is {LONGEST}: {document.text}")
        if document.text not in avoid:
            documents.append(document)
    return documents


def json_lines(records) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def tokenizer_files() -> dict[str, str]:
    """A word-level tokenizer in the Hugging Face format. It lowers case and splits off punctuation, for typed text."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": LONGEST + 2,
        "clean_up_tokenization_spaces": False,
        "padding_side": "right",
        **dict(pad_token=PAD, unk_token=UNK, bos_token=BOS, eos_token=EOS, mask_token=MASK, cls_token=CLS, sep_token=SEP),
        "chat_template": CHAT_TEMPLATE,
    }
    return {
        "tokenizer/tokenizer.json": json.dumps(json.loads(tokenizer.to_str()), indent=1) + "\n",
        "tokenizer/tokenizer_config.json": json.dumps(config, indent=1) + "\n",
    }


def checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def compress(text: str) -> bytes:
    """gzip without a time or a name in it: the same text gives the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(text.encode())
    return buffer.getvalue()


def read(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


def write() -> None:
    files = contents()
    for name, text in files.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(compress(text) if path.suffix == ".gz" else text.encode())
    # Of what the files say, not of their bytes: compressors differ from one Python to the next.
    CHECKSUMS.write_text("".join(f"{checksum(text)}  {name}\n" for name, text in sorted(files.items())))
    README.write_text(card.with_numbers(README.read_text(), files))


def recorded() -> dict[str, str]:
    """{path: checksum}, as CHECKSUMS says."""
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in CHECKSUMS.read_text().splitlines())}


def damaged() -> list[str]:
    """A sentence for each file that is missing, or is not what CHECKSUMS says."""
    problems = []
    for name, digest in recorded().items():
        path = FOLDER / name
        if not path.exists():
            problems.append(f"{name} is missing.")
        elif checksum(read(path)) != digest:
            problems.append(f"{name} differs from what CHECKSUMS says.")
    return problems


def outdated() -> list[str]:
    """A sentence for each file that this code would write otherwise than CHECKSUMS says."""
    files = contents()
    fresh = {name: checksum(text) for name, text in files.items()}
    changed = {name for name in fresh.keys() | recorded().keys() if fresh.get(name) != recorded().get(name)}
    if card.with_numbers(README.read_text(), files) != README.read_text():
        changed.add(README.name)
    return [f"{name} would be written differently now." for name in sorted(changed)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m data.build", description="Write the generated files of data/.")
    parser.add_argument("--check", action="store_true", help="write nothing; say whether the files are as they should be")
    if parser.parse_args().check:
        problems = damaged() + outdated()
        print("\n".join(problems) or "Every generated file is as it should be.")
        if problems:
            print("Run `python -m data.build` to write them again.")
        return bool(problems)
    write()
    size = sum((FOLDER / name).stat().st_size for name in recorded())
    print(f"Wrote {len(recorded())} files, {size / 2**20:.1f} MiB, to {FOLDER}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
