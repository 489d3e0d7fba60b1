"""Small generated tasks for prompts, and a model that reads them. Given to chapter 08, not taught there."""

import random
from collections.abc import Callable
from typing import NamedTuple

import torch

Example = tuple[str, str]  # a text and its label


class Task(NamedTuple):
    """What is asked, in words, and how often. pool: what examples are drawn from; asked: questions, none of them in the pool."""

    name: str
    input_name: str
    label_name: str
    labels: tuple[str, ...]
    pool: list[Example]
    asked: list[Example]


class Reader(NamedTuple):
    """A model that reads prompts. encode: the token ids of a text; real: whether it is a language model; note: what it is."""

    model: object
    tokenizer: object
    encode: Callable[[str], list[int]]
    real: bool
    note: str


def load_reader() -> Reader:
    """SmolLM2, or what COURSE_MODEL names. Where none can be had: a stand-in that has learned nothing."""
    from course import hub

    try:
        model, tokenizer = hub.load_chat_model()
    except hub.NoChatModel as problem:
        note = f"{problem}\n\nA small model that has learned nothing stands in: its numbers are those of chance."
        return Reader(_stand_in(), None, lambda text: list(text.encode()), False, note)
    count = sum(p.numel() for p in model.parameters())
    name = model.config.name_or_path.rstrip("/").split("/")[-1]
    encode = lambda text: tokenizer(text, add_special_tokens=False).input_ids  # noqa: E731
    return Reader(model, tokenizer, encode, True, f"{name}: {count:,} parameters")


def _stand_in():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=256, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=4096, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def pieces(reader: Reader, text: str) -> list[str]:
    """The tokens of a text, as text; a space in front is shown as ␣, the end of a line as ↵."""
    ids = reader.encode(text)
    shown = [reader.tokenizer.decode([i]) if reader.real else bytes([i]).decode(errors="replace") for i in ids]
    return [piece.replace(" ", "␣").replace("\n", "↵") for piece in shown]


# --- The tasks

_THINGS = ("film", "meal", "hotel", "book", "concert", "trip", "game", "lesson")
_GOOD = ("wonderful", "excellent", "delightful", "great", "superb", "charming", "a joy from start to end", "better than I hoped")
_BAD = ("terrible", "awful", "dreadful", "boring", "a waste of time", "disappointing", "far too long", "worse than I feared")

_KINDS = {
    "animal": "dog horse tiger rabbit eagle salmon whale spider monkey goat".split(),
    "food": "bread cheese soup pizza rice butter salad pasta honey cake".split(),
    "tool": "hammer saw drill wrench shovel scissors pliers axe ladder screwdriver".split(),
}


def tasks(seed: int, asked: int) -> dict[str, Task]:
    """The tasks by name; asked: questions of each.

    Two have names of labels that say what they mean (sentiment, kind), one asks for a rule of numbers (odd or even), and two
    are the sentiment again, with labels that mean nothing, and with the two labels turned round.
    """
    rng = random.Random(seed)
    reviews = [(f"The {thing} was {word}.", label)
               for thing in _THINGS for words, label in ((_GOOD, "positive"), (_BAD, "negative"))
               for word in words]  # fmt: skip
    words = [(word, kind) for kind, some in _KINDS.items() for word in some]
    numbers = [(str(n), "even" if n % 2 == 0 else "odd") for n in range(2, 100)]
    found = {
        "sentiment": _task("sentiment", "Review", "Sentiment", reviews, rng, asked),
        "kind": _task("kind", "Word", "Kind", words, rng, asked),
        "odd or even": _task("odd or even", "Number", "Answer", numbers, rng, asked),
    }
    plain = found["sentiment"]
    for name, new in (("labels without meaning", ("apple", "chair")), ("labels turned round", ("negative", "positive"))):
        found[name] = _relabelled(plain, name, dict(zip(("positive", "negative"), new, strict=True)))
    return found


def _task(name: str, input_name: str, label_name: str, rows: list[Example], rng: random.Random, asked: int) -> Task:
    rows = list(rows)
    rng.shuffle(rows)
    labels = tuple(sorted({label for _, label in rows}))
    asked = min(asked, len(rows) // 2)
    chosen = []
    for label in labels:  # as many of each label
        chosen += [row for row in rows if row[1] == label][: asked // len(labels)]
    rng.shuffle(chosen)
    return Task(name, input_name, label_name, labels, [row for row in rows if row not in chosen], chosen)


def _relabelled(task: Task, name: str, new: dict[str, str]) -> Task:
    change = lambda rows: [(text, new[label]) for text, label in rows]  # noqa: E731
    labels = tuple(new[label] for label in task.labels)
    return task._replace(name=name, label_name="Label", labels=labels, pool=change(task.pool), asked=change(task.asked))


def draw_examples(task: Task, shots: int, rng: random.Random) -> list[Example]:
    """So many examples by chance, the labels as evenly as the number allows, in an order by chance."""
    order = list(task.labels)
    rng.shuffle(order)
    wanted = [order[i % len(order)] for i in range(shots)]
    by_label = {label: rng.sample([row for row in task.pool if row[1] == label], wanted.count(label)) for label in order}
    found = [by_label[label].pop() for label in wanted]
    rng.shuffle(found)
    return found


def word_rows(reader: Reader, rows: int, words: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of pairs of random words that have nothing to do with each other: all pairs of a row once, then all of them again in
    another order. Each word is one token. Returns the ids, (rows, 4 * words), and xs, (rows, 2 * words): which pair it is.
    """
    if reader.real:
        pieces = reader.tokenizer.convert_ids_to_tokens(range(1000, min(20_000, len(reader.tokenizer))))
        known = [1000 + i for i, p in enumerate(pieces) if p[0] in "Ġ▁" and len(p) > 4 and p[1:].isalpha() and p[1:].islower()]
    else:
        known = list(range(97, 123))
    ids, xs = [], []
    for _ in range(rows):
        chosen = torch.tensor(known)[torch.randperm(len(known), generator=generator)[: 2 * words]].view(words, 2)
        order = torch.cat([torch.arange(words), torch.randperm(words, generator=generator)])
        ids.append(chosen[order].flatten())
        xs.append(order)
    return torch.stack(ids), torch.stack(xs)
