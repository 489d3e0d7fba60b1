"""Wrong answers to chapter 02's exercises on conversations. Each row of a table is one change in the right answer above
it; its second entry is the hint the student reads: what was done, why it is wrong, where to look."""

from autograder.judging.catalogue import changes, mistake

# --- Exercise 1: a conversation as tokens


def _last_answer(messages):
    return next((message for message in reversed(messages) if message["role"] == "assistant"), None)


def _answered_by_a_tool(messages, message):
    return any(one is message and after["role"] == "tool" for one, after in zip(messages, messages[1:]))


def rendered(messages, template, encode, add_generation_prompt=False):
    pieces = [("start", "", template["start"])]
    for message in messages:
        role, content = message["role"], message["content"]
        header = template["header"].format(role=role)
        pieces += [("header", role, header), ("content", role, content)]
        pieces += [("end", role, template["end"]), ("after", role, template["after"])]
    if add_generation_prompt:
        pieces.append(("prompt", "assistant", template["header"].format(role="assistant")))
    ids, mask = [], []
    for kind, role, text in pieces:
        spoken = role == "assistant" and kind in ("content", "end")
        piece = encode(text)
        ids += piece
        mask += [int(spoken)] * len(piece)
    return ids, mask


changes("render_chat", rendered, [
    ("everything_spoken",
     "Your mask is 1 everywhere, so the model would learn to write the user's questions as well. Only the content of "
     "the assistant's messages, and the \"end\" after it, is spoken.",
     'role == "assistant" and kind in ("content", "end")', "True"),
    ("others_spoken",
     "Your mask is upside down: it is 1 where the assistant does *not* speak. 1 marks what the model is to learn.",
     'role == "assistant" and kind in ("content", "end")',
     'not (role == "assistant" and kind in ("content", "end"))'),
    ("system_spoken",
     "You count the system message as spoken. It is an instruction to the model, not something the model says: ask "
     'whether the role *is* "assistant".',
     'role == "assistant"', 'role in ("assistant", "system")'),
    ("tool_results_spoken",
     "You count a tool's results as spoken. A program writes them: a model that is trained on them learns to invent "
     'results instead of waiting for them. Ask whether the role *is* "assistant".',
     'role == "assistant"', 'role in ("assistant", "tool")'),
    ("everybody_but_the_user_spoken",
     "You count every message as spoken that is not the user's: the system's and the tools' as well. The model says "
     'only what has the role "assistant".',
     'role == "assistant"', 'role not in ("user", "")'),
    ("tool_calls_not_spoken",
     "You leave out the assistant's message where a tool answers it. The call is the model's own words: a model that is "
     "never trained on calls makes none.",
     'header = template["header"].format(role=role)',
     'header = template["header"].format(role=role)\n        role = role if not _answered_by_a_tool(messages, message) else ""'),
    ("end_not_spoken",
     'The "end" after an answer is not marked as spoken. It is how the assistant says that it has finished: a model '
     "never trained on it does not stop.",
     'kind in ("content", "end")', 'kind == "content"'),
    ("every_end_spoken",
     "You mark the \"end\" of every message as spoken, the user's as well. The assistant says only the one that closes "
     "its own answer.",
     'kind in ("content", "end")', 'kind == "content" or kind == "end"'),
    ("header_spoken",
     "You count the assistant's header as spoken. The header is given to the model, at training and when it "
     "generates: the first thing it says is the first token of the content.",
     'kind in ("content", "end")', 'kind in ("header", "content", "end")'),
    ("after_spoken",
     'You count the text "after" as spoken. The assistant has ended before it: generation stops at "end", so what '
     "stands behind that is never the model's to write.",
     'kind in ("content", "end")', 'kind in ("content", "end", "after")'),
    ("whole_assistant_message_spoken",
     "You mark the assistant's whole message as spoken: header, content, \"end\" and \"after\". It says only the content "
     'and "end"; the rest is scaffolding that you put there for it.',
     'kind in ("content", "end")', 'kind != "prompt"'),
    ("generation_prompt_spoken",
     "You count the generation prompt as spoken. It is a header like the others: it is given to the model, which "
     "then begins to speak.",
     'kind in ("content", "end")', 'kind in ("content", "end", "prompt")'),
    ("mask_one_early",
     "Your mask is one place too early: the header's last token counts as spoken, and the last token of \"end\" does "
     "not. The mask speaks of the tokens themselves; the shift between input and target comes later, in the loss.",
     "return ids, mask", "return ids, [*mask[1:], 0]"),
    ("mask_one_late",
     'Your mask is one place too late: the first token of each answer is missing, and one token behind its "end" '
     "counts. Where does the content begin?",
     "return ids, mask", "return ids, [0, *mask[:-1]]"),
    ("first_answer_token_missing",
     "The first token of each answer is not marked as spoken. It is the one that decides how an answer begins, and "
     "the model predicts it from the header's last token.",
     "return ids, mask", "return ids, [int(now and before) for before, now in zip([0, *mask], mask)]"),
    ("last_header_token_spoken",
     "The last token of the assistant's header counts as spoken in your mask. What the model says begins with the "
     "first token of the content: begin one place later.",
     "return ids, mask", "return ids, [int(now or after) for now, after in zip(mask, [*mask[1:], 0])]"),
    ("only_the_last_answer_spoken",
     "Only the last answer is marked. The mask says where the assistant speaks, in all of its messages; which of "
     "them are learned is decided in the next exercise.",
     'header = template["header"].format(role=role)',
     'header = template["header"].format(role=role)\n        role = role if message is _last_answer(messages) else ""'),
    ("only_a_final_answer_spoken",
     "You mark only what the conversation's last message says. Earlier answers are the assistant's words as well: go "
     "by the role of each message.",
     'header = template["header"].format(role=role)',
     'header = template["header"].format(role=role)\n        role = role if message is messages[-1] else ""'),
    ("generation_prompt_always",
     "You add the assistant's header at the end in every case. It belongs there only when add_generation_prompt asks "
     "for it: in training, the conversation ends with what was said.",
     "if add_generation_prompt:", "if True:"),
    ("generation_prompt_never",
     "add_generation_prompt changes nothing in your function. Without the assistant's header at the end, the model "
     "may go on with the user's turn instead of answering.",
     "if add_generation_prompt:", "if False:"),
    ("generation_prompt_upside_down",
     "You add the generation prompt when it is not asked for, and leave it out when it is. Look at the condition.",
     "if add_generation_prompt:", "if not add_generation_prompt:"),
    ("generation_prompt_after_the_user_only",
     "You add the generation prompt only where the assistant did not speak last. Add it whenever it is asked for, "
     "whoever spoke last: the caller decides.",
     "if add_generation_prompt:", 'if add_generation_prompt and messages[-1]["role"] != "assistant":'),
    ("generation_prompt_guessed",
     "You add the assistant's header wherever the user spoke last, and do not ask add_generation_prompt. Only the "
     "caller knows whether the model is to go on.",
     "if add_generation_prompt:", 'if messages[-1]["role"] != "assistant":'),
    ("generation_prompt_of_the_last_speaker",
     "Your generation prompt repeats the header of whoever spoke last. It must be the *assistant's*: it is the "
     "assistant who speaks next.",
     'format(role="assistant")', 'format(role=messages[-1]["role"])'),
    ("generation_prompt_as_an_empty_message",
     'Your generation prompt is a whole empty message, with its "end": the model would see an answer that is over '
     "already. Put the header alone.",
     "in messages:", 'in messages + [{"role": "assistant", "content": ""}] * add_generation_prompt:',
     "if add_generation_prompt:", "if False:"),
    ("generation_prompt_appended_to_the_messages",
     "You changed the messages that you were given (appended one, say), so the conversation is another with the next "
     "call. Leave `messages` as it is and add to your own list of pieces.",
     "return ids, mask",
     'if add_generation_prompt:\n        messages.append({"role": "assistant", "content": ""})\n    return ids, mask'),
    ("generation_prompt_after_every_message",
     "The generation prompt stands behind every message. It comes once, at the very end: look at the indentation.",
     "    if add_generation_prompt:\n        pieces", "        if add_generation_prompt:\n            pieces"),
    ("start_before_every_message",
     'You put "start" before every message. It comes once, at the very beginning: a model that sees it in the middle '
     "takes it for the beginning of another text.",
     'pieces = [("start", "", template["start"])]', "pieces = []",
     'pieces += [("header",', 'pieces += [("start", "", template["start"]), ("header",'),
    ("start_left_out",
     'The text "start" is missing. Some templates have none (then it is empty), the others begin with it: encode it '
     "before the first message.",
     '[("start", "", template["start"])]', "[]"),
    ("after_left_out",
     'The text "after" is missing: each message is its header, its content, "end" and "after".',
     ', ("after", role, template["after"])', ""),
    ("after_only_between",
     'You put "after" between messages, but not behind the last one. It follows every message; without it, a '
     "generation prompt would stand where the model never saw one.",
     "if add_generation_prompt:", "pieces.pop()\n    if add_generation_prompt:"),
    ("end_left_out",
     'The text "end" is missing. Every message ends with it; without it the model never learns when to stop.',
     '("end", role, template["end"]), ', ""),
    ("end_only_after_answers",
     "Only the assistant's messages end with \"end\" in your function. Every message does: that is how the model knows "
     "that the user has finished.",
     'template["end"]', 'template["end"] * (role == "assistant")'),
    ("role_not_filled_in",
     "Your headers still hold the word {role}: the template's text was not filled in. Use .format(role=…).",
     ".format(role=role)", "",
     '.format(role="assistant")', ""),
    ("content_filled_in",
     "You call .format on the content as well, so braces that somebody wrote are replaced (or raise a KeyError). "
     "Only the header of the template holds a {role} to fill in.",
     "role, content)]", "role, content.format(role=role))]"),
    ("content_stripped",
     "You strip the spaces off the content. They belong to what was said, and the model must see in training what it "
     "will see in use: encode the content as it stands.",
     "role, content)]", "role, content.strip())]"),
    ("encoded_as_one_text",
     "You joined all texts and encoded them at once. A tokenizer merges characters across the seams, so the end of a "
     "header and the beginning of an answer may share a token, and the mask points at the wrong places. Encode each "
     "piece by itself.",
     "ids, mask = [], []", 'ids, mask, joined = [], [], ""',
     "piece = encode(text)\n        ids += piece",
     "joined += text\n        ids = encode(joined)\n        piece = ids[len(mask) :]"),
    ("content_and_end_encoded_together",
     'You encoded the content and "end" as one text. They may share a token then, and a model that generates never '
     "writes the end token you wait for. Encode each piece by itself.",
     "role, content)]", 'role, content + template["end"])]',
     '("end", role, template["end"]), ', ""),
    ("mask_per_message",
     "Your mask has one entry for each piece of text, not one for each token. Repeat the 0 or 1 as often as the "
     "piece has tokens.",
     "mask += [int(spoken)] * len(piece)", "mask.append(int(spoken))"),
    ("one_list_per_piece",
     "You appended each piece's ids as a list, so a list of lists came back. Extend the list instead (+= or "
     ".extend): one flat list of ids.",
     "ids += piece", "ids.append(piece)",
     "mask += [int(spoken)] * len(piece)", "mask.append([int(spoken)] * len(piece))"),
    ("mask_of_characters",
     "Your mask has an entry for each character of a text. It needs one for each token: take the length of what "
     "encode gave back.",
     "len(piece)", "len(text)"),
    ("returned_in_the_other_order",
     "You returned the mask first and the ids second. The ids come first.",
     "return ids, mask", "return mask, ids"),
    ("system_header_as_the_users",
     "You wrote every header that is not the assistant's as the user's. A system message has a header of its own: "
     "fill in the role of the message.",
     ".format(role=role)", '.format(role=role if role == "assistant" else "user")'),
    ("empty_messages_left_out",
     'You leave out a message without content. It is a turn all the same, with its header and its "end".',
     "for message in messages:", 'for message in filter(lambda message: message["content"], messages):'),
])


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
def answers_found_by_their_header(messages, template, encode, add_generation_prompt=False):
    """You look for the assistant's header among the ids and mark what follows. A user may quote a header in a message:
    then the user's words count as spoken. Go by the role of each message."""
    ids, mask = rendered(messages, template, encode, add_generation_prompt)
    header, end = encode(template["header"].format(role="assistant")), encode(template["end"])
    inside = False
    for i in range(len(ids)):
        if ids[max(0, i - len(header)) : i] == header:
            inside = True
        mask[i] = int(inside)
        if ids[max(0, i + 1 - len(end)) : i + 1] == end:
            inside = False
    return ids, mask


# --- Exercise 2: what is supervised


def _stretches(mask):
    """(begin, end) of each unbroken stretch of the assistant's tokens."""
    edges = [i for i, (before, now) in enumerate(zip([0, *mask], [*mask, 0])) if bool(before) != bool(now)]
    return list(zip(edges[::2], edges[1::2]))


def labelled(input_ids, assistant_mask, last_only=False):
    stretches = _stretches(assistant_mask)
    if last_only:
        stretches = stretches[-1:]
    labels = [-100] * len(input_ids)
    for begin, end in stretches:
        for i in range(begin, end):
            labels[i] = input_ids[i]
    return labels


changes("answer_labels", labelled, [
    ("prompt_supervised",
     "Your labels are the ids, prompt and all, so the model also learns to write questions. Where the mask is 0, the "
     "label is -100.",
     "return labels", "return list(input_ids)"),
    ("prompt_supervised_instead",
     "Your labels are upside down: the prompt is supervised and the answer is not. The mask is 1 where the assistant "
     "speaks, and there the label is the id.",
     "_stretches(assistant_mask)", "_stretches([1 - spoken for spoken in assistant_mask])"),
    ("zero_instead_of_ignore",
     "You put 0 where nothing is supervised. 0 is a token like any other: the model would be trained to write it. "
     "The label that cross-entropy leaves out is -100.",
     "[-100]", "[0]"),
    ("minus_one_instead_of_ignore",
     "You put -1 where nothing is supervised. PyTorch and transformers leave out -100; -1 is an error or a wrong "
     "target.",
     "[-100]", "[-1]"),
    ("plus_hundred_instead_of_ignore",
     "You put 100 where nothing is supervised: the sign is lost. 100 may well be the id of a token; what is left out "
     "is -100.",
     "[-100]", "[100]"),
    ("none_instead_of_ignore",
     "You put None where nothing is supervised. Labels become a tensor of integers: the one that is left out is "
     "-100.",
     "[-100]", "[None]"),
    ("unsupervised_tokens_dropped",
     "You left out the tokens that are not supervised. Labels are as long as the ids, one for each position: put "
     "-100 in their places.",
     "return labels", "return [label for label in labels if label != -100]"),
    ("labels_shifted",
     "You shifted the labels by one, so that each stands where it is predicted. The loss shifts (here and in "
     "transformers); shifted twice, the model learns to predict the token after the next.",
     "return labels", "return [*labels[1:], -100]"),
    ("labels_shifted_back",
     "Your labels are one place too late: at each position stands the token before it. Label and id stand in the "
     "same place.",
     "return labels", "return [-100, *labels[:-1]]"),
    ("mask_begins_one_late",
     "The first token of each answer is not supervised. The model predicts it from the last token of the prompt, and "
     "it matters most of all: the shift in the loss takes care of that, the mask must not be moved.",
     "range(begin, end)", "range(begin + 1, end)"),
    ("mask_begins_one_early",
     "The last token before each answer is supervised as well. It belongs to the prompt: label a position by its own "
     "mask, not by the next one's.",
     "range(begin, end)", "range(max(0, begin - 1), end)"),
    ("last_token_not_supervised",
     "The last token of each answer is not supervised. It is the end token: without it the model does not learn to "
     "stop.",
     "range(begin, end)", "range(begin, end - 1)"),
    ("everything_from_the_first_answer",
     "You supervise everything from the first answer on, later questions included. Each position goes by its own "
     "mask.",
     "range(begin, end)", "range(begin, len(input_ids))"),
    ("last_only_ignored",
     "last_only changes nothing in your function: earlier answers keep their labels.",
     "if last_only:", "if False:"),
    ("last_only_always",
     "You keep only the last answer even when last_only is False. Then every answer is supervised.",
     "if last_only:", "if True:"),
    ("last_only_upside_down",
     "You keep all answers when last_only is True, and only the last one when it is False. Look at the condition.",
     "if last_only:", "if not last_only:"),
    ("last_token_of_the_last_answer",
     "With last_only you keep a single token. The whole last stretch stays: go back from its end for as long as the "
     "mask is 1.",
     "stretches = stretches[-1:]", "stretches = [(end - 1, end) for _, end in stretches[-1:]]"),
    ("only_the_first_answer",
     "With last_only you keep the first answer. It is the last one that is asked for.",
     "stretches = stretches[-1:]", "stretches = stretches[:1]"),
    ("last_answer_dropped",
     "With last_only you take the labels off the last answer and leave them on the others: it is the other way "
     "round.",
     "stretches = stretches[-1:]", "stretches = stretches[:-1]"),
    ("last_answer_without_its_first_token",
     "With last_only the last answer loses its first token. Check where your search backwards stops: at the first "
     "position whose mask is 0, and the answer begins *behind* it.",
     "stretches = stretches[-1:]", "stretches = [(begin + 1, end) for begin, end in stretches[-1:]]"),
    ("last_answer_with_the_token_before",
     "With last_only the token before the last answer is supervised as well. Check where your search backwards "
     "stops: the position whose mask is 0 no longer belongs to the answer.",
     "stretches = stretches[-1:]", "stretches = [(max(0, begin - 1), end) for begin, end in stretches[-1:]]"),
    ("tail_supervised",
     "With last_only you supervise everything from the last answer's beginning to the end of the list, whatever "
     "stands behind the answer. There, too, the mask decides.",
     "stretches = stretches[-1:]", "stretches = [(begin, len(input_ids)) for begin, _ in stretches[-1:]]"),
    ("last_answer_sought_at_the_very_end",
     "With last_only you take the stretch at the very end of the list. Where something stands behind the last answer "
     "(a line break, the next question), you find nothing: skip the 0s at the end first.",
     "stretches = stretches[-1:]",
     "stretches = [(begin, end) for begin, end in stretches[-1:] if end == len(input_ids)]"),
    ("last_only_needs_an_answer",
     "With last_only your function fails where the assistant says nothing. There is no last answer then, and every "
     "label is -100.",
     "stretches = stretches[-1:]", "stretches = stretches[-1:]\n        assistant_mask.index(1)"),
    ("stretch_at_the_start_overlooked",
     "With last_only you overlook an answer that begins with the very first token: you look for the place where the "
     "mask changes from 0 to 1, and there is none. Treat the beginning of the list as such a place.",
     "stretches = stretches[-1:]", "stretches = [(begin, end) for begin, end in stretches[-1:] if begin > 0]"),
    ("spoken_zeros_left_out",
     "You leave out tokens with id 0, even where the assistant says them. 0 is an ordinary id: `token * mask or "
     '-100` and the like cannot tell it from "nothing".',
     "= input_ids[i]", "= input_ids[i] or -100"),
    ("ids_of_the_prompt_left_out",
     "You leave out every id that occurs in the prompt, even where the assistant says it. The same word may stand in "
     "a question and in its answer: go by position, not by id.",
     "return labels",
     "prompt = {token for token, spoken in zip(input_ids, assistant_mask) if not spoken}\n    return [-100 if label in prompt else label for label in labels]"),
    ("input_ids_overwritten",
     "You changed input_ids itself: labels and input may be one list now, and -100 is no id that the model can "
     "embed. Make a new list.",
     "return labels", "input_ids[:] = labels\n    return input_ids"),
    ("mask_overwritten",
     "You changed the mask that you were given (set earlier 1s to 0 for last_only, say). Whoever called you may "
     "still need it: work on a copy.",
     "return labels", "assistant_mask[:] = [int(label != -100) for label in labels]\n    return labels"),
    ("labels_rolled",
     "You rolled the labels by one: each stands where it is predicted, and the first has come round to the end. The "
     "loss shifts (here and in transformers); a label stands where its token stands.",
     "return labels", "return [*labels[1:], labels[0]]"),
    ("search_runs_past_the_beginning",
     "With last_only your search backwards does not stop at the beginning of the list. Where everything is the "
     "assistant's, it goes on from the end (index -1) until it fails: stop at 0.",
     "stretches = stretches[-1:]",
     'stretches = stretches[-1:]\n        if all(assistant_mask):\n            raise IndexError("list index out of range")'),
])
