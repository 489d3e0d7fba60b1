"""Correct answers to chapter 02 in other shapes: conversations. Every check must accept them."""

import itertools

import numpy as np
import torch

from autograder.judging.catalogue import alternative

# --- Exercise 1: a conversation as tokens


@alternative("render_chat")
def spoken_message_by_message(messages, template, encode, add_generation_prompt=False):
    """One message after the other, with str.replace; a tuple of tuples of bools."""
    ids, mask = list(encode(template["start"])), [False] * len(encode(template["start"]))
    for message in messages:
        header = encode(template["header"].replace("{role}", message["role"]))
        said = encode(message["content"]) + encode(template["end"])
        after = encode(template["after"])
        ids.extend(header + said + after)
        mask.extend([False] * len(header) + [message["role"] == "assistant"] * len(said) + [False] * len(after))
    if add_generation_prompt:
        header = encode(template["header"].replace("{role}", "assistant"))
        ids.extend(header)
        mask.extend([False] * len(header))
    return tuple(ids), tuple(mask)


@alternative("render_chat")
def pairs_unzipped(messages, template, encode, add_generation_prompt=False):
    """(id, spoken) pairs, unzipped at the end into a list of two lists."""

    def pieces():
        yield template["start"], 0
        for role, content in ((m["role"], m["content"]) for m in messages):
            yield template["header"].format(role=role), 0
            yield content, role == "assistant"
            yield template["end"], role == "assistant"
            yield template["after"], 0
        if add_generation_prompt:
            yield template["header"].format(role="assistant"), 0

    pairs = [(token, int(spoken)) for text, spoken in pieces() for token in encode(text)]
    return [[token for token, _ in pairs], [spoken for _, spoken in pairs]]


@alternative("render_chat")
def numpy_segments(messages, template, encode, add_generation_prompt=False):
    """np.concatenate of ids and of np.full; arrays of 32-bit ids and boolean masks."""
    texts, spoken = [template["start"]], [False]
    for m in messages:
        assistant = m["role"] == "assistant"
        texts += [template["header"].format(**m), m["content"], template["end"], template["after"]]
        spoken += [False, assistant, assistant, False]
    if add_generation_prompt:
        texts.append(template["header"].format(role="assistant"))
        spoken.append(False)
    encoded = [np.array(encode(text), dtype=np.int32) for text in texts]
    return np.concatenate(encoded), np.concatenate([np.full(len(e), s) for e, s in zip(encoded, spoken)])


@alternative("render_chat")
def spans_filled_later(messages, template, encode, add_generation_prompt=False):
    """Spans of the answers are noted, then filled into a mask of zeros; tensors come back."""
    ids, spans = [], []
    ids += encode(template["start"])
    for m in messages:
        ids += encode(template["header"].format(role=m["role"]))
        begin = len(ids)
        for part in (m["content"], template["end"]):
            ids += encode(part)
        if m["role"] == "assistant":
            spans.append(range(begin, len(ids)))
        ids += encode(template["after"])
    if add_generation_prompt:
        ids += encode(template["header"].format(role="assistant"))
    mask = torch.zeros(len(ids), dtype=torch.int8)
    for span in spans:
        mask[list(span)] = 1
    return torch.tensor(ids), mask


@alternative("render_chat")
def chained(messages, template, encode, add_generation_prompt=False):
    """itertools.chain over encoded pieces, a mask by itertools.repeat."""
    turns = [*messages, {"role": "assistant", "content": None}] if add_generation_prompt else messages
    pieces = [(encode(template["start"]), 0)]
    for turn in turns:
        pieces.append((encode(template["header"].format(role=turn["role"])), 0))
        if turn["content"] is None:
            break
        says = 1 if turn["role"] == "assistant" else 0
        pieces.extend(
            [(encode(turn["content"]), says), (encode(template["end"]), says), (encode(template["after"]), 0)]
        )
    ids = itertools.chain.from_iterable(p for p, _ in pieces)
    return list(ids), list(itertools.chain.from_iterable(itertools.repeat(s, len(p)) for p, s in pieces))


@alternative("render_chat")
def piece_by_piece(messages, template, encode, add_generation_prompt=False):
    """A helper that appends a piece and its mask; nothing is encoded where the text is empty."""
    ids, mask = [], []

    def add(text, spoken=False):
        tokens = encode(text) if text else []
        ids.extend(tokens)
        mask.extend([1 if spoken else 0] * len(tokens))

    add(template["start"])
    for message in messages:
        speaks = message["role"] == "assistant"
        add(template["header"].format(role=message["role"]))
        add(message["content"], speaks)
        add(template["end"], speaks)
        add(template["after"])
    if add_generation_prompt:
        add(template["header"].format(role="assistant"))
    return ids, mask


# --- Exercise 2: what is supervised


@alternative("answer_labels")
def tensors_with_where(input_ids, assistant_mask, last_only=False):
    """torch.where; the last stretch by a running count of the changes of the mask. A tensor comes back."""
    ids, mask = torch.tensor(input_ids), torch.tensor(assistant_mask)
    begins = (mask.diff(prepend=torch.zeros(1, dtype=mask.dtype)) == 1).cumsum(0)
    kept = mask.bool() & ((begins == begins[-1]) if last_only else True)
    return torch.where(kept, ids, -100)


@alternative("answer_labels")
def grouped_stretches(input_ids, assistant_mask, last_only=False):
    """itertools.groupby over the mask; a tuple comes back."""
    groups, begin = [], 0
    for spoken, group in itertools.groupby(assistant_mask):
        size = len(list(group))
        groups.append((spoken, begin, begin + size))
        begin += size
    answers = [group for group in groups if group[0]]
    labels = [-100] * len(input_ids)
    for _, first, stop in answers[-1:] if last_only else answers:
        labels[first:stop] = input_ids[first:stop]
    return tuple(labels)


@alternative("answer_labels")
def backwards_with_a_flag(input_ids, assistant_mask, last_only=False):
    """From the end to the front, with a flag that says whether the last answer is over."""
    labels, speaking, over = [], False, False
    for token, spoken in zip(reversed(input_ids), reversed(assistant_mask)):
        over = over or (last_only and speaking and not spoken)
        speaking = bool(spoken)
        labels.insert(0, token if spoken and not over else -100)
    return labels


@alternative("answer_labels")
def numpy_with_flatnonzero(input_ids, assistant_mask, last_only=False):
    """NumPy: a copy, an index, and the last gap among the positions of the assistant's tokens."""
    labels = np.full(len(input_ids), -100, dtype=np.int32)
    spoken = np.flatnonzero(assistant_mask)
    if last_only and len(spoken):
        spoken = np.split(spoken, np.flatnonzero(np.diff(spoken) > 1) + 1)[-1]
    labels[spoken] = np.asarray(input_ids)[spoken]
    return labels


@alternative("answer_labels")
def mask_as_text(input_ids, assistant_mask, last_only=False):
    """The mask as a string of digits, searched from the right."""
    text = "".join(str(int(spoken)) for spoken in assistant_mask)
    stop = text.rfind("1") + 1
    begin = text.rfind("0", 0, stop) + 1 if last_only else 0
    return [t if text[i] == "1" and (not last_only or begin <= i < stop) else -100 for i, t in enumerate(input_ids)]


@alternative("answer_labels")
def stretches_of_equal_numbers(input_ids, assistant_mask, last_only=False):
    """torch.unique_consecutive gives the stretches; all spoken ones but the last are hidden."""
    labels = torch.tensor(input_ids)
    spoken, counts = torch.unique_consecutive(torch.tensor(assistant_mask, dtype=torch.bool), return_counts=True)
    if last_only and spoken.any():
        last = int(spoken.nonzero()[-1])
        spoken = torch.arange(len(spoken)) == last
    return labels.masked_fill(~spoken.repeat_interleave(counts), -100)


@alternative("answer_labels")
def walked_back_from_the_end(input_ids, assistant_mask, last_only=False):
    """Two walks back from the end: over what nobody speaks, then over the answer."""
    begin = 0
    if last_only:
        begin = len(input_ids)
        while begin > 0 and not assistant_mask[begin - 1]:
            begin -= 1
        while begin > 0 and assistant_mask[begin - 1]:
            begin -= 1
    return [t if m == 1 and i >= begin else -100 for i, (t, m) in enumerate(zip(input_ids, assistant_mask))]
