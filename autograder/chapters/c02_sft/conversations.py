"""Probes of chapter 02, the data side of supervised fine-tuning: from conversations to batches.

Lengths in a case are distinct and mostly odd; ids, contents and places vary with the seed. Nothing here needs the
course's data or its tokenizer: the probes bring a toy `encode` of their own.
"""

import operator
import random
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import torch

from autograder.exercise import Exercise, Unexpected

TOPIC = "02_sft"
IGNORE = -100  # the label that cross-entropy leaves out


def _ids(value, what: str) -> torch.Tensor:
    """A list of integers (or a tuple, or a tensor or array of one axis) as a tensor, so that all of them compare."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise Unexpected(f"{what} should be a list of integers; your function returned {type(value).__name__}.")
    try:
        return torch.tensor([operator.index(item) for item in value], dtype=torch.long)
    except (TypeError, RuntimeError, OverflowError):
        odd = next((x for x in value if not isinstance(x, int)), value)
        raise Unexpected(
            f"{what} should hold integers; one of yours is {str(odd)[:60]} ({type(odd).__name__})."
        ) from None


def _two_lists(value, first: str, second: str) -> tuple[torch.Tensor, torch.Tensor]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise Unexpected(
            f"The function should return two lists, {first} and {second}; it returned {type(value).__name__}"
            f"{f' of {len(value)}' if isinstance(value, (tuple, list)) else ''}."
        )
    return _ids(value[0], f"The first thing, {first},"), _ids(value[1], f"The second thing, {second},")


def _refusal(what: str, call: Callable, length: int | None = None, limit: int | None = None) -> dict:
    """The message of the ValueError that a call raises, for the rule `refusals`; or None, and what it returned.

    length, limit: numbers that the message should name.
    """
    named = {} if limit is None else {f"{what}_length": length, f"{what}_limit": limit}
    try:
        returned = call()
    except ValueError as error:
        return {f"{what}_message": str(error), **named}
    return {f"{what}_message": None, f"{what}_returned": _raw(returned), **named}


def _raw(value):
    """As it is, with a dict as a list of its values."""
    return list(value.values()) if isinstance(value, Mapping) else value


# ---------------------------------------------------------------------------------------------------------------------
render_chat = Exercise("render_chat", TOPIC, "Exercise 1: a conversation as tokens")

_WORDS = "tide lamp river moss pebble cloud fern harbour candle thistle orchard anvil".split()
# The length of no header, and of no "end", is a multiple of three: see _encoder.
_CHATML = {"start": "", "header": "<|im_start|>{role}\n", "end": "<|im_end|>", "after": "\n"}
_BRACKETS = {"start": "<begin>", "header": "[{role}]: ", "end": "<end>", "after": "\n\n"}
_PLAIN = {"start": "<s>\n", "header": "## {role}\n", "end": "</s>", "after": ""}


def _encoder(seed: int) -> Callable[[str], list[int]]:
    """A toy tokenizer: three characters make a token, counted from the beginning of what it is given.

    So, as with byte-pair encoding, two texts encoded together are not what they are one after the other.
    """

    def encode(text: str) -> list[int]:
        return [5 + zlib.crc32(f"{seed} {text[i : i + 3]}".encode()) % 491 for i in range(0, len(text), 3)]

    return encode


def _content(draw: random.Random, words: int) -> str:
    text = " ".join(draw.choice(_WORDS) for _ in range(words))
    return text + "!" * (len(text) % 3 == 0)


def _conversation(seed: int, roles: str) -> list[dict]:
    """Messages of the roles with these initials, e.g. "sua": contents of different lengths."""
    draw = random.Random(seed)
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [
        {"role": names[initial], "content": _content(draw, 2 + (3 * i + seed) % 5)} for i, initial in enumerate(roles)
    ]


def _rendered(answer, seed: int, messages: list[dict], template: dict[str, str], **options) -> dict:
    returned = answer(messages, dict(template), _encoder(seed), **options)
    ids, mask = _two_lists(returned, "ids", "assistant_mask")
    return {"ids": ids, "assistant_mask": mask}


@render_chat.case
def a_question_and_an_answer(answer, seed):
    """A user's question and the assistant's answer: the answer and its "end" are spoken (1), all else is not (0)."""
    return _rendered(answer, seed, _conversation(seed, "ua"), _CHATML)


@render_chat.case
def several_turns(answer, seed):
    """A system message and several turns: each answer is spoken, and "start" comes once, before everything."""
    return _rendered(answer, seed, _conversation(seed, "suauaua"), _BRACKETS)


@render_chat.case
def tool_turns(answer, seed):
    """The assistant calls a tool: the call is spoken, what the tool returns is not, and then the assistant speaks again."""
    return _rendered(answer, seed, _conversation(seed, "uatatau"), _BRACKETS)


@render_chat.case
def another_template(answer, seed):
    """Another model, another template: all texts come from `template`, and one of them may be empty."""
    return _rendered(answer, seed, _conversation(seed, "suaa"), _PLAIN)


@render_chat.case
def a_generation_prompt(answer, seed):
    """add_generation_prompt puts the assistant's header at the end, and nothing more; it is not spoken."""
    return _rendered(answer, seed, _conversation(seed, "uau"), _CHATML, add_generation_prompt=True)


@render_chat.case
def prompts_alone(answer, seed):
    """A conversation without an answer, without a generation prompt, and with one: nothing is spoken."""
    messages = _conversation(seed, "su")
    without = _rendered(answer, seed, messages, _BRACKETS)
    asked = _rendered(answer, seed, messages, _BRACKETS, add_generation_prompt=True)
    return without | {f"{name}_with_a_generation_prompt": value for name, value in asked.items()}


@render_chat.case
def an_answer_and_a_generation_prompt(answer, seed):
    """A generation prompt after an answer opens another one: it is added whoever spoke last."""
    return _rendered(answer, seed, _conversation(seed, "ua"), _PLAIN, add_generation_prompt=True)


@render_chat.case
def content_is_only_content(answer, seed):
    """Content is encoded as it stands: braces, spaces at its ends and a quoted header mean nothing in it; it may be
    empty."""
    header = _CHATML["header"].format(role="assistant")
    messages = _conversation(seed, "uauaua")
    messages[0]["content"] = f"what is {{role}} for ?{' ' * (1 + seed % 2)}\n"
    messages[3]["content"] = f"  {{role}} holds a name .{' ' * (2 + seed % 2)}"
    quoting = _content(random.Random(seed + 1), 4)
    messages[4]["content"] = quoting + "?" * (-len(quoting) % 3) + header  # the header's tokens stand here, too
    messages[5]["content"] = ""
    return _rendered(answer, seed, messages, _CHATML)


# ---------------------------------------------------------------------------------------------------------------------
answer_labels = Exercise("answer_labels", TOPIC, "Exercise 2: what is supervised")


def _spoken(seed: int, *stretches: int) -> tuple[list[int], list[int]]:
    """Ids in [5, 90) and a mask: stretches of these lengths, by turns not spoken and spoken."""
    mask = [i % 2 for i, length in enumerate(stretches) for _ in range(length)]
    draw = random.Random(seed)
    return [draw.randrange(5, 90) for _ in mask], mask


def _labelled(answer, ids: list[int], mask: list[int], **options) -> torch.Tensor:
    return _ids(answer(ids, mask, **options), "The labels")


@answer_labels.case
def one_answer(answer, seed):
    """A prompt and its answer: -100 on the prompt, the ids themselves on the answer, each in its own place."""
    return {"labels": _labelled(answer, *_spoken(seed, 7 + seed % 3, 5))}


@answer_labels.case
def several_answers(answer, seed):
    """Several turns: every answer is supervised, whatever stands between and behind them."""
    return {"labels": _labelled(answer, *_spoken(seed, 4, 3 + seed % 4, 5, 1, 2, 6, 3))}


@answer_labels.case
def the_last_answer_only(answer, seed):
    """last_only: the last unbroken stretch keeps its labels, all earlier ones lose theirs."""
    return {"labels": _labelled(answer, *_spoken(seed, 3, 4, 2, 5 + seed % 3), last_only=True)}


@answer_labels.case
def more_behind_the_last_answer(answer, seed):
    """last_only, with tokens behind the last answer that nobody speaks: they get no labels, the answer keeps all."""
    return {"labels": _labelled(answer, *_spoken(seed, 2, 5, 3, 4, 1 + seed % 5), last_only=True)}


@answer_labels.case
def an_answer_from_the_start(answer, seed):
    """The assistant speaks from the very first token on (a template without header), with last_only and without."""
    spoken = _spoken(seed, 0, 4 + seed % 3, 3)
    again = _spoken(seed + 1, 0, 5, 2, 3)
    nothing_else = _spoken(seed + 2, 0, 5 + seed % 3)
    return {
        "labels": _labelled(answer, *spoken, last_only=True),
        "labels_of_both": _labelled(answer, *again),
        "labels_where_nobody_else_speaks": _labelled(answer, *nothing_else, last_only=True),
    }


@answer_labels.case
def nobody_answers(answer, seed):
    """The assistant says nothing: -100 everywhere, with last_only and without, and nothing is raised."""
    spoken = _spoken(seed, 6 + seed % 5)
    return {"labels": _labelled(answer, *spoken), "labels_with_last_only": _labelled(answer, *spoken, last_only=True)}


@answer_labels.case
def ordinary_ids(answer, seed):
    """Id 0 is an id like any other, and the same id may stand in a prompt and in an answer: only the mask decides."""
    ids, mask = _spoken(seed, 5, 4, 3, 6)
    for place in (1, 6, 8, 10, 14):
        ids[place] = 0
    ids[3] = ids[7]
    return {
        "labels": _labelled(answer, ids, mask),
        "labels_with_last_only": _labelled(answer, ids, mask, last_only=True),
    }


# ---------------------------------------------------------------------------------------------------------------------
truncate_example = Exercise("truncate_example", TOPIC, "Exercise 3: too long")


def _example(seed: int, *stretches: int) -> tuple[list[int], list[int]]:
    """Ids and labels: stretches of these lengths, by turns without and with labels."""
    ids, mask = _spoken(seed, *stretches)
    return ids, [token if spoken else IGNORE for token, spoken in zip(ids, mask, strict=True)]


def _cut(answer, ids: list[int], labels: list[int], max_length: int, what: str = "") -> dict:
    cut_ids, cut_labels = _two_lists(answer(ids, labels, max_length), "input_ids", "labels")
    return {f"{what}input_ids": cut_ids, f"{what}labels": cut_labels}


@truncate_example.case
def a_long_prompt(answer, seed):
    """A prompt that is too long loses its beginning; max_length tokens stay, the answer among them."""
    return _cut(answer, *_example(seed, 13 + seed % 3, 5), max_length=11)


@truncate_example.case
def short_enough(answer, seed):
    """An example of max_length tokens, or of fewer, stays as it is, whatever of it is supervised."""
    example = _example(seed, 6, 3 + seed % 3)
    from_the_start = _example(seed, 0, 4 + seed % 3, 2, 3)
    return {
        **_cut(answer, *example, max_length=len(example[0]), what="exactly_"),
        **_cut(answer, *example, max_length=14, what="shorter_"),
        **_cut(answer, *from_the_start, max_length=len(from_the_start[0]), what="supervised_from_the_start_"),
    }


@truncate_example.case
def just_possible(answer, seed):
    """A long answer that just fits: of the prompt one token stays, from which the first of the answer is predicted."""
    return _cut(answer, *_example(seed, 8, 5 + seed % 4), max_length=6 + seed % 4)


@truncate_example.case
def several_answers_and_a_tail(answer, seed):
    """Several turns: all supervised tokens stay, and so does what stands between and behind them."""
    return _cut(answer, *_example(seed, 9 + seed % 4, 3, 4, 2, 3), max_length=17)


@truncate_example.case(rule="refusals")
def impossible(answer, seed):
    """An answer that cannot stay whole, with one token before it: a ValueError names the length and max_length."""
    early_answer = _example(seed, 4, 3, 10 + seed % 3)  # short, but far from the end
    early_answer[0][4:7] = early_answer[1][4:7] = [0, 0, 0]  # 0 is an id, too
    tried = {
        "a_long_answer": (_example(seed, 6, 13 + seed % 3), 11),
        "no_room_for_a_token_before": (_example(seed, 7, 9), 9),
        "an_early_answer": (early_answer, 12),
        "two_answers": (_example(seed, 5, 2, 7 + seed % 3, 3), 11),
        "one_token_too_many": (_example(seed, 1, 8), 8),
        "the_first_token_supervised": (_example(seed, 0, 1, 11), 9),
        "room_for_one_token": (_example(seed, 6 + seed % 3, 1), 1),
    }
    refusals = {}
    for what, ((ids, labels), max_length) in tried.items():
        refusals |= _refusal(what, lambda i=ids, t=labels, m=max_length: answer(i, t, m), len(ids), max_length)
    return refusals


@truncate_example.case
def nothing_supervised(answer, seed):
    """An example without any supervised token can always be cut."""
    example = _example(seed, 10 + seed % 4)
    return _cut(answer, *example, max_length=7) | _cut(answer, *example, max_length=1, what="to_one_token_")


# ---------------------------------------------------------------------------------------------------------------------
collate = Exercise("collate", TOPIC, "Exercise 4: a batch")


def _tensors(value, *names: str) -> dict[str, torch.Tensor]:
    """The named tensors of a batch, which is a dict of any kind and may hold more."""
    if not isinstance(value, Mapping):
        raise Unexpected(f"A dict of tensors should come back; your function returned {type(value).__name__}.")
    missing = [name for name in names if name not in value]
    if missing:
        raise Unexpected(f"Your batch has no {missing[0]!r}; its keys are {', '.join(map(repr, value)) or 'none'}.")
    for name in names:
        if not isinstance(value[name], torch.Tensor):
            raise Unexpected(f"{name} should be a tensor; in your batch it is {type(value[name]).__name__}.")
    return {name: value[name] for name in names}


_BATCH = ("input_ids", "attention_mask", "labels")


def _collated(answer, *given, **options) -> dict[str, torch.Tensor]:
    """The three tensors as whole numbers: of what kind they are is a case of its own."""
    batch = _tensors(answer(*given, **options), *_BATCH)
    return {name: tensor.long() for name, tensor in batch.items()}


def _batch_sizes(examples: list) -> dict[str, int]:
    return {"the number of examples": len(examples), "the length of the longest": max(len(ids) for ids, _ in examples)}


@collate.case
def padded_on_the_right(answer, seed):
    """Padding goes to the right unless another side is asked for: pad_id, 0 and -100, up to the longest example."""
    examples = [_example(seed, 4, 3), _example(seed + 1, 5, 6, 2 + seed % 3), _example(seed + 2, 2, 3)]
    examples[1][0][3] = 0  # an ordinary id
    return _collated(answer, examples, 3) | {"_sizes": _batch_sizes(examples)}


@collate.case
def padded_on_the_left(answer, seed):
    """side="left" puts padding in front, in all three tensors, as for generation."""
    examples = [_example(seed, 2, 3), _example(seed + 1, 3, 1), _example(seed + 2, 4, 1 + seed % 3, 2, 4)]
    return _collated(answer, examples, 2, side="left") | {"_sizes": _batch_sizes(examples)}


@collate.case
def padding_with_a_real_token(answer, seed):
    """Many models pad with their end token: where it really stands, it is attended to and keeps its label."""
    examples = [_example(seed, 3, 4), _example(seed + 1, 5, 4 + seed % 3), _example(seed + 2, 2, 3)]
    for ids, labels in examples:
        ids[0] = ids[-1] = labels[-1] = 4
    return _collated(answer, examples, 4, side="right")


@collate.case
def nothing_to_pad(answer, seed):
    """Examples of one length, or a single one: nothing is added."""
    alike = _collated(answer, [_example(seed + i, 4 + seed % 3, 3) for i in range(5)], 1)
    single = _collated(answer, [_example(seed, 2, 3)], 0, side="left")
    return alike | {f"{name}_of_a_single_one": value for name, value in single.items()}


@collate.case
def whole_numbers(answer, seed):
    """All three tensors are int64, the attention mask as well: no booleans, no floats, no shorter integers."""
    batch = _tensors(answer([_example(seed, 3, 2), _example(seed + 1, 4, 5 + seed % 3)], 3), *_BATCH)
    for name, tensor in batch.items():
        if tensor.dtype != torch.int64:
            raise Unexpected(f"{name} should be int64; yours is {str(tensor.dtype).removeprefix('torch.')}.")
    return batch
