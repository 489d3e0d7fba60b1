"""The numbers of the data card (README.md), counted from the generated files so that the card cannot go stale."""

import json
from collections.abc import Mapping

from data.truth import FACTS, UNSEEN_SUMS
from data.utility import bayes_ceiling, preference_probability
from data.words import SPECIAL_TOKENS, VOCABULARY
from data.world import FIRST_WORDS

BEGIN, STOP = "<!-- numbers, written by data.build -->", "<!-- end of the numbers -->"


def with_numbers(text: str, files: Mapping[str, str]) -> str:
    """The card with the numbers of these files between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(STOP)
    return f"{before}{BEGIN}\n{numbers(files)}\n{STOP}{after}"


def numbers(files: Mapping[str, str]) -> str:
    """Two Markdown tables and a sentence, from {path in data/: text of the file}."""
    train = files["corpus/train.txt.gz"].splitlines()
    heldout = _records(files, "corpus/heldout.jsonl.gz")
    lines = [
        "| kind | training documents | tokens | share of tokens | held-out documents | floor, nats per token |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    total = _tokens(train)
    for kind, first_words in FIRST_WORDS.items():
        texts = [text for text in train if text.split(maxsplit=1)[0] in first_words]
        kept = [record for record in heldout if record["kind"] == kind]
        share = f"{_tokens(texts) / total:.1%}"
        lines.append(f"| {kind} | {len(texts):,} | {_tokens(texts):,} | {share} | {len(kept)} | {_floor(kept):.3f} |")
    lines.append(f"| all | {len(train):,} | {total:,} | 100% | {len(heldout)} | {_floor(heldout):.3f} |")
    longest = max(len(text.split()) for text in train) + 2
    lines += [
        "",
        f"The longest training document has {longest} tokens, `<bos>` and `<eos>` among them. The vocabulary has "
        f"{len(VOCABULARY)} tokens, {len(SPECIAL_TOKENS)} of them special. There are {len(FACTS)} facts; "
        f"{len(UNSEEN_SUMS)} calculations are kept out of the corpus.",
        "",
        "| set | training records | held-out records | |",
        "|---|---:|---:|---|",
    ]
    notes = {
        "instructions": _kept(files, "instructions", "kind"),
        "demonstrations": "",
        "preferences": _ceiling(files),
        "dialect": "",
        "style": _kept(files, "style", "topic"),
    }
    for name, note in notes.items():
        train_set, heldout_set = (_records(files, f"sets/{name}_{split}.jsonl.gz") for split in ("train", "heldout"))
        lines.append(f"| {name} | {len(train_set):,} | {len(heldout_set):,} | {note} |")
    return "\n".join(lines)


def _records(files: Mapping[str, str], name: str) -> list[dict]:
    return [json.loads(line) for line in files[name].splitlines()]


def _tokens(texts: list[str]) -> int:
    """Predicted tokens: the words and <eos>."""
    return sum(len(text.split()) + 1 for text in texts)


def _floor(records: list[dict]) -> float:
    logps = [logp for record in records for logp in record["logps"]]
    return -sum(logps) / len(logps)


def _kept(files: Mapping[str, str], name: str, key: str) -> str:
    """How many held-out records there are of each kind, which is what `key` holds."""
    kinds = [record[key] for record in _records(files, f"sets/{name}_heldout.jsonl.gz")]
    return "held out: " + ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _ceiling(files: Mapping[str, str]) -> str:
    pairs = _records(files, "sets/preferences_heldout.jsonl.gz")
    chances = [preference_probability(pair["utility_chosen"], pair["utility_rejected"]) for pair in pairs]
    return f"held out: the best possible predictor of the labels expects an accuracy of {bayes_ceiling(chances):.3f}"
