"""Wrong answers to chapter 02. Each docstring is the hint the student reads: what was done, why it is wrong, where to
look. Helpers hold what several mistakes share."""

import math

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import mistake

# --- Exercise 1: a conversation as tokens


def _chat_pieces(messages, template, add_generation_prompt=False):
    """[(kind, role, text), ...] as it should be; kind is one of start, header, content, end, after, prompt."""
    pieces = [("start", "", template["start"])]
    for message in messages:
        role = message["role"]
        header = template["header"].format(role=role)
        pieces += [("header", role, header), ("content", role, message["content"])]
        pieces += [("end", role, template["end"]), ("after", role, template["after"])]
    if add_generation_prompt:
        pieces.append(("prompt", "assistant", template["header"].format(role="assistant")))
    return pieces


def _is_spoken(kind, role):
    return role == "assistant" and kind in ("content", "end")


def _encode_pieces(pieces, encode, spoken=_is_spoken):
    ids, mask = [], []
    for kind, role, text in pieces:
        piece = encode(text)
        ids += piece
        mask += [int(spoken(kind, role))] * len(piece)
    return ids, mask


@mistake("render_chat")
def everything_spoken(messages, template, encode, add_generation_prompt=False):
    """Your mask is 1 everywhere, so the model would learn to write the user's questions as well. Only the content of
    the assistant's messages, and the "end" after it, is spoken."""
    return _encode_pieces(_chat_pieces(messages, template, add_generation_prompt), encode, lambda kind, role: True)


@mistake("render_chat")
def others_spoken(messages, template, encode, add_generation_prompt=False):
    """Your mask is upside down: it is 1 where the assistant does *not* speak. 1 marks what the model is to learn."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces(pieces, encode, lambda kind, role: not _is_spoken(kind, role))


@mistake("render_chat")
def system_spoken(messages, template, encode, add_generation_prompt=False):
    """You count every message as spoken that is not the user's. The system message is an instruction to the model, not
    something it says: ask whether the role *is* "assistant"."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces(
        pieces, encode, lambda kind, role: role in ("assistant", "system") and kind in ("content", "end")
    )


@mistake("render_chat")
def end_not_spoken(messages, template, encode, add_generation_prompt=False):
    """The "end" after an answer is not marked as spoken. It is how the assistant says that it has finished: a model
    never trained on it does not stop."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces(pieces, encode, lambda kind, role: role == "assistant" and kind == "content")


@mistake("render_chat")
def every_end_spoken(messages, template, encode, add_generation_prompt=False):
    """You mark the "end" of every message as spoken, the user's as well. The assistant says only the one that closes
    its own answer."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces(pieces, encode, lambda kind, role: _is_spoken(kind, role) or kind == "end")


@mistake("render_chat")
def header_spoken(messages, template, encode, add_generation_prompt=False):
    """You count the assistant's header as spoken. The header is given to the model, at training and when it generates:
    the first thing it says is the first token of the content."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces(
        pieces, encode, lambda kind, role: _is_spoken(kind, role) or (role, kind) == ("assistant", "header")
    )


@mistake("render_chat")
def after_spoken(messages, template, encode, add_generation_prompt=False):
    """You count the text "after" as spoken. The assistant has ended before it: generation stops at "end", so what
    stands behind that is never the model's to write."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces(
        pieces, encode, lambda kind, role: _is_spoken(kind, role) or (role, kind) == ("assistant", "after")
    )


@mistake("render_chat")
def whole_assistant_message_spoken(messages, template, encode, add_generation_prompt=False):
    """You mark the assistant's whole message as spoken: header, content, "end" and "after". It says only the content
    and "end"; the rest is scaffolding that you put there for it."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces(pieces, encode, lambda kind, role: role == "assistant" and kind != "prompt")


@mistake("render_chat")
def generation_prompt_spoken(messages, template, encode, add_generation_prompt=False):
    """You count the generation prompt as spoken. It is a header like the others: it is given to the model, which then
    begins to speak."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces(pieces, encode, lambda kind, role: _is_spoken(kind, role) or kind == "prompt")


@mistake("render_chat")
def mask_one_early(messages, template, encode, add_generation_prompt=False):
    """Your mask is one place too early: the header's last token counts as spoken, and the last token of "end" does not.
    The mask speaks of the tokens themselves; the shift between input and target comes later, in the loss."""
    ids, mask = _encode_pieces(_chat_pieces(messages, template, add_generation_prompt), encode)
    return ids, [*mask[1:], 0]


@mistake("render_chat")
def mask_one_late(messages, template, encode, add_generation_prompt=False):
    """Your mask is one place too late: the first token of each answer is missing, and one token behind its "end"
    counts. Where does the content begin?"""
    ids, mask = _encode_pieces(_chat_pieces(messages, template, add_generation_prompt), encode)
    return ids, [0, *mask[:-1]]


@mistake("render_chat")
def first_answer_token_missing(messages, template, encode, add_generation_prompt=False):
    """The first token of each answer is not marked as spoken. It is the one that decides how an answer begins, and the
    model predicts it from the header's last token."""
    ids, mask = _encode_pieces(_chat_pieces(messages, template, add_generation_prompt), encode)
    return ids, [int(now and before) for before, now in zip([0, *mask], mask)]


@mistake("render_chat")
def last_header_token_spoken(messages, template, encode, add_generation_prompt=False):
    """The last token of the assistant's header counts as spoken in your mask. What the model says begins with the
    first token of the content: begin one place later."""
    ids, mask = _encode_pieces(_chat_pieces(messages, template, add_generation_prompt), encode)
    return ids, [int(now or after) for now, after in zip(mask, [*mask[1:], 0])]


@mistake("render_chat")
def only_the_last_answer_spoken(messages, template, encode, add_generation_prompt=False):
    """Only the last answer is marked. The mask says where the assistant speaks, in all of its messages; which of them
    are learned is decided in the next exercise."""
    last = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=-1)
    ids, mask = [], []
    for i in range(-1, len(messages)):
        part = _chat_pieces(messages[i : i + 1], template)[1:] if i >= 0 else [("start", "", template["start"])]
        piece, piece_mask = _encode_pieces(part, encode)
        ids += piece
        mask += piece_mask if i == last else [0] * len(piece)
    if add_generation_prompt:
        header = encode(template["header"].format(role="assistant"))
        ids, mask = ids + header, mask + [0] * len(header)
    return ids, mask


@mistake("render_chat")
def only_a_final_answer_spoken(messages, template, encode, add_generation_prompt=False):
    """You mark only what the conversation's last message says. Earlier answers are the assistant's words as well: go by
    the role of each message."""
    ids, mask = _encode_pieces(_chat_pieces(messages[:-1], template), encode, lambda kind, role: False)
    more, more_mask = _encode_pieces(_chat_pieces(messages[-1:], template, add_generation_prompt)[1:], encode)
    return ids + more, mask + more_mask


@mistake("render_chat")
def generation_prompt_always(messages, template, encode, add_generation_prompt=False):
    """You add the assistant's header at the end in every case. It belongs there only when add_generation_prompt asks for
    it: in training, the conversation ends with what was said."""
    return _encode_pieces(_chat_pieces(messages, template, True), encode)


@mistake("render_chat")
def generation_prompt_never(messages, template, encode, add_generation_prompt=False):
    """add_generation_prompt changes nothing in your function. Without the assistant's header at the end, the model may
    go on with the user's turn instead of answering."""
    return _encode_pieces(_chat_pieces(messages, template), encode)


@mistake("render_chat")
def generation_prompt_upside_down(messages, template, encode, add_generation_prompt=False):
    """You add the generation prompt when it is not asked for, and leave it out when it is. Look at the condition."""
    return _encode_pieces(_chat_pieces(messages, template, not add_generation_prompt), encode)


@mistake("render_chat")
def generation_prompt_after_the_user_only(messages, template, encode, add_generation_prompt=False):
    """You add the generation prompt only where the assistant did not speak last. Add it whenever it is asked for, whoever
    spoke last: the caller decides."""
    wanted = add_generation_prompt and messages[-1]["role"] != "assistant"
    return _encode_pieces(_chat_pieces(messages, template, wanted), encode)


@mistake("render_chat")
def generation_prompt_guessed(messages, template, encode, add_generation_prompt=False):
    """You add the assistant's header wherever the user spoke last, and do not ask add_generation_prompt. Only the caller
    knows whether the model is to go on."""
    return _encode_pieces(_chat_pieces(messages, template, messages[-1]["role"] != "assistant"), encode)


@mistake("render_chat")
def generation_prompt_of_the_last_speaker(messages, template, encode, add_generation_prompt=False):
    """Your generation prompt repeats the header of whoever spoke last. It must be the *assistant's*: it is the assistant
    who speaks next."""
    pieces = _chat_pieces(messages, template)
    if add_generation_prompt:
        pieces.append(("prompt", "assistant", template["header"].format(role=messages[-1]["role"])))
    return _encode_pieces(pieces, encode)


@mistake("render_chat")
def generation_prompt_as_an_empty_message(messages, template, encode, add_generation_prompt=False):
    """Your generation prompt is a whole empty message, with its "end": the model would see an answer that is over
    already. Put the header alone."""
    empty = [{"role": "assistant", "content": ""}] * bool(add_generation_prompt)
    return _encode_pieces(_chat_pieces([*messages, *empty], template), encode)


@mistake("render_chat")
def generation_prompt_appended_to_the_messages(messages, template, encode, add_generation_prompt=False):
    """You appended a message to the caller's list, so the conversation grows with every call. Leave `messages` as it is
    and add to your own list of pieces."""
    rendered = _encode_pieces(_chat_pieces(messages, template, add_generation_prompt), encode)
    if add_generation_prompt:
        messages.append({"role": "assistant", "content": ""})
    return rendered


@mistake("render_chat")
def generation_prompt_after_every_message(messages, template, encode, add_generation_prompt=False):
    """The generation prompt stands behind every message. It comes once, at the very end: look at the indentation."""
    pieces = _chat_pieces(messages[:0], template)
    for message in messages:
        pieces += _chat_pieces([message], template, add_generation_prompt)[1:]
    return _encode_pieces(pieces, encode)


@mistake("render_chat")
def start_before_every_message(messages, template, encode, add_generation_prompt=False):
    """You put "start" before every message. It comes once, at the very beginning: a model that sees it in the middle
    takes it for the beginning of another text."""
    pieces = [piece for message in messages for piece in _chat_pieces([message], template)]
    return _encode_pieces(pieces + _chat_pieces([], template, add_generation_prompt)[1:], encode)


@mistake("render_chat")
def start_left_out(messages, template, encode, add_generation_prompt=False):
    """The text "start" is missing. Some templates have none (then it is empty), the others begin with it: encode it
    before the first message."""
    return _encode_pieces(_chat_pieces(messages, template, add_generation_prompt)[1:], encode)


@mistake("render_chat")
def after_left_out(messages, template, encode, add_generation_prompt=False):
    """The text "after" is missing: each message is its header, its content, "end" and "after"."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces([piece for piece in pieces if piece[0] != "after"], encode)


@mistake("render_chat")
def after_only_between(messages, template, encode, add_generation_prompt=False):
    """You put "after" between messages, but not behind the last one. It follows every message; without it, a generation
    prompt would stand where the model never saw one."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    last = max(i for i, piece in enumerate(pieces) if piece[0] == "after")
    return _encode_pieces(pieces[:last] + pieces[last + 1 :], encode)


@mistake("render_chat")
def end_left_out(messages, template, encode, add_generation_prompt=False):
    """The text "end" is missing. Every message ends with it; without it the model never learns when to stop."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces([piece for piece in pieces if piece[0] != "end"], encode)


@mistake("render_chat")
def end_only_after_answers(messages, template, encode, add_generation_prompt=False):
    """Only the assistant's messages end with "end" in your function. Every message does: that is how the model knows
    that the user has finished."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces([p for p in pieces if p[0] != "end" or p[1] == "assistant"], encode)


@mistake("render_chat")
def role_not_filled_in(messages, template, encode, add_generation_prompt=False):
    """Your headers still hold the word {role}: the template's text was not filled in. Use .format(role=…)."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces(
        [(k, r, template["header"] if k in ("header", "prompt") else text) for k, r, text in pieces], encode
    )


@mistake("render_chat")
def content_filled_in(messages, template, encode, add_generation_prompt=False):
    """You call .format on the content as well, so braces that somebody wrote are replaced (or raise a KeyError). Only
    the header of the template holds a {role} to fill in."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces([(k, r, text.format(role=r)) for k, r, text in pieces], encode)


@mistake("render_chat")
def content_stripped(messages, template, encode, add_generation_prompt=False):
    """You strip the spaces off the content. They belong to what was said, and the model must see in training what it
    will see in use: encode the content as it stands."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces([(k, r, text.strip() if k == "content" else text) for k, r, text in pieces], encode)


@mistake("render_chat")
def encoded_as_one_text(messages, template, encode, add_generation_prompt=False):
    """You joined all texts and encoded them at once. A tokenizer merges characters across the seams, so the end of a
    header and the beginning of an answer may share a token, and the mask points at the wrong places. Encode each piece
    by itself."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    joined, mask = "", []
    for kind, role, text in pieces:
        joined += text
        mask += [int(_is_spoken(kind, role))] * (len(encode(joined)) - len(mask))
    return encode(joined), mask


@mistake("render_chat")
def message_encoded_as_one_text(messages, template, encode, add_generation_prompt=False):
    """You encoded each message as one text, header and content together. A tokenizer may merge the end of the header
    with the first letters of the content; then what the model sees in training differs from the generation prompt it
    sees in use. Encode each piece by itself."""
    ids = encode(template["start"])
    mask = [0] * len(ids)
    for message in messages:
        header = template["header"].format(role=message["role"])
        upto_content = len(encode(header))
        whole = encode(header + message["content"] + template["end"])
        spoken = int(message["role"] == "assistant")
        after = encode(template["after"])
        ids += whole + after
        mask += [0] * upto_content + [spoken] * (len(whole) - upto_content) + [0] * len(after)
    if add_generation_prompt:
        header = encode(template["header"].format(role="assistant"))
        ids, mask = ids + header, mask + [0] * len(header)
    return ids, mask


@mistake("render_chat")
def content_and_end_encoded_together(messages, template, encode, add_generation_prompt=False):
    """You encoded the content and "end" as one text. They may share a token then, and a model that generates never
    writes the end token you wait for. Encode each piece by itself."""
    joined = []
    for kind, role, text in _chat_pieces(messages, template, add_generation_prompt):
        if kind == "end":
            joined[-1] = ("content", role, joined[-1][2] + text)
        else:
            joined.append((kind, role, text))
    return _encode_pieces(joined, encode)


@mistake("render_chat")
def answers_found_by_their_header(messages, template, encode, add_generation_prompt=False):
    """You look for the assistant's header among the ids and mark what follows. A user may quote a header in a message:
    then the user's words count as spoken. Go by the role of each message."""
    ids, mask = _encode_pieces(
        _chat_pieces(messages, template, add_generation_prompt), encode, lambda kind, role: False
    )
    header, end = encode(template["header"].format(role="assistant")), encode(template["end"])
    inside = False
    for i in range(len(ids)):
        if ids[max(0, i - len(header)) : i] == header:
            inside = True
        mask[i] = int(inside)
        if ids[max(0, i + 1 - len(end)) : i + 1] == end:
            inside = False
    return ids, mask


@mistake("render_chat")
def mask_per_message(messages, template, encode, add_generation_prompt=False):
    """Your mask has one entry for each piece of text, not one for each token. Repeat the 0 or 1 as often as the piece
    has tokens."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return _encode_pieces(pieces, encode)[0], [int(_is_spoken(kind, role)) for kind, role, _ in pieces]


@mistake("render_chat")
def one_list_per_piece(messages, template, encode, add_generation_prompt=False):
    """You appended each piece's ids as a list, so a list of lists came back. Extend the list instead (+= or .extend): one
    flat list of ids."""
    pieces = _chat_pieces(messages, template, add_generation_prompt)
    return [encode(text) for _, _, text in pieces], [
        [int(_is_spoken(k, r))] * len(encode(text)) for k, r, text in pieces
    ]


# --- Exercise 2: what is supervised


def _stretches(mask):
    """The unbroken stretches of the assistant's tokens, as ranges."""
    found, begin = [], None
    for i, spoken in enumerate([*mask, 0]):
        if spoken and begin is None:
            begin = i
        if not spoken and begin is not None:
            found.append(range(begin, i))
            begin = None
    return found


def _labels(input_ids, mask, last_only=False, ignored=-100):
    kept = {i for stretch in (_stretches(mask)[-1:] if last_only else _stretches(mask)) for i in stretch}
    return [token if i in kept else ignored for i, token in enumerate(input_ids)]


@mistake("answer_labels")
def prompt_supervised(input_ids, assistant_mask, last_only=False):
    """Your labels are the ids, prompt and all, so the model also learns to write questions. Where the mask is 0, the
    label is -100."""
    return list(input_ids)


@mistake("answer_labels")
def prompt_supervised_instead(input_ids, assistant_mask, last_only=False):
    """Your labels are upside down: the prompt is supervised and the answer is not. The mask is 1 where the assistant
    speaks, and there the label is the id."""
    return _labels(input_ids, [1 - spoken for spoken in assistant_mask], last_only)


@mistake("answer_labels")
def zero_instead_of_ignore(input_ids, assistant_mask, last_only=False):
    """You put 0 where nothing is supervised. 0 is a token like any other: the model would be trained to write it. The
    label that cross-entropy leaves out is -100."""
    return _labels(input_ids, assistant_mask, last_only, ignored=0)


@mistake("answer_labels")
def minus_one_instead_of_ignore(input_ids, assistant_mask, last_only=False):
    """You put -1 where nothing is supervised. PyTorch and transformers leave out -100; -1 is an error or a wrong
    target."""
    return _labels(input_ids, assistant_mask, last_only, ignored=-1)


@mistake("answer_labels")
def plus_hundred_instead_of_ignore(input_ids, assistant_mask, last_only=False):
    """You put 100 where nothing is supervised: the sign is lost. 100 may well be the id of a token; what is left out is
    -100."""
    return _labels(input_ids, assistant_mask, last_only, ignored=100)


@mistake("answer_labels")
def none_instead_of_ignore(input_ids, assistant_mask, last_only=False):
    """You put None where nothing is supervised. Labels become a tensor of integers: the one that is left out is -100."""
    return _labels(input_ids, assistant_mask, last_only, ignored=None)


@mistake("answer_labels")
def unsupervised_tokens_dropped(input_ids, assistant_mask, last_only=False):
    """You left out the tokens that are not supervised. Labels are as long as the ids, one for each position: put -100 in
    their places."""
    return [label for label in _labels(input_ids, assistant_mask, last_only) if label != -100]


@mistake("answer_labels")
def labels_shifted(input_ids, assistant_mask, last_only=False):
    """You shifted the labels by one, so that each stands where it is predicted. The loss shifts (here and in
    transformers); shifted twice, the model learns to predict the token after the next."""
    return [*_labels(input_ids, assistant_mask, last_only)[1:], -100]


@mistake("answer_labels")
def labels_shifted_back(input_ids, assistant_mask, last_only=False):
    """Your labels are one place too late: at each position stands the token before it. Label and id stand in the same
    place."""
    return [-100, *_labels(input_ids, assistant_mask, last_only)[:-1]]


@mistake("answer_labels")
def mask_begins_one_late(input_ids, assistant_mask, last_only=False):
    """The first token of each answer is not supervised. The model predicts it from the last token of the prompt, and it
    matters most of all: the shift in the loss takes care of that, the mask must not be moved."""
    labels = _labels(input_ids, assistant_mask, last_only)
    return [now if before != -100 else -100 for before, now in zip([-100, *labels], labels)]


@mistake("answer_labels")
def mask_begins_one_early(input_ids, assistant_mask, last_only=False):
    """The last token before each answer is supervised as well. It belongs to the prompt: label a position by its own
    mask, not by the next one's."""
    labels = _labels(input_ids, assistant_mask, last_only)
    return [
        token if now != -100 or after != -100 else -100
        for token, now, after in zip(input_ids, labels, [*labels[1:], -100])
    ]


@mistake("answer_labels")
def last_token_not_supervised(input_ids, assistant_mask, last_only=False):
    """The last token of each answer is not supervised. It is the end token: without it the model does not learn to
    stop."""
    labels = _labels(input_ids, assistant_mask, last_only)
    return [now if after != -100 else -100 for now, after in zip(labels, [*labels[1:], -100])]


@mistake("answer_labels")
def everything_from_the_first_answer(input_ids, assistant_mask, last_only=False):
    """You supervise everything from the first answer on, later questions included. Each position goes by its own mask."""
    stretches = _stretches(assistant_mask)
    stretches = stretches[-1:] if last_only else stretches
    begin = stretches[0].start if stretches else len(input_ids)
    return [-100] * begin + list(input_ids[begin:])


@mistake("answer_labels")
def last_only_ignored(input_ids, assistant_mask, last_only=False):
    """last_only changes nothing in your function: earlier answers keep their labels."""
    return _labels(input_ids, assistant_mask)


@mistake("answer_labels")
def last_only_always(input_ids, assistant_mask, last_only=False):
    """You keep only the last answer even when last_only is False. Then every answer is supervised."""
    return _labels(input_ids, assistant_mask, True)


@mistake("answer_labels")
def last_only_upside_down(input_ids, assistant_mask, last_only=False):
    """You keep all answers when last_only is True, and only the last one when it is False. Look at the condition."""
    return _labels(input_ids, assistant_mask, not last_only)


@mistake("answer_labels")
def last_token_of_the_last_answer(input_ids, assistant_mask, last_only=False):
    """With last_only you keep a single token. The whole last stretch stays: go back from its end for as long as the mask
    is 1."""
    labels = _labels(input_ids, assistant_mask, last_only)
    last = max((i for i, label in enumerate(labels) if label != -100), default=-1)
    return [label if i == last or not last_only else -100 for i, label in enumerate(labels)]


@mistake("answer_labels")
def only_the_first_answer(input_ids, assistant_mask, last_only=False):
    """With last_only you keep the first answer. It is the last one that is asked for."""
    labels = _labels(input_ids, assistant_mask)
    first = _stretches(assistant_mask)[:1]
    return [-100 if last_only and not (first and i in first[0]) else label for i, label in enumerate(labels)]


@mistake("answer_labels")
def last_answer_dropped(input_ids, assistant_mask, last_only=False):
    """With last_only you take the labels off the last answer and leave them on the others: it is the other way round."""
    labels = _labels(input_ids, assistant_mask)
    last = _stretches(assistant_mask)[-1:]
    return [-100 if last_only and last and i in last[0] else label for i, label in enumerate(labels)]


@mistake("answer_labels")
def last_answer_without_its_first_token(input_ids, assistant_mask, last_only=False):
    """With last_only the last answer loses its first token. Check where your search backwards stops: at the first
    position whose mask is 0, and the answer begins *behind* it."""
    labels = _labels(input_ids, assistant_mask, last_only)
    if last_only and _stretches(assistant_mask):
        labels[_stretches(assistant_mask)[-1].start] = -100
    return labels


@mistake("answer_labels")
def last_answer_with_the_token_before(input_ids, assistant_mask, last_only=False):
    """With last_only the token before the last answer is supervised as well. Check where your search backwards stops: the
    position whose mask is 0 no longer belongs to the answer."""
    labels = _labels(input_ids, assistant_mask, last_only)
    if last_only and _stretches(assistant_mask):
        before = max(0, _stretches(assistant_mask)[-1].start - 1)
        labels[before] = input_ids[before]
    return labels


@mistake("answer_labels")
def tail_supervised(input_ids, assistant_mask, last_only=False):
    """With last_only you supervise everything from the last answer's beginning to the end of the list, whatever stands
    behind the answer. There, too, the mask decides."""
    if not last_only or not _stretches(assistant_mask):
        return _labels(input_ids, assistant_mask)
    begin = _stretches(assistant_mask)[-1].start
    return [-100] * begin + list(input_ids[begin:])


@mistake("answer_labels")
def last_answer_sought_at_the_very_end(input_ids, assistant_mask, last_only=False):
    """With last_only you take the stretch at the very end of the list. Where something stands behind the last answer (a
    line break, the next question), you find nothing: skip the 0s at the end first."""
    labels = _labels(input_ids, assistant_mask, last_only)
    return [-100] * len(labels) if last_only and not assistant_mask[-1] else labels


@mistake("answer_labels")
def last_only_needs_an_answer(input_ids, assistant_mask, last_only=False):
    """With last_only your function fails where the assistant says nothing. There is no last answer then, and every label
    is -100."""
    if last_only and 1 not in assistant_mask:
        raise ValueError("1 is not in list")
    return _labels(input_ids, assistant_mask, last_only)


@mistake("answer_labels")
def stretch_at_the_start_overlooked(input_ids, assistant_mask, last_only=False):
    """With last_only you overlook an answer that begins with the very first token: you look for the place where the mask
    changes from 0 to 1, and there is none. Treat the beginning of the list as such a place."""
    labels = _labels(input_ids, assistant_mask, last_only)
    stretches = _stretches(assistant_mask)
    return [-100] * len(labels) if last_only and stretches and stretches[-1].start == 0 else labels


@mistake("answer_labels")
def spoken_zeros_left_out(input_ids, assistant_mask, last_only=False):
    """You leave out tokens with id 0, even where the assistant says them. 0 is an ordinary id: `token * mask or -100` and
    the like cannot tell it from "nothing"."""
    return [label or -100 for label in _labels(input_ids, assistant_mask, last_only)]


@mistake("answer_labels")
def ids_of_the_prompt_left_out(input_ids, assistant_mask, last_only=False):
    """You leave out every id that occurs in the prompt, even where the assistant says it. The same word may stand in a
    question and in its answer: go by position, not by id."""
    elsewhere = {token for token, spoken in zip(input_ids, assistant_mask) if not spoken}
    return [-100 if label in elsewhere else label for label in _labels(input_ids, assistant_mask, last_only)]


@mistake("answer_labels")
def input_ids_overwritten(input_ids, assistant_mask, last_only=False):
    """You wrote -100 into input_ids itself: labels and input are one list now, and -100 is no id the model can embed.
    Make a new list."""
    input_ids[:] = _labels(input_ids, assistant_mask, last_only)
    return input_ids


@mistake("answer_labels")
def mask_overwritten(input_ids, assistant_mask, last_only=False):
    """You changed the mask that you were given (with last_only you set its earlier 1s to 0). Whoever called you may still
    need it: work on a copy."""
    labels = _labels(input_ids, assistant_mask, last_only)
    assistant_mask[:] = [int(label != -100) for label in labels]
    return labels


# --- Exercise 3: too long


def _first_supervised(labels):
    return next((i for i, label in enumerate(labels) if label != -100), len(labels) + 1)


def _refuse_where_impossible(input_ids, labels, max_length):
    extra = max(0, len(input_ids) - max_length)
    if extra > 0 and extra > _first_supervised(labels) - 1:
        raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")
    return extra


@mistake("truncate_example")
def end_cut_off(input_ids, labels, max_length):
    """You cut the end off. There stand the answer and its end token, the very tokens that are to be learned: cut from the
    front."""
    _refuse_where_impossible(input_ids, labels, max_length)
    return input_ids[:max_length], labels[:max_length]


@mistake("truncate_example")
def end_cut_off_silently(input_ids, labels, max_length):
    """You cut everything off behind max_length and ask nothing, as most libraries do by default. The answer is lost that
    way, or its end token: cut from the front, and refuse where the answer cannot stay whole."""
    return input_ids[:max_length], labels[:max_length]


@mistake("truncate_example")
def labels_cut_at_the_other_end(input_ids, labels, max_length):
    """You cut the ids from the front and the labels from the back, so that they no longer stand beside each other. Cut
    both in the same way."""
    extra = _refuse_where_impossible(input_ids, labels, max_length)
    return input_ids[extra:], labels[:max_length]


@mistake("truncate_example")
def labels_not_cut(input_ids, labels, max_length):
    """You cut the ids but not the labels. They must stay beside each other: the same tokens go from both lists."""
    extra = _refuse_where_impossible(input_ids, labels, max_length)
    return input_ids[extra:], labels


@mistake("truncate_example")
def middle_cut_out(input_ids, labels, max_length):
    """You kept tokens from the beginning and from the end and cut out the middle. What stays must be one unbroken piece:
    the last max_length tokens."""
    _refuse_where_impossible(input_ids, labels, max_length)
    if len(input_ids) <= max_length:
        return input_ids, labels
    tail = max_length - max_length // 2
    return (
        input_ids[: max_length // 2] + input_ids[-tail:],
        labels[: max_length // 2] + labels[-tail:],
    )


@mistake("truncate_example")
def first_token_kept(input_ids, labels, max_length):
    """You kept the first token and cut behind it. That may be a good idea for a model with a start token, but here the
    example is cut from the front: the last max_length tokens stay."""
    extra = _refuse_where_impossible(input_ids, labels, max_length)
    if not extra:
        return input_ids, labels
    return input_ids[:1] + input_ids[extra + 1 :], labels[:1] + labels[extra + 1 :]


@mistake("truncate_example")
def prompt_dropped(input_ids, labels, max_length):
    """You dropped the whole prompt where the example was too long, and only the answer is left: it would be learned as
    an answer to nothing, and its first token has no token before it. Drop only as much as is too much."""
    extra = _refuse_where_impossible(input_ids, labels, max_length)
    first = min(_first_supervised(labels), len(labels)) if extra else 0
    return input_ids[first:], labels[first:]


@mistake("truncate_example")
def prompt_dropped_but_one(input_ids, labels, max_length):
    """You kept a single token of the prompt where the example was too long. That is the least that must stay; keep as
    much as max_length allows."""
    extra = _refuse_where_impossible(input_ids, labels, max_length)
    first = _first_supervised(labels)
    begin = (first - 1 if first < len(labels) else extra) if extra else 0
    return input_ids[begin:], labels[begin:]


@mistake("truncate_example")
def prompt_always_dropped(input_ids, labels, max_length):
    """You drop the prompt even from an example that is short enough. Cut only where there are more than max_length
    tokens."""
    _refuse_where_impossible(input_ids, labels, max_length)
    first = _first_supervised(labels)
    begin = first - 1 if first < len(labels) else max(0, len(labels) - max_length)
    return input_ids[begin:], labels[begin:]


@mistake("truncate_example")
def one_too_many(input_ids, labels, max_length):
    """You cut one token too many: max_length tokens are allowed, and an example of exactly max_length is short enough."""
    if len(input_ids) < max_length:
        return input_ids, labels
    _refuse_where_impossible(input_ids, labels, max_length)
    extra = len(input_ids) - max_length + 1
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def one_too_few(input_ids, labels, max_length):
    """You cut one token too few: max_length + 1 tokens are left. Count what stays once more."""
    extra = max(0, _refuse_where_impossible(input_ids, labels, max_length) - 1)
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def sliced_with_a_negative_number(input_ids, labels, max_length):
    """For an example that is short enough, len - max_length is negative, and a slice that begins at a negative number
    counts from the end: most of the example is lost. Cut only what is too much: max(0, …)."""
    _refuse_where_impossible(input_ids, labels, max_length)
    extra = len(input_ids) - max_length
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def never_refused(input_ids, labels, max_length):
    """You cut into the answer where it does not fit. The model would learn the end of an answer whose beginning it never
    saw: raise a ValueError instead."""
    return input_ids[-max_length:], labels[-max_length:]


@mistake("truncate_example")
def none_where_impossible(input_ids, labels, max_length):
    """You return None where the example cannot be cut. Whoever calls you notices that only later, or never: raise a
    ValueError that says what does not fit."""
    try:
        extra = _refuse_where_impossible(input_ids, labels, max_length)
    except ValueError:
        return None
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def nothing_where_impossible(input_ids, labels, max_length):
    """You return two empty lists where the example cannot be cut, so examples vanish without a word. Raise a ValueError
    that says what does not fit."""
    try:
        extra = _refuse_where_impossible(input_ids, labels, max_length)
    except ValueError:
        return [], []
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def uncut_where_impossible(input_ids, labels, max_length):
    """You return the whole example where it cannot be cut. Then it is longer than max_length, and the model's context or
    the memory is exceeded later. Raise a ValueError that says what does not fit."""
    try:
        extra = _refuse_where_impossible(input_ids, labels, max_length)
    except ValueError:
        return input_ids, labels
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def error_without_words(input_ids, labels, max_length):
    """Your ValueError says nothing. Somebody reads it in the middle of a long run: name the example's length and
    max_length in a sentence."""
    try:
        extra = _refuse_where_impossible(input_ids, labels, max_length)
    except ValueError:
        raise ValueError from None
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def error_without_numbers(input_ids, labels, max_length):
    """Your ValueError names no numbers. With the length and max_length in the sentence, whoever reads it knows at once
    what to change."""
    try:
        extra = _refuse_where_impossible(input_ids, labels, max_length)
    except ValueError:
        raise ValueError("The example is too long.") from None
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def error_of_another_kind(input_ids, labels, max_length):
    """You refuse with an assertion. Assertions are for what cannot happen, and python -O leaves them out; a value that
    does not fit is a ValueError."""
    extra = max(0, len(input_ids) - max_length)
    assert extra == 0 or extra <= _first_supervised(labels) - 1, f"{len(input_ids)} tokens, max_length = {max_length}"
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def first_answer_token_left_alone(input_ids, labels, max_length):
    """You cut up to the first supervised token, so nothing stands before it. No position predicts it then, and it is
    lost to the loss: one token of the prompt must stay."""
    extra = max(0, len(input_ids) - max_length)
    if extra > 0 and extra > _first_supervised(labels):
        raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def refused_too_early(input_ids, labels, max_length):
    """You refuse an example that can still be cut. One token before the first supervised one is enough."""
    extra = max(0, len(input_ids) - max_length)
    if extra > 0 and extra >= _first_supervised(labels) - 1:
        raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def refused_where_nothing_is_supervised(input_ids, labels, max_length):
    """You refuse an example without any supervised token. Nothing can be lost there, so it can always be cut: mind what
    your search for the first supervised token returns when there is none."""
    extra = max(0, len(input_ids) - max_length)
    first = next((i for i, label in enumerate(labels) if label != -100), 0)
    if extra > 0 and extra > first - 1:
        raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def always_refused(input_ids, labels, max_length):
    """You refuse every example that is too long. Most can be cut: only where a supervised token would be lost, or the
    one token before the first of them, is it impossible."""
    if len(input_ids) > max_length:
        raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")
    return input_ids, labels


@mistake("truncate_example")
def supervised_tokens_only_counted(input_ids, labels, max_length):
    """You compare the *number* of supervised tokens with max_length. Where they stand matters, too: an early answer is
    lost when the front is cut, however short it is. Look for the first supervised token."""
    supervised = sum(label != -100 for label in labels)
    extra = max(0, len(input_ids) - max_length)
    if extra > 0 and supervised + (supervised > 0) > max_length:
        raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def last_answer_alone_protected(input_ids, labels, max_length):
    """You keep only the last answer whole. An earlier one is supervised as well: look for the first label that is not
    -100."""
    stretches = _stretches([int(label != -100) for label in labels])
    first = stretches[-1].start if stretches else len(labels) + 1
    extra = max(0, len(input_ids) - max_length)
    if extra > 0 and extra > first - 1:
        raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def id_zero_not_supervised(input_ids, labels, max_length):
    """You take a label of 0 for "not supervised". 0 is an ordinary id: what is left out has the label -100, and nothing
    else."""
    extra = max(0, len(input_ids) - max_length)
    first = next((i for i, label in enumerate(labels) if label > 0), len(labels) + 1)
    if extra > 0 and extra > first - 1:
        raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")
    return input_ids[extra:], labels[extra:]


@mistake("truncate_example")
def tail_cut_first(input_ids, labels, max_length):
    """You cut off what stands behind the last answer before you cut from the front. It may be less useful, but the
    example is cut from the front alone."""
    extra = _refuse_where_impossible(input_ids, labels, max_length)
    stretches = _stretches([int(label != -100) for label in labels])
    tail = min(extra, len(labels) - stretches[-1].stop) if stretches else 0
    return input_ids[extra - tail : len(labels) - tail], labels[extra - tail : len(labels) - tail]


@mistake("truncate_example")
def lists_cut_in_place(input_ids, labels, max_length):
    """You cut the lists that you were given (del, .pop or a slice assignment). Whoever called you may need them whole:
    a slice makes a new list."""
    extra = _refuse_where_impossible(input_ids, labels, max_length)
    del input_ids[:extra], labels[:extra]
    return input_ids, labels


# --- Exercise 4: a batch


def _batch(examples, pad_id, side="right", length=None, label=-100, absent=0):
    """As it should be, but for the length, the label of padding and the mask of padding."""
    length = length or max(len(ids) for ids, _ in examples)
    rows = {"input_ids": [], "attention_mask": [], "labels": []}
    for ids, labels in examples:
        padding = length - len(ids)
        for name, row, fill in (
            ("input_ids", ids, pad_id),
            ("attention_mask", [1] * len(ids), absent),
            ("labels", labels, label),
        ):
            filling = [fill] * padding
            rows[name].append(filling + list(row) if side == "left" else list(row) + filling)
    return {name: torch.tensor(row) for name, row in rows.items()}


@mistake("collate")
def padded_to_a_fixed_length(examples, pad_id, side="right"):
    """You pad to a fixed length. Most of the batch is padding then, which costs time and memory: the longest example of
    the batch is long enough."""
    return _batch(examples, pad_id, side, length=64)


@mistake("collate")
def padded_to_a_multiple_of_eight(examples, pad_id, side="right"):
    """You pad to a multiple of 8. That can be good for a GPU, but here the batch is as long as its longest example."""
    return _batch(examples, pad_id, side, length=-(-max(len(ids) for ids, _ in examples) // 8) * 8)


@mistake("collate")
def one_place_too_long(examples, pad_id, side="right"):
    """Your batch is one place longer than its longest example. Nothing needs to follow it."""
    return _batch(examples, pad_id, side, length=max(len(ids) for ids, _ in examples) + 1)


@mistake("collate")
def cut_to_the_shortest(examples, pad_id, side="right"):
    """You cut all examples to the length of the shortest, and lose the rest of them. Pad the short ones instead."""
    shortest = min(len(ids) for ids, _ in examples)
    return _batch([(ids[:shortest], labels[:shortest]) for ids, labels in examples], pad_id, side)


@mistake("collate")
def side_ignored(examples, pad_id, side="right"):
    """You always pad on the right. A model that generates needs padding on the left: otherwise it goes on from padding."""
    return _batch(examples, pad_id, "right")


@mistake("collate")
def always_on_the_left(examples, pad_id, side="right"):
    """You always pad on the left. `side` says where, and it is "right" unless something else is asked for."""
    return _batch(examples, pad_id, "left")


@mistake("collate")
def sides_swapped(examples, pad_id, side="right"):
    """You swapped the sides: "right" means that padding stands behind the tokens."""
    return _batch(examples, pad_id, "left" if side == "right" else "right")


@mistake("collate")
def labels_padded_on_the_right_always(examples, pad_id, side="right"):
    """Your labels are padded on the right even when the ids are padded on the left, so each label stands beside another
    token than its own. Pad all three in the same way."""
    return _batch(examples, pad_id, side) | {"labels": _batch(examples, pad_id)["labels"]}


@mistake("collate")
def mask_padded_on_the_right_always(examples, pad_id, side="right"):
    """Your attention mask is padded on the right even when the ids are padded on the left: it hides real tokens and shows
    padding. Pad all three in the same way."""
    return _batch(examples, pad_id, side) | {"attention_mask": _batch(examples, pad_id)["attention_mask"]}


@mistake("collate")
def padding_labelled_with_its_id(examples, pad_id, side="right"):
    """The label of padding is pad_id in your batch, so the model is trained to write padding. It is -100, which the loss
    leaves out."""
    return _batch(examples, pad_id, side, label=pad_id)


@mistake("collate")
def padding_labelled_with_zero(examples, pad_id, side="right"):
    """The label of padding is 0 in your batch. 0 is an ordinary token: the model would be trained to write it. -100 is
    what the loss leaves out."""
    return _batch(examples, pad_id, side, label=0)


@mistake("collate")
def mask_by_pad_id(examples, pad_id, side="right"):
    """You made the attention mask by comparing with pad_id. A real token may have that id (many models pad with their end
    token), and it is hidden then: the lengths say what is padding."""
    batch = _batch(examples, pad_id, side)
    return batch | {"attention_mask": (batch["input_ids"] != pad_id).long()}


@mistake("collate")
def labels_by_pad_id(examples, pad_id, side="right"):
    """You put -100 wherever the id is pad_id. Many models pad with their end token: then it is never learned, and the
    model does not stop. The lengths say what is padding."""
    batch = _batch(examples, pad_id, side)
    return batch | {"labels": batch["labels"].masked_fill(batch["input_ids"] == pad_id, -100)}


@mistake("collate")
def mask_and_labels_by_pad_id(examples, pad_id, side="right"):
    """You recognise padding by its id, for the mask and for the labels. A real token may have that id (many models pad
    with their end token): the lengths say what is padding."""
    batch = _batch(examples, pad_id, side)
    padding = batch["input_ids"] == pad_id
    return {
        "input_ids": batch["input_ids"],
        "attention_mask": (~padding).long(),
        "labels": batch["labels"].masked_fill(padding, -100),
    }


@mistake("collate")
def everything_attended(examples, pad_id, side="right"):
    """Your attention mask is 1 everywhere, padding included. Real tokens would look at padding (on the left side at
    least), and that changes what the model says: 0 on padding."""
    return _batch(examples, pad_id, side, absent=1)


@mistake("collate")
def mask_upside_down(examples, pad_id, side="right"):
    """Your attention mask is upside down: 1 means "look at it", 0 is padding. (PyTorch's own key_padding_mask has it the
    other way round; transformers has not.)"""
    batch = _batch(examples, pad_id, side)
    return batch | {"attention_mask": 1 - batch["attention_mask"]}


@mistake("collate")
def mask_of_the_labels(examples, pad_id, side="right"):
    """Your attention mask is 1 only where there is a label. The model must see the prompt to answer it: the mask is about
    padding, the labels are about what is learned."""
    batch = _batch(examples, pad_id, side)
    return batch | {"attention_mask": (batch["labels"] != -100).long()}


@mistake("collate")
def mask_as_floats(examples, pad_id, side="right"):
    """Your attention mask holds floating-point numbers. It should be made of integers, as the ids are."""
    batch = _batch(examples, pad_id, side)
    return batch | {"attention_mask": batch["attention_mask"].float()}


@mistake("collate")
def labels_from_the_ids(examples, pad_id, side="right"):
    """You made the labels from the ids and did not use the labels you were given, so the prompts are supervised again."""
    return _batch([(ids, ids) for ids, _ in examples], pad_id, side)


@mistake("collate")
def ids_padded_with_zero(examples, pad_id, side="right"):
    """You pad the ids with 0. The padding token is an argument: pad_id."""
    return _batch(examples, 0, side)


@mistake("collate")
def ids_padded_with_ignore(examples, pad_id, side="right"):
    """You pad the ids with -100. That is a label; as an id the model cannot embed it. The ids are padded with pad_id."""
    return _batch(examples, -100, side)


@mistake("collate")
def examples_sorted(examples, pad_id, side="right"):
    """Your batch is sorted by length. Row i should be example i: whoever called you may know them by their place."""
    return _batch(sorted(examples, key=lambda example: -len(example[0])), pad_id, side)


@mistake("collate")
def example_lists_padded_in_place(examples, pad_id, side="right"):
    """You padded the lists of the examples themselves (with +=, .append, .extend or .insert), so they stay padded for the
    next epoch. Make new lists."""
    batch = _batch(examples, pad_id, side)
    for (ids, labels), row, label_row in zip(examples, batch["input_ids"].tolist(), batch["labels"].tolist()):
        ids[:], labels[:] = row, label_row
    return batch


@mistake("collate")
def lists_not_stacked(examples, pad_id, side="right"):
    """A batch of lists came back. The model takes tensors: one for each of the three names."""
    return {name: rows.tolist() for name, rows in _batch(examples, pad_id, side).items()}


@mistake("collate")
def mask_left_out(examples, pad_id, side="right"):
    """Your batch has no attention_mask. Without it the model takes padding for text."""
    batch = _batch(examples, pad_id, side)
    del batch["attention_mask"]
    return batch


# --- Exercise 5: the loss of the answer


def _shifted(logits, labels):
    """Logits (batch, seq - 1, vocab) and the labels (batch, seq - 1) that they predict."""
    return logits[:, :-1], labels[:, 1:]


def _sum_of_losses(predictions, targets):
    """-log p summed over the targets that count. predictions: (..., vocab); targets: (...)."""
    return F.cross_entropy(predictions.flatten(0, -2), targets.flatten(), ignore_index=-100, reduction="sum")


def _divided(total, targets, num_tokens):
    return total / ((targets != -100).sum().clamp(min=1) if num_tokens is None else num_tokens)


def _sft_loss(logits, labels, num_tokens=None):
    """The right loss."""
    predictions, targets = _shifted(logits, labels)
    return _divided(_sum_of_losses(predictions, targets), targets, num_tokens)


@mistake("sft_loss")
def labels_not_shifted(logits, labels, num_tokens=None):
    """You compared each position with its own token. The labels are not shifted yet: the logits at t are the guess
    about the token at t + 1."""
    return _divided(_sum_of_losses(logits, labels), labels, num_tokens)


@mistake("sft_loss")
def shifted_backwards(logits, labels, num_tokens=None):
    """You shifted in the wrong direction: the logits at t are compared with the token *before* them. Drop the last
    position of the logits and the first of the labels."""
    return _divided(_sum_of_losses(logits[:, 1:], labels[:, :-1]), labels[:, :-1], num_tokens)


@mistake("sft_loss")
def shifted_twice(logits, labels, num_tokens=None):
    """You compared the logits at t with the token at t + 2: the labels were shifted twice. Once is enough."""
    return _divided(_sum_of_losses(logits[:, :-2], labels[:, 2:]), labels[:, 2:], num_tokens)


@mistake("sft_loss")
def shifted_across_rows(logits, labels, num_tokens=None):
    """You flattened the batch before you shifted, so the last position of a row predicts the first token of the next.
    Shift along the sequence first, then flatten."""
    targets = labels.flatten()[1:]
    return _divided(_sum_of_losses(logits.flatten(0, 1)[:-1], targets), targets, num_tokens)


@mistake("sft_loss")
def divided_by_the_batch_size(logits, labels, num_tokens=None):
    """You divided by the number of rows, so long answers weigh more than short ones and the loss grows with their
    length. Divide by the number of supervised tokens."""
    return _sft_loss(logits, labels, num_tokens or len(labels))


@mistake("sft_loss")
def divided_by_all_positions(logits, labels, num_tokens=None):
    """You divided by all positions, prompts and padding included, so a long prompt makes a batch look easy. Divide by
    the number of labels that are not -100."""
    return _sft_loss(logits, labels, num_tokens or labels[:, 1:].numel())


@mistake("sft_loss")
def divided_by_the_size_of_labels(logits, labels, num_tokens=None):
    """You divided by batch times length. Neither -100 nor the first token of a row is predicted: divide by the number
    of shifted labels that are not -100."""
    return _sft_loss(logits, labels, num_tokens or labels.numel())


@mistake("sft_loss")
def tokens_counted_before_the_shift(logits, labels, num_tokens=None):
    """You counted the supervised tokens before the shift. A label on the first token of a row is predicted by nothing:
    it is not in your sum, so it must not be in your number either."""
    return _sft_loss(logits, labels, num_tokens or max(1, int((labels != -100).sum())))


@mistake("sft_loss")
def mean_of_the_rows_means(logits, labels, num_tokens=None):
    """You averaged each row first and then the rows, so a token of a short answer weighs more than one of a long
    answer. Every supervised token counts the same: one sum, one division."""
    if num_tokens is not None:
        return _sft_loss(logits, labels, num_tokens)
    predictions, targets = _shifted(logits, labels)
    losses = F.cross_entropy(predictions.transpose(1, 2), targets, ignore_index=-100, reduction="none")
    return (losses.sum(1) / (targets != -100).sum(1).clamp(min=1)).mean()


@mistake("sft_loss")
def ignored_labels_counted(logits, labels, num_tokens=None):
    """Prompt and padding count in your loss: -100 became the ordinary id 0. Where the label is -100, nothing may be
    added to the sum."""
    predictions, targets = _shifted(logits, labels.clamp(min=0))
    return _divided(_sum_of_losses(predictions, targets), targets, num_tokens)


@mistake("sft_loss")
def ignored_labels_summed(logits, labels, num_tokens=None):
    """You divide by the right number, but prompt and padding are still in your sum: -100 became the ordinary id 0. Set
    those losses to zero before you add."""
    predictions, targets = _shifted(logits, labels)
    return _divided(_sum_of_losses(predictions, targets.clamp(min=0)), targets, num_tokens)


@mistake("sft_loss")
def id_zero_taken_for_padding(logits, labels, num_tokens=None):
    """You leave out the tokens with id 0. Token 0 is a token like any other; what does not count has the label -100."""
    return _sft_loss(logits, labels.masked_fill(labels == 0, -100), num_tokens)


@mistake("sft_loss")
def num_tokens_ignored(logits, labels, num_tokens=None):
    """You ignore num_tokens. When it is given, divide by it instead of by this batch's own number: only then do the
    losses of several batches add up to the mean over all of them."""
    return _sft_loss(logits, labels)


@mistake("sft_loss")
def mean_divided_once_more(logits, labels, num_tokens=None):
    """You divided the *mean* by num_tokens, so you divide twice. It is the sum over the batch that is divided by it:
    see reduction="sum"."""
    loss = _sft_loss(logits, labels)
    return loss if num_tokens is None else loss / num_tokens


@mistake("sft_loss")
def mean_times_num_tokens(logits, labels, num_tokens=None):
    """You multiplied the mean by num_tokens. That undoes the mean only if num_tokens is this batch's own number; the
    sum over the batch, divided by num_tokens, is asked for."""
    loss = _sft_loss(logits, labels)
    return loss if num_tokens is None else loss * num_tokens


@mistake("sft_loss")
def sum_without_division(logits, labels, num_tokens=None):
    """You returned the sum over the supervised tokens, which grows with the batch. Divide it by num_tokens, or by
    their number in this batch where num_tokens is None."""
    return _sum_of_losses(*_shifted(logits, labels))


@mistake("sft_loss")
def sum_unless_num_tokens(logits, labels, num_tokens=None):
    """Without num_tokens you return the sum. None stands for the number of supervised tokens in this very batch: count
    them."""
    return _sft_loss(logits, labels, num_tokens or 1)


@mistake("sft_loss")
def log_likelihood_for_loss(logits, labels, num_tokens=None):
    """Your loss is negative: it is the mean of +log p. Training makes a loss *smaller*, so this one would drive the
    right answers out. Mind the sign."""
    return -_sft_loss(logits, labels, num_tokens)


@mistake("sft_loss")
def answer_loss_in_bits(logits, labels, num_tokens=None):
    """You took the logarithm to base 2. The loss is in nats here, as everywhere in PyTorch: use the natural
    logarithm."""
    return _sft_loss(logits, labels, num_tokens) / math.log(2)


@mistake("sft_loss")
def probabilities_averaged(logits, labels, num_tokens=None):
    """You averaged probabilities, not their logarithms. The likelihood of an answer is a product of probabilities, and
    its logarithm a sum of log p."""
    predictions, targets = _shifted(logits, labels)
    kept = targets != -100
    probs = predictions[kept].softmax(-1).gather(-1, targets[kept][:, None])
    return _divided(-probs.sum(), targets, num_tokens)


@mistake("sft_loss")
def softmax_before_cross_entropy(logits, labels, num_tokens=None):
    """You passed probabilities to a function that expects logits: `F.cross_entropy` takes the softmax itself, so it is
    applied twice. Hand over the logits as they are."""
    return _sft_loss(logits.softmax(-1), labels, num_tokens)


@mistake("sft_loss")
def logarithm_of_a_rounded_softmax(logits, labels, num_tokens=None):
    """With large logits your loss is infinite: softmax rounded a small probability to 0, and you took the logarithm of
    that. log_softmax takes both steps in one."""
    predictions, targets = _shifted(logits, labels)
    kept = targets != -100
    log_probs = predictions[kept].softmax(-1).log().gather(-1, targets[kept][:, None])
    return _divided(-log_probs.sum(), targets, num_tokens)


@mistake("sft_loss")
def overflowing_exp(logits, labels, num_tokens=None):
    """You computed exp(logits) / sum(exp(logits)) and then its logarithm. exp overflows near 89 in float32, and inf /
    inf is NaN. Use log_softmax, which subtracts the largest logit first."""
    predictions, targets = _shifted(logits, labels)
    kept = targets != -100
    powers = predictions[kept].exp()
    probs = (powers / powers.sum(-1, keepdim=True)).gather(-1, targets[kept][:, None])
    return _divided(-probs.log().sum(), targets, num_tokens)


@mistake("sft_loss")
def nan_without_supervision(logits, labels, num_tokens=None):
    """Where nothing is supervised your loss is NaN (0 / 0), and one such batch would destroy the model. The number of
    tokens is at least 1: clamp it."""
    if num_tokens is not None:
        return _sft_loss(logits, labels, num_tokens)
    predictions, targets = _shifted(logits, labels)
    return F.cross_entropy(predictions.flatten(0, 1), targets.flatten(), ignore_index=-100)


@mistake("sft_loss")
def loss_cut_from_the_graph(logits, labels, num_tokens=None):
    """The value is right, but it is cut off from the logits, so nothing can be learned from it. Return the tensor
    itself: no .item(), .detach(), .data or torch.tensor(…)."""
    return _sft_loss(logits, labels, num_tokens).detach()


# --- Exercise 6: how likely is an answer


def _token_logps(predictions, targets):
    """log p of each target, 0 where it is -100."""
    logps = predictions.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return logps.masked_fill(targets == -100, 0.0)


@mistake("sequence_logprob")
def mean_over_the_answer(logits, labels):
    """You took the mean over the tokens of each answer. log p(answer | prompt) is their *sum*: a mean makes long
    answers look as likely as short ones (it is a score of its own, "length-normalised", but not a probability)."""
    targets = labels[:, 1:]
    return _token_logps(*_shifted(logits, labels)).sum(-1) / (targets != -100).sum(-1).clamp(min=1)


@mistake("sequence_logprob")
def mean_over_the_row(logits, labels):
    """You took the mean over all positions of a row, so the result depends on the padding. Add the log-probabilities
    of the answer's tokens up, and do not divide."""
    return _token_logps(*_shifted(logits, labels)).mean(-1)


@mistake("sequence_logprob")
def one_sum_for_the_batch(logits, labels):
    """You added up the whole batch. Each row is an answer of its own: sum over the sequence (the last axis) only, and
    return one number a row."""
    return _token_logps(*_shifted(logits, labels)).sum()


@mistake("sequence_logprob")
def summed_over_the_batch_axis(logits, labels):
    """You summed over the batch, so one number a *position* came back. The sum runs over the tokens of each row: the
    last axis."""
    return _token_logps(*_shifted(logits, labels)).sum(0)


@mistake("sequence_logprob")
def one_logprob_a_token(logits, labels):
    """You returned log p of every token. The chain rule makes an answer of them: sum over the sequence."""
    return _token_logps(*_shifted(logits, labels))


@mistake("sequence_logprob")
def probability_of_the_answer(logits, labels):
    """You returned the probability, not its logarithm. For a long answer it is 0 in floating point: stay with
    logarithms."""
    return _token_logps(*_shifted(logits, labels)).sum(-1).exp()


@mistake("sequence_logprob")
def sum_of_probabilities(logits, labels):
    """You added probabilities up. By the chain rule the probabilities of the tokens are multiplied, so their
    *logarithms* are added: log_softmax, not softmax."""
    targets = labels[:, 1:]
    return _token_logps(*_shifted(logits, labels)).exp().masked_fill(targets == -100, 0.0).sum(-1)


@mistake("sequence_logprob")
def product_before_the_logarithm(logits, labels):
    """You multiplied the probabilities and took the logarithm at the end. The product of a long answer rounds to 0,
    whose logarithm is minus infinity. Add logarithms instead."""
    return _token_logps(*_shifted(logits, labels)).exp().prod(-1).log()


@mistake("sequence_logprob")
def prompt_counted(logits, labels):
    """Prompt and padding are in your sum: -100 became the ordinary id 0 (gather needs some valid id there), and its
    log p was added. Set those places to 0 after gathering, by the labels that are -100."""
    predictions, targets = _shifted(logits, labels)
    return _token_logps(predictions, targets.clamp(min=0)).sum(-1)


@mistake("sequence_logprob")
def tokens_of_id_zero_left_out(logits, labels):
    """You leave out the tokens with id 0: after `clamp(min=0)` the places to ignore look like token 0. Ask the labels
    themselves which are -100."""
    predictions, targets = _shifted(logits, labels)
    return _token_logps(predictions, targets.masked_fill(targets == 0, -100)).sum(-1)


@mistake("sequence_logprob")
def answer_not_shifted(logits, labels):
    """You compared each position with its own token. The labels are not shifted: the logits at t are the guess about
    the token at t + 1."""
    return _token_logps(logits, labels).sum(-1)


@mistake("sequence_logprob")
def answer_shifted_backwards(logits, labels):
    """You shifted in the wrong direction: the logits at t are compared with the token *before* them. Drop the last
    position of the logits and the first of the labels."""
    return _token_logps(logits[:, 1:], labels[:, :-1]).sum(-1)


@mistake("sequence_logprob")
def answer_shifted_across_rows(logits, labels):
    """You flattened the batch before you shifted, so the last position of a row predicts the first token of the next.
    Shift along the sequence, row by row."""
    moved = labels.flatten().roll(-1).view_as(labels)
    moved[-1, -1] = -100
    return _token_logps(logits, moved).sum(-1)


@mistake("sequence_logprob")
def raw_logits_added(logits, labels):
    """You added up the logits themselves. A logit becomes a log-probability when the logsumexp over the vocabulary is
    subtracted: take log_softmax before you gather."""
    predictions, targets = _shifted(logits, labels)
    chosen = predictions.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return chosen.masked_fill(targets == -100, 0.0).sum(-1)


@mistake("sequence_logprob")
def log_softmax_over_positions(logits, labels):
    """Your softmax runs over the positions of a row. The alternatives to a token are the other words of the
    vocabulary: the last axis."""
    predictions, targets = _shifted(logits, labels)
    chosen = predictions.log_softmax(1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return chosen.masked_fill(targets == -100, 0.0).sum(-1)


@mistake("sequence_logprob")
def softmax_and_then_log(logits, labels):
    """With large logits your result is minus infinity or NaN: softmax rounded a small probability to 0, and you took
    the logarithm of that. log_softmax takes both steps in one."""
    predictions, targets = _shifted(logits, labels)
    chosen = predictions.softmax(-1).log().gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return chosen.masked_fill(targets == -100, 0.0).sum(-1)


@mistake("sequence_logprob")
def masked_by_multiplication(logits, labels):
    """You multiplied the places to ignore by 0, but what stands there may be infinite, and 0 times infinity is NaN: a
    small probability was rounded to 0 before its logarithm was taken. Use log_softmax (and masked_fill or where)."""
    predictions, targets = _shifted(logits, labels)
    chosen = predictions.softmax(-1).log().gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (chosen * (targets != -100)).sum(-1)


@mistake("sequence_logprob")
def negative_log_likelihood(logits, labels):
    """You returned -log p. That is a loss; a log-probability is at most 0. Mind the sign."""
    return -_token_logps(*_shifted(logits, labels)).sum(-1)


@mistake("sequence_logprob")
def logprob_in_bits(logits, labels):
    """You took the logarithm to base 2. The result is in nats: use the natural logarithm."""
    return _token_logps(*_shifted(logits, labels)).sum(-1) / math.log(2)


@mistake("sequence_logprob")
def only_the_last_token_scored(logits, labels):
    """You returned log p of the last token of each answer. The answer's probability is the product over *all* its
    tokens."""
    logps, targets = _token_logps(*_shifted(logits, labels)), labels[:, 1:]
    place = torch.arange(targets.shape[1]) * (targets != -100)
    return logps.gather(-1, place.argmax(-1, keepdim=True))[:, 0]


@mistake("sequence_logprob")
def logprob_cut_from_the_graph(logits, labels):
    """The numbers are right, but they are cut off from the logits, so nothing can be trained on them. Return the tensor
    itself: no .item(), .detach(), .data, .numpy() or torch.tensor(…)."""
    return _token_logps(*_shifted(logits, labels)).sum(-1).detach()


# --- Exercise 7: the training loop


def _set_rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate


def _clip(model, max_norm):
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)


def _count(batches):
    return sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)


def _loss_of(model, batch, batches):
    """The right share of one batch in the loss of its update."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return _sft_loss(logits, batch["labels"], _count(batches))


def _train(
    model,
    updates,
    optimizer,
    lr_at,
    max_norm=1.0,
    after_step=None,
    *,
    loss_of=_loss_of,
    zero=lambda optimizer: optimizer.zero_grad(),
    set_rate=_set_rate,
    after_batch=lambda model, max_norm: None,
    clip=_clip,
    mode=lambda model: model.train(),
    reported=sum,
    before_step=lambda step, loss: None,
    first_step=0,
    first_number=0,
):
    """The right loop, with parts that can be exchanged for wrong ones."""
    losses = []
    mode(model)
    for step, batches in enumerate(updates):
        set_rate(optimizer, lr_at(step + first_step))
        zero(optimizer)
        parts = []
        for batch in batches:
            loss = loss_of(model, batch, batches)
            loss.backward()
            after_batch(model, max_norm)
            parts.append(loss.item())
        clip(model, max_norm)
        before_step(step, sum(parts))
        optimizer.step()
        losses.append(reported(parts))
        if after_step is not None:
            after_step(step + first_number, losses[-1])
    return losses


def _mean_of_batch(model, batch):
    return _sft_loss(
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits, batch["labels"]
    )


@mistake("train_sft")
def mean_of_the_batches_means(*given, **options):
    """You averaged each batch, then the batches, so a token of a batch with few answers weighs more than one of a
    batch with many. Count the supervised tokens of the whole update first, and divide each batch's sum by that
    number."""
    return _train(*given, **options, loss_of=lambda model, batch, batches: _mean_of_batch(model, batch) / len(batches))


@mistake("train_sft")
def means_added_up(*given, **options):
    """You added up the means of the batches, so the loss and the gradient grow with the number of batches. Count the
    supervised tokens of the whole update first, and divide each batch's sum by that number."""
    return _train(*given, **options, loss_of=lambda model, batch, batches: _mean_of_batch(model, batch))


@mistake("train_sft")
def divided_twice(*given, **options):
    """You divided by the tokens of the whole update and then by the number of batches as well. The first division is
    all: the shares of the batches add up to the mean."""
    return _train(
        *given, **options, loss_of=lambda model, batch, batches: _loss_of(model, batch, batches) / len(batches)
    )


@mistake("train_sft")
def sums_not_divided(*given, **options):
    """You never divided by the number of supervised tokens, so the step grows with the size of the update. Divide by
    their number in all batches of the update together."""
    return _train(
        *given,
        **options,
        loss_of=lambda model, batch, batches: _loss_of(model, batch, batches) * _count(batches),
    )


@mistake("train_sft")
def tokens_of_the_first_batch(*given, **options):
    """You divided by the number of tokens of the update's first batch. The number has to be that of all its batches
    together, and is known before the first forward pass."""
    return _train(*given, **options, loss_of=lambda model, batch, batches: _loss_of(model, batch, batches[:1]))


@mistake("train_sft")
def every_real_token_counted(*given, **options):
    """You divided by the number of real tokens (the sum of the attention mask). Only supervised tokens are in the
    loss: count the labels that are not -100."""

    def loss_of(model, batch, batches):
        real = sum(int(batch["attention_mask"].sum()) for batch in batches)
        return _loss_of(model, batch, batches) * _count(batches) / real

    return _train(*given, **options, loss_of=loss_of)


@mistake("train_sft")
def first_labels_counted(*given, **options):
    """You counted the labels before the shift. A label on the first token of a row is predicted by nothing and is not
    in the sum: count `labels[:, 1:]`."""

    def loss_of(model, batch, batches):
        counted = sum(int((batch["labels"] != -100).sum()) for batch in batches)
        return _loss_of(model, batch, batches) * _count(batches) / counted

    return _train(*given, **options, loss_of=loss_of)


@mistake("train_sft")
def nan_from_an_empty_batch(*given, **options):
    """A batch without supervised tokens made your loss NaN: its own mean is 0 / 0, and no weight, not even 0, repairs
    that. Take the sum of each batch (sft_loss with num_tokens), never its mean."""

    def loss_of(model, batch, batches):
        return _mean_of_batch(model, batch) * (_count([batch]) or math.nan) / _count(batches)

    return _train(*given, **options, loss_of=loss_of)


@mistake("train_sft")
def losses_of_the_model_itself(*given, **options):
    """You gave the labels to the model and averaged the losses that it returned. Each is the mean of its own batch
    (NaN where nothing is supervised), so tokens weigh differently. Take logits and sft_loss with the tokens of the
    whole update (or pass the model num_items_in_batch)."""
    return _train(*given, **options, loss_of=lambda model, batch, batches: model(**batch).loss / len(batches))


@mistake("train_sft")
def cleared_in_the_inner_loop(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You clear the gradients before every batch, so only the last batch of an update is learned from. Clear them once
    an update, before its first batch."""

    def loss_of(model, batch, batches):
        optimizer.zero_grad()
        return _loss_of(model, batch, batches)

    return _train(model, updates, optimizer, lr_at, max_norm, after_step, loss_of=loss_of)


@mistake("train_sft")
def stepped_in_the_inner_loop(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You step after every batch, so the batches of an update are not one update but several. Let the gradients add up
    over the batches, then step once."""
    model.train()
    losses = []
    for step, batches in enumerate(updates):
        _set_rate(optimizer, lr_at(step))
        losses.append(0.0)
        for batch in batches:
            optimizer.zero_grad()
            loss = _loss_of(model, batch, batches)
            loss.backward()
            _clip(model, max_norm)
            optimizer.step()
            losses[-1] += loss.item()
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@mistake("train_sft")
def every_batch_an_update(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You made an update of every batch. The batches in one item of `updates` belong to *one* update: one loss, one
    step, one call of after_step."""
    batches = ([batch] for update in updates for batch in update)
    return _train(model, batches, optimizer, lr_at, max_norm, after_step)


@mistake("train_sft")
def only_the_first_batch(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You train on the first batch of each update only. Run the model on each of them and let the gradients add up."""
    return _train(model, (batches[:1] for batches in updates), optimizer, lr_at, max_norm, after_step)


@mistake("train_sft")
def gradients_kept_from_before(*given, **options):
    """You never clear the gradients. backward adds to what is there, so each update also uses the gradients of all
    before it. Call zero_grad once an update."""
    return _train(*given, **options, zero=lambda optimizer: None)


@mistake("train_sft")
def empty_gradients_used(*given, **options):
    """The optimizer steps with empty gradients, so nothing is learned: zero_grad comes between backward and step. The
    order is zero_grad, backward for each batch, clip, step."""
    return _train(*given, **options, clip=lambda model, max_norm: model.zero_grad())


@mistake("train_sft")
def update_not_clipped(*given, **options):
    """The gradient reaches the optimizer unclipped. Clip after the last backward of the update and before the step:
    anywhere else it changes nothing, or not what it should."""
    return _train(*given, **options, clip=lambda model, max_norm: None)


@mistake("train_sft")
def clipped_after_every_batch(*given, **options):
    """You clip after every batch, while the gradient is still adding up: how an update is split then changes its
    direction. Clip once, when the gradient of the whole update is there."""
    return _train(*given, **options, after_batch=_clip, clip=lambda model, max_norm: None)


@mistake("train_sft")
def clipped_number_by_number(*given, **options):
    """You clipped each number of the gradient by itself, which changes its direction. Clip the *norm* of the whole
    gradient: `clip_grad_norm_`."""

    def clip(model, max_norm):
        torch.nn.utils.clip_grad_value_(model.parameters(), max_norm)

    return _train(*given, **options, clip=clip)


@mistake("train_sft")
def clipped_to_one(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You clip to 1, whatever max_norm says. Use the argument."""
    return _train(model, updates, optimizer, lr_at, 1.0, after_step)


@mistake("train_sft")
def lengthened_to_max_norm(*given, **options):
    """You scale every gradient to the norm max_norm, small ones up as well. Clipping only shortens: a gradient below
    max_norm stays as it is."""

    def clip(model, max_norm):
        gradients = [p.grad for p in model.parameters()]
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        for gradient in gradients:
            gradient *= max_norm / norm

    return _train(*given, **options, clip=clip)


@mistake("train_sft")
def rate_never_set(*given, **options):
    """The learning rate of lr_at never reaches the optimizer. Setting `optimizer.lr` does nothing; write it into
    `group["lr"]` of every group in `optimizer.param_groups`."""
    return _train(*given, **options, set_rate=lambda optimizer, rate: None)


@mistake("train_sft")
def rate_of_the_first_group(*given, **options):
    """You set the learning rate of the first parameter group only. An optimizer may have several (say, with and
    without weight decay): loop over `optimizer.param_groups`."""

    def set_rate(optimizer, rate):
        optimizer.param_groups[0]["lr"] = rate

    return _train(*given, **options, set_rate=set_rate)


@mistake("train_sft")
def rate_set_after_the_step(*given, **options):
    """You set the learning rate after the optimizer's step: the first update uses whatever it was before, every other
    one the rate of the update before it. Set it before `optimizer.step()`."""
    pending = []

    def set_rate(optimizer, rate):
        pending.append(rate)
        if len(pending) > 1:
            _set_rate(optimizer, pending[-2])

    return _train(*given, **options, set_rate=set_rate)


@mistake("train_sft")
def rate_of_the_next_update(*given, **options):
    """Your learning rate is one update ahead: the first one should use lr_at(0)."""
    return _train(*given, **options, first_step=1)


@mistake("train_sft")
def updates_counted_from_one(*given, **options):
    """You count the updates from 1. The first is number 0, for lr_at and for after_step."""
    return _train(*given, **options, first_step=1, first_number=1)


@mistake("train_sft")
def rate_by_the_batch(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You asked lr_at for the number of the *batch*. It counts updates: one more for each optimizer step, however many
    batches made it up."""
    seen = []

    def loss_of(model, batch, batches):
        _set_rate(optimizer, lr_at(len(seen)))
        seen.append(batch)
        return _loss_of(model, batch, batches)

    return _train(model, updates, optimizer, lr_at, max_norm, after_step, loss_of=loss_of)


@mistake("train_sft")
def attention_mask_not_passed(*given, **options):
    """You did not pass the attention mask to the model, so it reads the padding. On the right nobody notices, on the
    left every answer is conditioned on it: model(input_ids=…, attention_mask=…)."""

    def loss_of(model, batch, batches):
        return _sft_loss(model(input_ids=batch["input_ids"]).logits, batch["labels"], _count(batches))

    return _train(*given, **options, loss_of=loss_of)


@mistake("train_sft")
def model_in_evaluation_mode(*given, **options):
    """The model is in evaluation mode while it trains, so dropout is off (from_pretrained hands it over like that).
    Call `model.train()` before the loop, whatever mode the model comes in."""
    return _train(*given, **options, mode=lambda model: model.eval())


@mistake("train_sft")
def losses_after_the_update(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You measured the loss again after the update, on batches the model has just learned from. Keep the loss that you
    computed the gradient from; it also saves the second forward pass."""
    updates, losses = list(updates), []

    def measure(step, loss):
        batches = updates[step]
        with torch.no_grad():
            losses.append(sum(_loss_of(model, batch, batches).item() for batch in batches))
        if after_step is not None:
            after_step(step, losses[-1])

    _train(model, updates, optimizer, lr_at, max_norm, measure)
    return losses


@mistake("train_sft")
def loss_of_the_last_batch(*given, **options):
    """The loss that you report is that of the update's last batch alone. Add up the shares of all its batches."""
    return _train(*given, **options, reported=lambda parts: parts[-1])


@mistake("train_sft")
def shares_averaged(*given, **options):
    """You report the mean of the batches' shares. Each is divided by the tokens of the whole update already, so their
    *sum* is the loss."""
    return _train(*given, **options, reported=lambda parts: sum(parts) / len(parts))


@mistake("train_sft")
def losses_that_hold_their_graph(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You kept the loss *tensors*. Each holds the graph of its whole computation, so memory grows with every update.
    Keep plain numbers: `loss.item()`."""
    totals, done = [], []

    def loss_of(model, batch, batches):
        loss = _loss_of(model, batch, batches)
        if len(totals) == len(done):
            totals.append(0.0)
        totals[-1] = totals[-1] + loss
        return loss

    def note(step, loss):
        done.append(step)
        if after_step is not None:
            after_step(step, totals[-1].item())

    _train(model, updates, optimizer, lr_at, max_norm, note, loss_of=loss_of)
    return totals


@mistake("train_sft")
def one_loss_for_all(*given, **options):
    """You returned one loss. The curve needs the loss of every update: collect them in a list."""
    return _train(*given, **options)[-1]


@mistake("train_sft")
def after_step_never_called(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You never call after_step. When it is given, call `after_step(step, loss)` at the end of every update."""
    return _train(model, updates, optimizer, lr_at, max_norm)


@mistake("train_sft")
def after_step_before_the_step(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You call after_step before the optimizer has stepped. It comes after the update, so that what it measures
    belongs to the model of this update."""
    return _train(
        model, updates, optimizer, lr_at, max_norm, before_step=after_step if after_step else lambda step, loss: None
    )


@mistake("train_sft")
def after_step_for_every_batch(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """You call after_step for every batch. It belongs to the update: once, after the step, with the loss of all its
    batches."""

    numbers, shares = [], []

    def loss_of(model, batch, batches):
        loss = _loss_of(model, batch, batches)
        shares.append(loss.item())
        if after_step is not None:
            after_step(len(numbers), sum(shares))
        return loss

    def note(step, loss):
        numbers.append(step)
        shares.clear()

    return _train(model, updates, optimizer, lr_at, max_norm, note, loss_of=loss_of)


# --- Exercise 8: answers that end


def _draw(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]


def _next_logits(model, ids, mask):
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).logits


def _generate(
    model,
    input_ids,
    attention_mask,
    max_new_tokens,
    end_id,
    pad_id,
    temperature=0.0,
    generator=None,
    *,
    last=lambda logits, mask: logits[:, -1],
    draw=_draw,
    after_end=lambda chosen, ended, pad_id: chosen.masked_fill(ended, pad_id),
    ends=lambda chosen, end_id, pad_id: chosen == end_id,
    done=lambda ended: ended.all(),
    extend=lambda mask: torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1),
):
    """The right loop without a cache, with parts that can be exchanged for wrong ones."""
    ids, mask = input_ids, attention_mask
    ended = torch.zeros(len(ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        logits = last(_next_logits(model, ids, mask), mask)
        chosen = after_end(draw(logits, temperature, generator), ended, pad_id)
        ids, mask = torch.cat([ids, chosen[:, None]], dim=1), extend(mask)
        ended = ended | ends(chosen, end_id, pad_id)
        if done(ended):
            break
    return ids[:, input_ids.shape[1] :]


@mistake("generate_answers")
def prompt_returned_too(model, input_ids, *given, **options):
    """You returned the prompt with its answer. Only the new tokens are asked for: cut the first input_ids.shape[1]
    columns off."""
    return torch.cat([input_ids, _generate(model, input_ids, *given, **options)], dim=1)


@mistake("generate_answers")
def end_token_dropped(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, *given, **options):
    """You replaced the end token by padding, so nobody can tell an answer that ended from one that was cut off. The
    end token belongs to its row; pad_id comes after it."""
    tokens = _generate(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, *given, **options)
    return tokens.masked_fill(tokens == end_id, pad_id)


@mistake("generate_answers")
def last_end_token_cut_off(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, *given, **options):
    """You stop before the end token of the last row is kept. Append what was chosen first, then ask whether every row
    has ended."""
    tokens = _generate(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, *given, **options)
    return tokens[:, :-1] if (tokens == end_id).any(1).all() else tokens


@mistake("generate_answers")
def never_stops_early(*given, **options):
    """You generate max_new_tokens columns even after every row has ended. Stop the loop then: the rest would be
    padding that costs a forward pass each."""
    return _generate(*given, **options, done=lambda ended: False)


@mistake("generate_answers")
def end_token_ignored(*given, **options):
    """Nothing ends your rows: after its end token each goes on to max_new_tokens. Note which rows have ended, fill
    them with pad_id from then on, and stop when all have."""
    return _generate(*given, **options, ends=lambda chosen, end_id, pad_id: torch.zeros_like(chosen).bool())


@mistake("generate_answers")
def goes_on_after_the_end(*given, **options):
    """A row that has ended goes on while the others are not done. From its end token on it holds pad_id: replace what
    was chosen in the rows that have ended."""
    return _generate(*given, **options, after_end=lambda chosen, ended, pad_id: chosen)


@mistake("generate_answers")
def stops_with_the_first_row(*given, **options):
    """You stop as soon as one row has ended, so the others are cut off. Wait for all: `.all()`, not `.any()`."""
    return _generate(*given, **options, done=lambda ended: ended.any())


@mistake("generate_answers")
def ends_only_together(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, *given, **options):
    """You ask whether all rows choose the end token *in the same step*. Rows end at different times: remember which
    have ended (`ended |= chosen == end_id`)."""
    tokens = input_ids[:, :0]
    for _ in range(max_new_tokens):
        so_far = (torch.cat([input_ids, tokens], 1), torch.cat([attention_mask, torch.ones_like(tokens)], 1))
        chosen = _generate(model, *so_far, 1, end_id, pad_id, *given, **options)
        tokens = torch.cat([tokens, chosen], dim=1)
        if (chosen == end_id).all():
            break
    return tokens


@mistake("generate_answers")
def ended_by_padding(*given, **options):
    """A row of yours also ends when it says pad_id. That may be an ordinary token: only end_id ends a row."""
    return _generate(*given, **options, ends=lambda chosen, end_id, pad_id: (chosen == end_id) | (chosen == pad_id))


@mistake("generate_answers")
def ended_in_the_prompt(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, *given, **options):
    """You look for the end token in the whole row, prompt and padding included. Only an end token among the *new*
    tokens ends a row."""
    over = (input_ids == end_id).any(1)
    if over.all():
        return input_ids[:, :0]
    return _generate(
        model,
        input_ids,
        attention_mask,
        max_new_tokens,
        end_id,
        pad_id,
        *given,
        **options,
        after_end=lambda chosen, ended, pad_id: chosen.masked_fill(ended | over, pad_id),
        done=lambda ended: (ended | over).all(),
    )


@mistake("generate_answers")
def filled_with_the_end_token(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, *given, **options):
    """You fill the rows that have ended with the end token. One end token belongs to a row; what comes after it is
    pad_id."""
    return _generate(model, input_ids, attention_mask, max_new_tokens, end_id, end_id, *given, **options)


@mistake("generate_answers")
def filled_with_minus_100(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, *given, **options):
    """You fill the rows that have ended with -100. That is a label, no id: a tokenizer cannot decode it. Fill with
    pad_id."""
    tokens = _generate(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, *given, **options)
    ended = (tokens == end_id).long().cumsum(1)
    return tokens.masked_fill((ended - (tokens == end_id).long()) > 0, -100)


@mistake("generate_answers")
def one_token_too_many(model, input_ids, attention_mask, max_new_tokens, *given, **options):
    """You allow one token more than max_new_tokens. Check the bounds of your loop."""
    return _generate(model, input_ids, attention_mask, max_new_tokens + 1, *given, **options)


@mistake("generate_answers")
def one_token_too_few(model, input_ids, attention_mask, max_new_tokens, *given, **options):
    """You stop one token before max_new_tokens. Check the bounds of your loop."""
    return _generate(model, input_ids, attention_mask, max_new_tokens - 1, *given, **options)


@mistake("generate_answers")
def prompt_counted_in_the_length(model, input_ids, attention_mask, max_new_tokens, *given, **options):
    """You count the prompt in max_new_tokens (transformers' `max_length` does). It bounds the new tokens alone."""
    new = max(1, max_new_tokens - input_ids.shape[1])
    return _generate(model, input_ids, attention_mask, new, *given, **options)


@mistake("generate_answers")
def mask_not_passed(*given, **options):
    """You do not pass the attention mask, so short prompts are read together with their padding. Pass it, with ones
    appended for the new tokens."""

    def everything(model, input_ids, attention_mask, *rest, **options):
        return _generate(model, input_ids, torch.ones_like(attention_mask), *rest, **options)

    return everything(*given, **options)


@mistake("generate_answers")
def mask_from_the_padding_id(
    model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None
):
    """You made the attention mask from the ids. A token with the id of padding may be a real one (many models pad with
    their end token): use the mask that you are given."""
    mask = (input_ids != pad_id).long()
    return _generate(model, input_ids, mask, max_new_tokens, end_id, pad_id, temperature, generator)


@mistake("generate_answers")
def new_tokens_masked(*given, **options):
    """Your attention mask hides the new tokens (one that is too short does so too), so the model does not read what it
    has said itself. Append a column of ones to the mask for each new token."""
    return _generate(*given, **options, extend=lambda mask: torch.cat([mask, torch.zeros_like(mask[:, :1])], dim=1))


@mistake("generate_answers")
def new_tokens_not_fed_back(
    model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None
):
    """Every new token is chosen from the prompt alone: what was chosen is never fed back to the model. Append it to
    the ids (or pass it on with the cache)."""
    logits = _next_logits(model, input_ids, attention_mask)[:, -1]
    ended, new = torch.zeros(len(input_ids), dtype=torch.bool), []
    for _ in range(max_new_tokens):
        new.append(_draw(logits, temperature, generator).masked_fill(ended, pad_id))
        ended |= new[-1] == end_id
        if ended.all():
            break
    return torch.stack(new, dim=1)


@mistake("generate_answers")
def only_the_new_token_fed(
    model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None
):
    """After the first token you feed the model the newest token alone, and no cache: it has forgotten the prompt. Feed
    all tokens so far, or pass `past_key_values` on."""
    ids, mask, new = input_ids, attention_mask, []
    ended = torch.zeros(len(ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        chosen = _draw(_next_logits(model, ids, mask)[:, -1], temperature, generator)
        new.append(chosen.masked_fill(ended, pad_id))
        ended |= new[-1] == end_id
        if ended.all():
            break
        ids, mask = new[-1][:, None], torch.ones_like(mask[:, :1])
    return torch.stack(new, dim=1)


@mistake("generate_answers")
@torch.no_grad()
def everything_fed_to_a_cache(
    model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None
):
    """You pass the cache on and feed all tokens again, so the model reads the text so far several times over. With
    `past_key_values` feed the newest token alone; without it, everything."""
    ids, mask, cache = input_ids, attention_mask, None
    ended = torch.zeros(len(ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        output = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        chosen = _draw(output.logits[:, -1], temperature, generator).masked_fill(ended, pad_id)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        ended |= chosen == end_id
        if ended.all():
            break
    return ids[:, input_ids.shape[1] :]


@mistake("generate_answers")
def read_as_if_padded_on_the_right(*given, **options):
    """You read the logits at the position "number of real tokens minus one", which is the last token of a row padded
    on the *right*. These rows are padded on the left: the last position is always real."""

    def last(logits, mask):
        return logits[torch.arange(len(mask)), mask.sum(1) - 1]

    return _generate(*given, **options, last=last)


@mistake("generate_answers")
def first_position_read(*given, **options):
    """You read the logits of the first position. What comes next is predicted at the *last* one: `logits[:, -1]`."""
    return _generate(*given, **options, last=lambda logits, mask: logits[:, 0])


@mistake("generate_answers")
def temperature_ignored(*given, **options):
    """Your temperature changes nothing. It divides the *logits*, before the softmax: probabilities divided by a number
    are drawn from just as before."""

    def draw(logits, temperature, generator):
        return _draw(logits, min(temperature, 1.0) and 1.0, generator)

    return _generate(*given, **options, draw=draw)


@mistake("generate_answers")
def temperature_multiplied(*given, **options):
    """You multiplied the logits by the temperature. Divide: a low temperature makes the distribution sharper."""

    def draw(logits, temperature, generator):
        return _draw(logits, 1 / temperature if temperature else 0.0, generator)

    return _generate(*given, **options, draw=draw)


@mistake("generate_answers")
def always_the_most_likely(*given, **options):
    """You take the most likely token at every temperature. Above 0, tokens are drawn: torch.multinomial of the
    softmax."""
    return _generate(*given, **options, draw=lambda logits, temperature, generator: logits.argmax(-1))


@mistake("generate_answers")
def drawn_uniformly(*given, **options):
    """Above temperature 0 every token is equally likely in your draw, whatever the model says. Draw from
    softmax(logits / temperature)."""

    def draw(logits, temperature, generator):
        return _draw(logits if temperature == 0 else torch.zeros_like(logits), temperature, generator)

    return _generate(*given, **options, draw=draw)


@mistake("generate_answers")
def never_greedy(*given, **options):
    """At temperature 0 you draw from the softmax all the same. Temperature 0 stands for the most likely token:
    argmax."""

    def draw(logits, temperature, generator):
        return _draw(logits, temperature or 1.0, generator)

    return _generate(*given, **options, draw=draw)


@mistake("generate_answers")
def one_draw_for_all_rows(*given, **options):
    """All your rows continue with the same token: it was drawn once, from the first row. Draw for each row, from its
    own distribution."""

    def draw(logits, temperature, generator):
        return _draw(logits if temperature == 0 else logits[:1], temperature, generator).expand(len(logits))

    return _generate(*given, **options, draw=draw)


@mistake("generate_answers")
def drawn_without_the_generator(*given, **options):
    """You drew from PyTorch's global generator, so nobody can repeat your answers. Pass `generator=generator` to
    torch.multinomial."""
    return _generate(*given, **options, draw=lambda logits, temperature, generator: _draw(logits, temperature, None))


@mistake("generate_answers")
def seeded_inside(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None):
    """You seed a generator inside the function, so every call gives the same answers. Use the one you are given, and
    leave its seed alone."""
    own = torch.Generator().manual_seed(0)
    return _generate(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature, own)


# --- Exercise 9: packing


def _next_fit(examples, length, fits=lambda size, room: size <= room):
    rows, room = [], 0
    for example in examples:
        if len(example[0]) > length:
            raise ValueError(f"An example has {len(example[0])} tokens, a row only {length}.")
        if not rows or not fits(len(example[0]), room):
            rows.append([])
            room = length
        rows[-1].append(example)
        room -= len(example[0])
    return rows


def _first_fit(examples, length, best=False):
    rows, rooms = [], []
    for example in examples:
        size = len(example[0])
        if size > length:
            raise ValueError(f"An example has {size} tokens, a row only {length}.")
        open_rows = [r for r, room in enumerate(rooms) if size <= room]
        if not open_rows:
            rows.append([])
            rooms.append(length)
            open_rows = [len(rows) - 1]
        r = min(open_rows, key=lambda r: rooms[r]) if best else open_rows[0]
        rows[r].append(example)
        rooms[r] -= size
    return rows


def _pack(rows, length, pad_id):
    """As it should be, for examples already in rows; and which example each position belongs to (-1 on padding)."""
    shape = (len(rows), length)
    batch = {
        "input_ids": torch.full(shape, pad_id),
        "labels": torch.full(shape, -100),
        "position_ids": torch.zeros(shape, dtype=torch.long),
    }
    which = torch.full(shape, -1)
    for r, row in enumerate(rows):
        at = 0
        for e, (ids, labels) in enumerate(row):
            place = slice(at, at + len(ids))
            batch["input_ids"][r, place] = torch.tensor(ids)
            batch["labels"][r, place] = torch.tensor([-100, *labels[1:]])
            batch["position_ids"][r, place] = torch.arange(len(ids))
            which[r, place] = e
            at += len(ids)
    batch["attention_mask"] = _causal(which) & (_alike(which) & (which >= 0)[:, None, :, None] | _itself(which))
    return batch, which


def _alike(which):
    return (which[:, :, None] == which[:, None, :])[:, None]


def _causal(which):
    return torch.ones_like(_alike(which)).tril()


def _itself(which):
    return torch.eye(which.shape[1], dtype=torch.bool).expand_as(_alike(which))


def _packed_well(examples, length, pad_id):
    return _pack(_next_fit(examples, length), length, pad_id)


@mistake("pack_examples")
def plain_causal_mask(examples, length, pad_id):
    """Your mask is the ordinary causal one, so an example looks at those before it in its row, which have nothing to do
    with it. Position q may look at k only in the same example."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": _causal(which)}


@mistake("pack_examples")
def causal_mask_of_real_tokens(examples, length, pad_id):
    """Your mask is causal and leaves out padding, but an example still looks at those before it in its row. Position q
    may look at k only in the same example."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": _causal(which) & ((which >= 0)[:, None, None, :] | _itself(which))}


@mistake("pack_examples")
def mask_not_causal(examples, length, pad_id):
    """In your mask a position may look at all of its example, at what comes after it too: then the model reads the token
    it should predict. k must not be after q."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": _alike(which) & (which >= 0)[:, None, :, None] | _itself(which)}


@mistake("pack_examples")
def mask_looks_ahead(examples, length, pad_id):
    """Your mask is turned round: position q looks at those after it instead of those before it. The third axis is who
    looks (q), the fourth who is looked at (k)."""
    batch, _ = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": batch["attention_mask"].transpose(-1, -2).contiguous()}


@mistake("pack_examples")
def not_at_itself(examples, length, pad_id):
    """In your mask no position may look at itself (it is True only where k comes *before* q). "Not after" includes the
    position itself; otherwise the first token of an example looks at nothing, and attention over nothing is NaN."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": batch["attention_mask"] & ~_itself(which)}


@mistake("pack_examples")
def mask_upside_down_in_rows(examples, length, pad_id):
    """Your mask is upside down: True means "may look" (as in PyTorch's scaled_dot_product_attention), not "is hidden"."""
    batch, _ = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": ~batch["attention_mask"]}


@mistake("pack_examples")
def mask_without_heads(examples, length, pad_id):
    """Your mask has the shape (rows, length, length). The model needs an axis for the heads as well, of length 1, so
    that one mask serves all of them: (rows, 1, length, length)."""
    batch, _ = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": batch["attention_mask"][:, 0]}


@mistake("pack_examples")
def ordinary_attention_mask(examples, length, pad_id):
    """Your mask has the shape (rows, length), 1 on tokens and 0 on padding. It cannot say where one example ends and the
    next begins: here each pair (q, k) of positions has an entry of its own."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": which >= 0}


@mistake("pack_examples")
def mask_of_scores(examples, length, pad_id):
    """Your mask holds numbers to be added to the scores, 0 and -inf. Attention takes that as well, but here a bool mask is
    asked for: True where q may look at k."""
    batch, _ = _packed_well(examples, length, pad_id)
    return batch | {
        "attention_mask": torch.zeros(batch["attention_mask"].shape).masked_fill(~batch["attention_mask"], -torch.inf)
    }


@mistake("pack_examples")
def padding_looks_at_nothing(examples, length, pad_id):
    """In your mask a position of padding looks at nothing at all. A softmax over nothing is NaN, and one NaN spoils the
    whole batch's loss or gradient: let it look at itself."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": batch["attention_mask"] & (which >= 0)[:, None, :, None]}


@mistake("pack_examples")
def padding_looks_at_everything(examples, length, pad_id):
    """In your mask padding looks at everything before it. It does no harm to the loss, but it is not what is asked for: a
    position of padding looks at itself alone."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": batch["attention_mask"] | _causal(which) & (which < 0)[:, None, :, None]}


@mistake("pack_examples")
def padding_as_an_example(examples, length, pad_id):
    """You treat a row's padding as one more example, so padding looks at the padding before it. Each position of padding
    looks at itself alone: give each a number of its own."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": _causal(which) & _alike(which)}


@mistake("pack_examples")
def padding_in_the_last_example(examples, length, pad_id):
    """In your mask padding belongs to the last example of its row. Padding is nobody's: a position of it looks at itself
    alone."""
    batch, which = _packed_well(examples, length, pad_id)
    joined = torch.where(which < 0, which.amax(1, keepdim=True), which)
    return batch | {"attention_mask": _causal(which) & _alike(joined)}


@mistake("pack_examples")
def one_mask_for_all_rows(examples, length, pad_id):
    """Every row has the mask of the first one in your batch. The examples of each row have lengths of their own: make a
    mask for each row."""
    batch, _ = _packed_well(examples, length, pad_id)
    return batch | {"attention_mask": batch["attention_mask"][:1].expand(batch["attention_mask"].shape).clone()}


@mistake("pack_examples")
def positions_not_restarted(examples, length, pad_id):
    """Your positions run on through the row. Each example should begin at 0, as if it were alone."""
    batch, which = _packed_well(examples, length, pad_id)
    running = torch.arange(length).expand_as(which)
    return batch | {"position_ids": running.masked_fill(which < 0, 0)}


@mistake("pack_examples")
def positions_not_restarted_on_padding(examples, length, pad_id):
    """Your positions count through the whole row, padding and all. Each example begins at 0, and padding is 0."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"position_ids": torch.arange(length).repeat(len(which), 1)}


@mistake("pack_examples")
def positions_from_one(examples, length, pad_id):
    """Your positions begin at 1. A model counts from 0, as it does when an example is alone."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"position_ids": (batch["position_ids"] + 1).masked_fill(which < 0, 0)}


@mistake("pack_examples")
def positions_on_padding(examples, length, pad_id):
    """Your positions go on counting on padding. There they are 0."""
    batch, which = _packed_well(examples, length, pad_id)
    padding = which < 0
    return batch | {"position_ids": torch.where(padding, padding.long().cumsum(1) - 1, batch["position_ids"])}


@mistake("pack_examples")
def positions_continued_on_padding(examples, length, pad_id):
    """On padding, your positions go on from the row's last example. Padding belongs to no example: there they are 0."""
    batch, which = _packed_well(examples, length, pad_id)
    padding = which < 0
    last = batch["position_ids"].gather(1, ((~padding).sum(1, keepdim=True) - 1).clamp(min=0))
    return batch | {"position_ids": torch.where(padding, last + padding.long().cumsum(1), batch["position_ids"])}


@mistake("pack_examples")
def first_labels_kept(examples, length, pad_id):
    """You kept the label of each example's first token. The loss shifts by one, so that token would be predicted from the
    last token of the example before, which has nothing to do with it: -100."""
    rows = _next_fit(examples, length)
    batch, _ = _pack(rows, length, pad_id)
    labels = torch.full_like(batch["labels"], -100)
    for r, row in enumerate(rows):
        flat = [label for _, labels_ in row for label in labels_]
        labels[r, : len(flat)] = torch.tensor(flat)
    return batch | {"labels": labels}


@mistake("pack_examples")
def first_label_of_the_row_kept(examples, length, pad_id):
    """You masked the first label of every example except the first one of a row. No position stands before that one either;
    the exercise asks for -100 at the first token of every example."""
    rows = _next_fit(examples, length)
    batch, _ = _pack(rows, length, pad_id)
    batch["labels"][:, 0] = torch.tensor([row[0][1][0] for row in rows])
    return batch


@mistake("pack_examples")
def only_the_rows_first_label_masked(examples, length, pad_id):
    """You put -100 at the first place of each row, but not where the later examples begin. There, too, the token would be
    predicted from an example it does not belong to."""
    batch = first_labels_kept(examples, length, pad_id)
    batch["labels"][:, 0] = -100
    return batch


@mistake("pack_examples")
def last_label_masked_instead(examples, length, pad_id):
    """You put -100 at the *last* token of each example. That is its end token, which must be learned; the label without a
    token before it is the first one."""
    rows = _next_fit(examples, length)
    return _pack_labels(rows, length, pad_id, lambda labels: [*labels[:-1], -100])


@mistake("pack_examples")
def labels_shifted_in_rows(examples, length, pad_id):
    """You shifted the labels to the places where they are predicted. The loss does that: a label stands where its token
    stands."""
    rows = _next_fit(examples, length)
    return _pack_labels(rows, length, pad_id, lambda labels: [*labels[1:], -100])


def _pack_labels(rows, length, pad_id, change):
    batch, _ = _pack(rows, length, pad_id)
    labels = torch.full_like(batch["labels"], -100)
    for r, row in enumerate(rows):
        flat = [label for _, given in row for label in change(given)]
        labels[r, : len(flat)] = torch.tensor(flat)
    return batch | {"labels": labels}


@mistake("pack_examples")
def labels_from_the_ids_in_rows(examples, length, pad_id):
    """You made the labels from the ids, so the prompts are supervised. Use the labels that come with each example."""
    return _packed_well([(ids, ids) for ids, _ in examples], length, pad_id)[0]


@mistake("pack_examples")
def padding_supervised(examples, length, pad_id):
    """The labels on padding are pad_id in your batch, so the model learns to write padding. They are -100."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"labels": batch["labels"].masked_fill(which < 0, pad_id)}


@mistake("pack_examples")
def padding_supervised_with_zero(examples, length, pad_id):
    """The labels on padding are 0 in your batch; 0 is an ordinary token, which the model would learn to write. They are
    -100."""
    batch, which = _packed_well(examples, length, pad_id)
    return batch | {"labels": batch["labels"].masked_fill(which < 0, 0)}


@mistake("pack_examples")
def filled_up_with_zero(examples, length, pad_id):
    """You filled the rows up with 0. The padding token is an argument: pad_id."""
    return _packed_well(examples, length, 0)[0]


@mistake("pack_examples")
def filled_up_with_ignore(examples, length, pad_id):
    """You filled input_ids up with -100. That is a label; as an id the model cannot embed it. Take pad_id."""
    return _packed_well(examples, length, -100)[0]


@mistake("pack_examples")
def cut_into_rows(examples, length, pad_id):
    """You joined all examples and cut the result into rows, so examples are torn in two, as in pre-training. Here an example
    stays whole: if it does not fit, it begins a new row."""
    if any(len(ids) > length for ids, _ in examples):
        raise ValueError("An example is longer than a row.")
    rows, room = [[]], length
    for ids, labels in examples:
        while ids:
            if not room:
                rows.append([])
                room = length
            rows[-1].append((ids[:room], labels[:room]))
            taken = min(room, len(ids))
            ids, labels, room = ids[taken:], labels[taken:], room - taken
    return _pack(rows, length, pad_id)[0]


@mistake("pack_examples")
def one_example_a_row(examples, length, pad_id):
    """Every example has a row of its own in your batch: that is padding, not packing. An example goes into the current row
    if it fits there."""
    return _pack(_next_fit(examples, length, fits=lambda size, room: False), length, pad_id)[0]


@mistake("pack_examples")
def full_rows_refused(examples, length, pad_id):
    """You begin a new row although the example would just fit. A row of `length` tokens may be full to the last place."""
    return _pack(_next_fit(examples, length, fits=lambda size, room: size < room), length, pad_id)[0]


@mistake("pack_examples")
def earlier_rows_filled(examples, length, pad_id):
    """You put an example into an earlier row that still had room. That packs tighter, but the exercise asks for the simple
    way: into the current row, or else into a new one, so that the order stays."""
    return _pack(_first_fit(examples, length), length, pad_id)[0]


@mistake("pack_examples")
def tightest_row_filled(examples, length, pad_id):
    """You put each example into the row where it leaves the least room (best fit, as libraries do it). It packs tighter,
    but the exercise asks for the simple way: the current row, or else a new one."""
    return _pack(_first_fit(examples, length, best=True), length, pad_id)[0]


@mistake("pack_examples")
def longest_first(examples, length, pad_id):
    """You sorted the examples by length. The exercise asks for their own order: each goes into the current row, or else
    begins a new one."""
    return _packed_well(sorted(examples, key=lambda example: -len(example[0])), length, pad_id)[0]


@mistake("pack_examples")
def last_row_lost(examples, length, pad_id):
    """The last row is missing: you keep a row when the next one begins, and nothing begins after the last. Keep it when the
    loop is over."""
    return _pack(_next_fit(examples, length)[:-1], length, pad_id)[0]


@mistake("pack_examples")
def empty_row_first(examples, length, pad_id):
    """Your first row is empty: a new row is begun before the first example, and then once more. Look at how the loop
    starts."""
    return _pack([[], *_next_fit(examples, length)], length, pad_id)[0]


@mistake("pack_examples")
def too_long_cut_off(examples, length, pad_id):
    """You cut off an example that is longer than a row, without a word, and with it the end of its answer. Raise a
    ValueError: shortening is the business of truncate_example, which knows what must stay."""
    return _packed_well([(ids[:length], labels[:length]) for ids, labels in examples], length, pad_id)[0]


@mistake("pack_examples")
def too_long_left_out(examples, length, pad_id):
    """You leave out an example that is longer than a row, without a word. Raise a ValueError: whoever called you should
    know that something does not fit."""
    return _packed_well([example for example in examples if len(example[0]) <= length], length, pad_id)[0]


@mistake("pack_examples")
def as_long_as_a_row_refused(examples, length, pad_id):
    """You refuse an example that is exactly as long as a row. It fits: only a longer one does not."""
    if any(len(ids) >= length for ids, _ in examples):
        raise ValueError("An example is longer than a row.")
    return _packed_well(examples, length, pad_id)[0]


@mistake("pack_examples")
def refused_without_words(examples, length, pad_id):
    """Your ValueError says nothing. Write a sentence that tells the reader what does not fit."""
    try:
        return _packed_well(examples, length, pad_id)[0]
    except ValueError:
        raise ValueError from None


@mistake("pack_examples")
def first_labels_overwritten(examples, length, pad_id):
    """You wrote -100 into the examples' own labels. The next epoch packs them anew, and whoever else uses them finds them
    changed: work on a copy."""
    batch = _packed_well(examples, length, pad_id)[0]
    for _, labels in examples:
        labels[0] = -100
    return batch
