"""Correct answers to chapter 02 in other shapes, which every check must accept."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F

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


# --- Exercise 3: too long


@alternative("truncate_example")
def last_tokens_by_a_negative_slice(input_ids, labels, max_length):
    """A guard, then the last max_length; refuses after cutting, by what was cut off."""
    if len(input_ids) <= max_length:
        return input_ids, labels
    lost, kept = labels[:-max_length], labels[-max_length:]
    if any(label != -100 for label in [*lost, kept[0]]):
        raise ValueError(f"max_length={max_length} is too small for this example of length {len(input_ids)}")
    return input_ids[-max_length:], kept


@alternative("truncate_example")
def token_after_token(input_ids, labels, max_length):
    """Copies that lose one token after the other; a subclass of ValueError; tuples come back."""

    class TooLong(ValueError):
        pass

    ids, rest = list(input_ids), list(labels)
    while len(ids) > max_length:
        if rest[:2] != [-100, -100]:
            raise TooLong(f"The example (length: {len(input_ids)}) cannot be shortened to {max_length} tokens")
        ids.pop(0)
        rest.pop(0)
    return tuple(ids), tuple(rest)


@alternative("truncate_example")
def room_for_the_answer(input_ids, labels, max_length):
    """Counts what must stay, from one token before the first supervised one; names that length as well."""
    supervised = [i for i, label in enumerate(labels) if label != -100]
    needed = len(labels) - supervised[0] + 1 if supervised else 0
    if len(input_ids) > max_length and needed > max_length:
        raise ValueError(f"This needs {needed} of {len(input_ids)} tokens; there is room for {max_length}.")
    begin = max(len(input_ids) - max_length, 0)
    return [list(input_ids[begin:]), list(labels[begin:])]


@alternative("truncate_example")
def tensors_and_nonzero(input_ids, labels, max_length):
    """Tensors, nonzero, and the needed length in the message, too."""
    ids, targets = torch.tensor(input_ids), torch.tensor(labels)
    begin = max(0, len(ids) - max_length)
    where = (targets != -100).nonzero().flatten()
    if begin and len(where) and where[0] <= begin:
        raise ValueError(f"{len(ids)} tokens: the answer needs {len(ids) - int(where[0]) + 1}, the maximum is {max_length}")
    return ids[begin:], targets[begin:]


@alternative("truncate_example")
def pairs_kept(input_ids, labels, max_length):
    """A list of pairs, sliced once, unzipped by comprehension."""
    pairs = list(zip(input_ids, labels))
    kept = pairs[max(len(pairs) - max_length, 0) :]
    cut = len(pairs) - len(kept)
    if cut and not all(label == -100 for _, label in pairs[: cut + 1]):
        raise ValueError(f"length {len(pairs)} > max_length {max_length}: the answer does not fit")
    return [token for token, _ in kept], [label for _, label in kept]


@alternative("truncate_example")
def tried_and_looked_at(input_ids, labels, max_length):
    """The cut is made, then the supervised tokens before and after are counted; a message over several lines."""
    begin = max(0, len(labels) - max_length)
    kept = labels[begin:]
    lost = sum(label != -100 for label in labels) - sum(label != -100 for label in kept)
    if begin and (lost or (kept and kept[0] != -100)):
        raise ValueError(f"The answer cannot stay whole.\nlength: {len(labels)}\nmax_length: {max_length}")
    return input_ids[begin:], kept


# --- Exercise 4: a batch


@alternative("collate")
def pad_sequence(examples, pad_id, side="right"):
    """torch.nn.utils.rnn.pad_sequence, three times."""
    ids = [torch.tensor(ids) for ids, _ in examples]
    labels = [torch.tensor(labels) for _, labels in examples]

    def pad(rows, fill):
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill, padding_side=side)

    return {
        "input_ids": pad(ids, pad_id),
        "attention_mask": pad([torch.ones_like(row) for row in ids], 0),
        "labels": pad(labels, -100),
    }


@alternative("collate")
def filled_tensors(examples, pad_id, side="right"):
    """torch.full, then each row written into its place; one key more."""
    lengths = [len(ids) for ids, _ in examples]
    shape = (len(examples), max(lengths))
    input_ids, mask, labels = torch.full(shape, pad_id), torch.zeros(shape, dtype=torch.long), torch.full(shape, -100)
    for r, (ids, targets) in enumerate(examples):
        place = slice(shape[1] - len(ids), None) if side == "left" else slice(len(ids))
        input_ids[r, place], labels[r, place] = torch.tensor(ids), torch.tensor(targets)
        mask[r, place] = 1
    return {"lengths": lengths, "labels": labels, "attention_mask": mask, "input_ids": input_ids}


@alternative("collate")
def functional_pad(examples, pad_id, side="right"):
    """F.pad for each row, torch.stack; transformers' BatchEncoding comes back."""
    from transformers import BatchEncoding

    longest = max(len(ids) for ids, _ in examples)

    def row(values, fill):
        missing = longest - len(values)
        sides = (missing, 0) if side == "left" else (0, missing)
        return torch.nn.functional.pad(torch.tensor(values), sides, value=fill)

    return BatchEncoding(
        {
            "input_ids": torch.stack([row(ids, pad_id) for ids, _ in examples]),
            "attention_mask": torch.stack([row([1] * len(ids), 0) for ids, _ in examples]),
            "labels": torch.stack([row(labels, -100) for _, labels in examples]),
        }
    )


@alternative("collate")
def zipped_and_flipped(examples, pad_id, side="right"):
    """zip_longest over the columns; for the left side, everything is turned round, padded and turned back."""
    step = -1 if side == "left" else 1

    def pad(rows, fill):
        columns = itertools.zip_longest(*(list(row)[::step] for row in rows), fillvalue=fill)
        padded = torch.tensor(list(columns)).T
        return padded.flip(1) if side == "left" else padded

    return {
        "input_ids": pad([ids for ids, _ in examples], pad_id),
        "labels": pad([labels for _, labels in examples], -100),
        "attention_mask": pad([[1 for _ in ids] for ids, _ in examples], 0),
    }


@alternative("collate")
def numpy_and_lengths(examples, pad_id, side="right"):
    """NumPy arrays; the mask from the lengths alone."""
    lengths = np.array([len(ids) for ids, _ in examples])
    places = np.arange(lengths.max())
    mask = places >= (lengths.max() - lengths)[:, None] if side == "left" else places < lengths[:, None]
    input_ids, labels = np.full(mask.shape, pad_id), np.full(mask.shape, -100)
    input_ids[mask] = np.concatenate([ids for ids, _ in examples])
    labels[mask] = np.concatenate([labels for _, labels in examples])
    return {
        "input_ids": torch.from_numpy(input_ids),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        "labels": torch.from_numpy(labels),
    }


@alternative("collate")
def scattered_into_place(examples, pad_id, side="right"):
    """masked_scatter of all ids, and of all labels, into the places that a comparison of lengths gives."""
    lengths = torch.tensor([len(ids) for ids, _ in examples])
    places = torch.arange(int(lengths.max()))
    real = places < lengths[:, None]
    real = real.flip(1) if side != "right" else real
    ids, labels = (torch.cat([torch.tensor(example[i]) for example in examples]) for i in (0, 1))
    return {
        "labels": torch.full(real.shape, -100).masked_scatter(real, labels),
        "input_ids": torch.full(real.shape, pad_id).masked_scatter(real, ids),
        "attention_mask": real.to(torch.int64),
    }


# --- Exercise 5: the loss of the answer


@alternative("sft_loss")
def cross_entropy_of_transformers(logits, labels, num_tokens=None):
    """The loss function inside transformers' models; it divides by num_items_in_batch where that is given."""
    from transformers.loss.loss_utils import ForCausalLMLoss

    if num_tokens is None and not (labels[:, 1:] != -100).any():
        return logits.sum() * 0.0
    return ForCausalLMLoss(logits, labels, vocab_size=logits.shape[-1], num_items_in_batch=num_tokens)


@alternative("sft_loss")
def mean_and_number(logits, labels, num_tokens=None):
    """Cross-entropy's own mean where there is no num_tokens, the sum where there is."""
    predictions, targets = logits[:, :-1, :].transpose(1, 2), labels[:, 1:]
    if num_tokens is None:
        return F.cross_entropy(predictions, targets).nan_to_num()
    return F.cross_entropy(predictions, targets, reduction="sum") / num_tokens


@alternative("sft_loss")
def gathered_with_weights(logits, labels, num_tokens=None):
    """log_softmax, gather, and a mask of weights, in float64."""
    targets = labels[:, 1:]
    weights = (targets != -100).double()
    logps = logits[:, :-1].double().log_softmax(-1).gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(logps * weights).sum() / max(1, weights.sum() if num_tokens is None else num_tokens)


@alternative("sft_loss")
def labels_moved_to_the_left(logits, labels, num_tokens=None):
    """All logits, labels moved with -100 in the gap; a tensor with an axis of length one comes back."""
    moved = torch.full_like(labels, -100)
    moved[:, :-1] = labels[:, 1:]
    kept = moved != -100
    losses = logits[kept].logsumexp(-1) - logits[kept].gather(-1, moved[kept][:, None])[:, 0]
    return losses.sum().reshape(1) / (num_tokens or max(kept.sum(), 1))


@alternative("sft_loss")
def token_by_token(logits, labels, num_tokens=None):
    """Two loops, and zero times the logits where nothing is supervised."""
    losses = [
        -row[t].log_softmax(0)[wanted[t + 1]]
        for row, wanted in zip(logits, labels)
        for t in range(len(wanted) - 1)
        if wanted[t + 1] >= 0
    ]
    return sum(losses) / (num_tokens or len(losses)) if losses else 0.0 * logits.sum()


@alternative("sft_loss")
def nll_of_one_hot(logits, labels, num_tokens=None):
    """einsum with one-hot targets, whose rows are zero where nothing is supervised."""
    targets = labels[:, 1:]
    supervised = targets != -100
    one_hot = F.one_hot(targets.clamp(min=0), logits.shape[-1]) * supervised[..., None]
    total = -torch.einsum("bsv,bsv->", logits[:, :-1].log_softmax(-1), one_hot.to(logits.dtype))
    return total / (supervised.sum().clamp_min(1) if num_tokens is None else torch.tensor(num_tokens))


@alternative("sft_loss")
def losses_times_weights(logits, labels, num_tokens=None):
    """Cross-entropy without reduction, times weights that are 0 or 1; an integer tensor as divisor."""
    targets = labels[:, 1:].clone()
    weights = (targets != -100).to(logits.dtype)
    losses = F.cross_entropy(logits[:, :-1].permute(0, 2, 1), targets.clamp(min=0), reduction="none")
    return (losses * weights).sum().div(weights.sum().long().clamp(min=1) if num_tokens is None else num_tokens)


@alternative("sft_loss")
def a_leaf_where_nothing_is_supervised(logits, labels, num_tokens=None):
    """A new tensor that asks for a gradient where nothing is supervised: backward works, and nothing is learned."""
    targets = labels[:, 1:].flatten()
    if (targets == -100).all():
        return torch.zeros((), requires_grad=True)
    total = F.nll_loss(logits[:, :-1].flatten(0, 1).log_softmax(-1), targets, reduction="sum")
    return total / (num_tokens or (targets != -100).sum())


@alternative("sft_loss")
def through_sequence_logprob(logits, labels, num_tokens=None):
    """Minus the sum over the rows of the next exercise's number."""
    total = -summed_over_unmasked_places(logits, labels).sum()
    return total / (num_tokens or max(1, int((labels[:, 1:] != -100).sum())))


# --- Exercise 6: how likely is an answer


@alternative("sequence_logprob")
def selective_log_softmax_of_trl(logits, labels):
    """The function that trl's trainers use."""
    from trl.trainer.utils import selective_log_softmax

    targets = labels[:, 1:]
    logps = selective_log_softmax(logits[:, :-1], targets.clamp(min=0))
    return (logps * (targets != -100)).sum(-1)


@alternative("sequence_logprob")
def cross_entropy_summed_by_row(logits, labels):
    """Minus cross-entropy without reduction, whose ignored places are 0 already."""
    return -F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none").sum(dim=1)


@alternative("sequence_logprob")
def row_after_row(logits, labels):
    """A loop over rows that picks the supervised places; an empty sum is 0."""
    result = []
    for row, wanted in zip(logits, labels):
        places = (wanted[1:] != -100).nonzero()[:, 0]
        result.append(row[places].log_softmax(-1)[torch.arange(len(places)), wanted[places + 1]].sum())
    return torch.stack(result)


@alternative("sequence_logprob")
def in_float64_by_hand(logits, labels):
    """In float64, with the largest logit subtracted by hand."""
    x, targets = logits.double()[:, :-1], labels[:, 1:]
    x = x - x.amax(-1, keepdim=True)
    x = x - x.exp().sum(-1, keepdim=True).log()
    chosen = torch.take_along_dim(x, targets.clamp(min=0)[..., None], -1)[..., 0]
    return torch.where(targets == -100, 0.0, chosen).sum(-1)


@alternative("sequence_logprob")
def logit_minus_logsumexp(logits, labels):
    """The chosen logit less the logsumexp; whole rows, with labels moved to the left."""
    moved = F.pad(labels[:, 1:], (0, 1), value=-100)
    supervised = moved.ne(-100)
    chosen = logits.gather(2, moved.where(supervised, 0).unsqueeze(2)).squeeze(2)
    return torch.where(supervised, chosen - logits.logsumexp(2), 0.0).sum(1)


@alternative("sequence_logprob")
def one_term_for_each_token(logits, labels):
    """A term for each token, added up as one would on paper."""
    result = []
    for row, wanted in zip(logits, labels.tolist()):
        total = 0.0 * row[0, 0]
        for t, token in enumerate(wanted[1:]):
            if token != -100:
                total = total + row[t, token] - torch.logsumexp(row[t], 0)
        result.append(total)
    return torch.stack(result)


@alternative("sequence_logprob")
def summed_over_unmasked_places(logits, labels):
    """index_add of each supervised token's log p into its row."""
    rows, places = (labels[:, 1:] != -100).nonzero(as_tuple=True)
    logps = logits[rows, places].log_softmax(-1)[torch.arange(len(rows)), labels[rows, places + 1]]
    return torch.zeros(len(labels), dtype=logps.dtype).index_add(0, rows, logps)


@alternative("sequence_logprob")
def one_hot_products(logits, labels):
    """einsum of log-probabilities with one-hot labels, float64."""
    kept = labels[:, 1:] >= 0
    one_hot = F.one_hot(labels[:, 1:].where(kept, 0), logits.shape[-1]).double() * kept.unsqueeze(-1)
    return torch.einsum("btv,btv->b", logits[:, :-1].double().log_softmax(-1), one_hot)


# --- Exercise 7: the training loop


def _loss_sum(model, batch):
    """The sum of -log p over the supervised tokens of a batch."""
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="sum")


def _count(batch):
    return int((batch["labels"][:, 1:] != -100).sum())


@alternative("train_sft")
def gradients_divided_at_the_end(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """Sums are accumulated, and the gradient is divided by the number of tokens before it is clipped; a tuple
    returns."""
    model.train()
    losses = ()
    for step, batches in enumerate(updates):
        optimizer.zero_grad(set_to_none=False)
        total, tokens = 0.0, 0
        for batch in batches:
            loss = _loss_sum(model, batch)
            loss.backward()
            total, tokens = total + loss.item(), tokens + _count(batch)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(tokens)
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        losses = (*losses, total / tokens)
        if after_step:
            after_step(step, total / tokens)
    return losses


@alternative("train_sft")
def weighted_means(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """Each batch's mean, weighted by its share of the tokens; batches without tokens skipped; cleared after the
    step."""
    model.train()
    history = []
    for step, update in zip(range(10**9), updates):
        numbers = [_count(batch) for batch in update]
        loss_of_update = torch.zeros(())
        for batch, n in zip(update, numbers):
            if n == 0:
                continue
            loss = _loss_sum(model, batch) / n * (n / sum(numbers))
            loss.backward()
            loss_of_update += loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for group in optimizer.param_groups:
            group.update(lr=lr_at(step))
        optimizer.step()
        model.zero_grad()
        history.append(loss_of_update.item())
        if after_step is not None:
            after_step(step, loss_of_update)
    return history


@alternative("train_sft")
def one_backward_for_the_update(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """All losses added up, one backward pass; clipping written out over the optimizer's parameters."""
    losses = []
    for step, batches in enumerate(updates):
        model.train()
        loss = sum(_loss_sum(model, batch) for batch in batches) / sum(map(_count, batches))
        optimizer.zero_grad()
        loss.backward()
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        if norm > max_norm:
            for parameter in parameters:
                parameter.grad *= max_norm / norm
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        losses.append(float(loss.detach()))
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@alternative("train_sft")
def loss_of_the_model_itself(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """transformers' own loss: labels and num_items_in_batch go into the model."""
    model.train()
    losses = []
    for step, batches in enumerate(updates):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        num_items = sum((batch["labels"][..., 1:] != -100).sum() for batch in batches)
        optimizer.zero_grad()
        parts = []
        for batch in batches:
            loss = model(**batch, num_items_in_batch=num_items, use_cache=False).loss
            loss.backward()
            parts.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(sum(parts))
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@alternative("train_sft")
def batches_padded_into_one(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """The batches of an update are padded to one width and go through the model together, which costs memory."""
    model.train()
    losses = []
    for step, batches in enumerate(updates):
        width = max(batch["labels"].shape[1] for batch in batches)
        joined = {
            name: torch.cat([F.pad(b[name], (0, width - b[name].shape[1]), value=fill) for b in batches])
            for name, fill in (("input_ids", 0), ("attention_mask", 0), ("labels", -100))
        }
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.zero_grad()
        loss = _loss_sum(model, joined) / _count(joined)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=max_norm)
        optimizer.step()
        losses.append(loss.item())
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@alternative("train_sft")
def gradients_by_autograd(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """torch.autograd.grad and a running sum of gradients; positions are passed to the model; a closure does the
    step."""
    model = model.train()
    parameters, losses = list(model.parameters()), []
    for step, batches in enumerate(updates):
        tokens = sum(_count(batch) for batch in batches)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)

        def closure(batches=batches, tokens=tokens):
            total, sums = 0.0, [torch.zeros_like(p) for p in parameters]
            for batch in batches:
                mask = batch["attention_mask"]
                positions = (mask.cumsum(-1) - 1).clamp(min=0)
                logits = model(input_ids=batch["input_ids"], attention_mask=mask, position_ids=positions).logits
                targets = batch["labels"][:, 1:]
                logps = logits[:, :-1].log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
                loss = -logps[targets != -100].sum() / tokens
                sums = [s + g for s, g in zip(sums, torch.autograd.grad(loss, parameters))]
                total += loss.item()
            for parameter, gradient in zip(parameters, sums):
                parameter.grad = gradient
            torch.nn.utils.clip_grad_norm_(parameters, max_norm)
            return total

        losses.append(optimizer.step(closure))
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@alternative("train_sft")
def losses_of_numpy(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """A while loop over an iterator; what is clipped are the optimizer's parameters; numbers of NumPy come back."""
    model.train(True)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    iterator, losses = iter(updates), []
    while (batches := next(iterator, None)) is not None:
        tokens = sum(map(_count, batches))
        model.zero_grad()
        shares = []
        for batch in batches:
            share = _loss_sum(model, batch) / tokens
            share.backward()
            shares.append(np.float64(share.detach().numpy()))
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(len(losses))
        optimizer.step()
        losses.append(np.sum(shares))
        if after_step is not None:
            after_step(len(losses) - 1, losses[-1])
    return losses


# --- Exercise 8: answers that end


def _chosen(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial(F.softmax(logits / temperature, dim=-1), 1, generator=generator).squeeze(-1)


@alternative("generate_answers")
def without_a_cache(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None):
    """Everything is read again for each token; gradients are on; end tokens are found in the text at the end."""
    ids, mask = input_ids, attention_mask
    for _ in range(max_new_tokens):
        chosen = _chosen(model(input_ids=ids, attention_mask=mask).logits[:, -1], temperature, generator)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        mask = F.pad(mask, (0, 1), value=1)
        if (ids[:, input_ids.shape[1] :] == end_id).any(dim=1).all():
            break
    new = ids[:, input_ids.shape[1] :]
    is_end = (new == end_id).long()
    return torch.where(is_end.cumsum(1) - is_end > 0, pad_id, new)


@alternative("generate_answers")
@torch.inference_mode()
def by_transformers_where_greedy(
    model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None
):
    """model.generate at temperature 0; above it a loop with positions, since generate takes no generator."""
    if temperature == 0:
        sequences = model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=end_id,
            pad_token_id=pad_id,
        )
        return sequences[:, input_ids.shape[1] :]
    ids, mask, cache, new, alive = input_ids, attention_mask, None, [], torch.ones(len(input_ids)).bool()
    for _ in range(max_new_tokens):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = model(ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        token = _chosen(output.logits[:, -1, :], temperature, generator)
        new.append(torch.where(alive, token, torch.tensor(pad_id)))
        alive = alive & (token != end_id)
        if not alive.any():
            break
        ids, mask = token[:, None], torch.cat([mask, mask.new_ones(len(mask), 1)], dim=-1)
    return torch.stack(new, dim=-1)


@alternative("generate_answers")
@torch.no_grad()
def sampled_by_transformers(
    model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None
):
    """model.generate throughout; its global random state is seeded by a number drawn from the generator."""
    how = {"do_sample": False}
    if temperature > 0:
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        if generator is not None:
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
    sequences = model.generate(
        input_ids,
        attention_mask=attention_mask,
        max_new_tokens=max_new_tokens,
        eos_token_id=end_id,
        pad_token_id=pad_id,
        **how,
    )
    return sequences[:, input_ids.shape[1] :]


@alternative("generate_answers")
@torch.no_grad()
def ended_rows_left_out(
    model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None
):
    """Rows leave the batch when they end; Gumbel noise instead of multinomial; 32-bit integers come back."""
    new = torch.full((len(input_ids), max_new_tokens), pad_id, dtype=torch.int32)
    rows, ids, mask, used = torch.arange(len(input_ids)), input_ids, attention_mask, 0
    for t in range(max_new_tokens):
        logits = model(input_ids=ids, attention_mask=mask).logits[:, -1].double()
        if temperature > 0:
            noise = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
            logits = logits / temperature - (-noise.log()).log()
        chosen = logits.max(dim=-1).indices
        new[rows, t], used = chosen.int(), t + 1
        alive = chosen != end_id
        rows, ids, mask = rows[alive], ids[alive], mask[alive]
        ids = torch.cat([ids, chosen[alive][:, None]], dim=1)
        mask = torch.cat([mask, torch.ones(len(mask), 1, dtype=mask.dtype)], dim=1)
        if not len(rows):
            break
    return new[:, :used]


@alternative("generate_answers")
def one_row_at_a_time(
    model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None
):
    """Padding stripped, each row alone, equal rows read once; greedy as a very low temperature; lists come back."""
    answers, read = [], {}
    for row, mask in zip(input_ids, attention_mask.bool()):
        ids, said = row[mask].tolist(), []
        while len(said) < max_new_tokens and said[-1:] != [end_id]:
            key = tuple(ids + said)
            if key not in read:
                with torch.no_grad():
                    read[key] = model(input_ids=torch.tensor([key])).logits[0, -1]
            probs = (read[key].double() / (temperature or 1e-6)).softmax(-1)
            u = torch.rand((), generator=generator, dtype=torch.float64)
            said.append(min(int((probs.cumsum(-1) < u).sum()), len(probs) - 1))
        answers.append(said)
    longest = max(map(len, answers))
    return [said + [pad_id] * (longest - len(said)) for said in answers]


@alternative("generate_answers")
@torch.no_grad()
def padding_hidden_after_the_end(
    model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None
):
    """What stands behind an end is masked (it is read by nobody); a boolean mask; the model in training mode, as it
    has no dropout."""
    model.train()
    ids, mask = input_ids.clone(), attention_mask.bool()
    finished = torch.zeros(input_ids.size(0), 1, dtype=torch.bool)
    for _ in range(max_new_tokens):
        logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits[:, [-1]]
        token = _chosen(logits[:, 0], temperature, generator).unsqueeze(-1)
        token[finished] = pad_id
        ids, mask = torch.hstack([ids, token]), torch.hstack([mask, ~finished])
        finished = finished | (token == end_id)
        if bool(finished.all()):
            break
    model.eval()
    return ids[:, input_ids.size(1) :]


@alternative("generate_answers")
@torch.no_grad()
def by_a_race_of_clocks(
    model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None
):
    """Drawn as the first of exponential clocks, in float64; a while loop with the cache; ended rows by a running any."""
    ids, mask, cache = input_ids, attention_mask, None
    new = input_ids.new_zeros(len(input_ids), 0)
    while new.shape[1] < max_new_tokens:
        output = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        cache, scores = output.past_key_values, output.logits[:, -1].double()
        if temperature > 0:
            clocks = torch.empty_like(scores).exponential_(generator=generator)
            scores = scores / temperature - clocks.log()
        ids = scores.argmax(-1, keepdim=True)
        ids[(new == end_id).any(1)] = pad_id
        new, mask = torch.cat([new, ids], dim=1), torch.cat([mask, torch.ones_like(ids)], dim=1)
        if (new == end_id).any(1).all():
            break
    return new


# --- Exercise 9: packing


def _rows_of(examples, length):
    rows = [[]]
    for example in examples:
        if len(example[0]) > length:
            raise ValueError("An example is longer than a row: shorten it first.")
        if sum(len(ids) for ids, _ in rows[-1]) + len(example[0]) > length:
            rows.append([])
        rows[-1].append(example)
    return rows


@alternative("pack_examples")
def blocks_on_the_diagonal(examples, length, pad_id):
    """torch.block_diag of a triangle for each example and a single 1 for each position of padding; rows by F.pad."""
    input_ids, labels, position_ids, masks = [], [], [], []
    for row in _rows_of(examples, length):
        lengths = [len(ids) for ids, _ in row]
        rest = length - sum(lengths)
        input_ids.append([token for ids, _ in row for token in ids] + [pad_id] * rest)
        labels.append([label for _, given in row for label in (-100, *given[1:])] + [-100] * rest)
        position_ids.append([i for n in lengths for i in range(n)] + [0] * rest)
        blocks = [torch.ones(n, n).tril() for n in (*lengths, *[1] * rest)]
        masks.append(torch.block_diag(*blocks).bool())
    return {
        "input_ids": torch.tensor(input_ids),
        "labels": torch.tensor(labels),
        "position_ids": torch.tensor(position_ids),
        "attention_mask": torch.stack(masks).unsqueeze(1),
    }


@alternative("pack_examples")
def examples_counted_by_position(examples, length, pad_id):
    """Which example a position belongs to, by counting the positions that are 0: padding is 0 everywhere, so each
    position of it is an example of its own. 32-bit integers."""
    rows = _rows_of(examples, length)
    batch = {
        name: torch.zeros(len(rows), length, dtype=torch.int32) for name in ("input_ids", "labels", "position_ids")
    }
    batch["input_ids"] += pad_id
    batch["labels"] -= 100
    for r, row in enumerate(rows):
        c = 0
        for ids, labels in row:
            for i, (token, label) in enumerate(zip(ids, labels)):
                batch["input_ids"][r, c], batch["position_ids"][r, c] = token, i
                if i:
                    batch["labels"][r, c] = label
                c += 1
    number = (batch["position_ids"] == 0).cumsum(1)
    q, k = torch.arange(length)[:, None], torch.arange(length)[None, :]
    return batch | {"attention_mask": ((number[:, :, None] == number[:, None, :]) & (k <= q))[:, None]}


@alternative("pack_examples")
def mask_entry_by_entry(examples, length, pad_id):
    """NumPy, and four loops for the mask; refuses before it packs; keeps the examples' numbers as well."""
    longest = max(len(ids) for ids, _ in examples)
    if longest > length:
        raise ValueError(f"{longest} > {length}")
    rows = _rows_of(examples, length)
    ids, labels = np.full((len(rows), length), pad_id), np.full((len(rows), length), -100)
    positions, number = np.zeros((len(rows), length), dtype=int), np.full((len(rows), length), -1)
    mask = np.zeros((len(rows), 1, length, length), dtype=bool)
    for r, row in enumerate(rows):
        ends = np.cumsum([len(example[0]) for example in row])
        for e, (end, (tokens, targets)) in enumerate(zip(ends, row)):
            begin = end - len(tokens)
            ids[r, begin:end], labels[r, begin:end] = tokens, targets
            labels[r, begin] = -100
            positions[r, begin:end], number[r, begin:end] = range(len(tokens)), e
        for q in range(length):
            for k in range(q + 1):
                mask[r, 0, q, k] = q == k or number[r, q] == number[r, k] >= 0
    arrays = {"input_ids": ids, "labels": labels, "position_ids": positions, "attention_mask": mask, "number": number}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@alternative("pack_examples")
def square_by_square(examples, length, pad_id):
    """A mask that begins as the identity, into which a triangle is written for each example."""
    rows = _rows_of(examples, length)
    n = len(rows)
    input_ids, labels = torch.full((n, length), pad_id), torch.full((n, length), -100)
    position_ids = torch.zeros(n, length, dtype=torch.long)
    mask = torch.eye(length, dtype=torch.bool).repeat(n, 1, 1, 1)
    for r, row in enumerate(rows):
        begin = 0
        for ids, targets in row:
            end = begin + len(ids)
            input_ids[r, begin:end] = torch.tensor(ids)
            labels[r, begin + 1 : end] = torch.tensor(targets[1:], dtype=torch.long)
            position_ids[r, begin:end] = torch.arange(end - begin)
            mask[r, 0, begin:end, begin:end] = torch.ones(end - begin, end - begin).tril().bool()
            begin = end
    return {"input_ids": input_ids, "labels": labels, "position_ids": position_ids, "attention_mask": mask}


@alternative("pack_examples")
def running_row(examples, length, pad_id):
    """A row that is filled and closed in one loop; examples numbered through the whole batch, padding by its place."""
    closed, row = [], []  # a row: (id, label, position, number) for each place
    for number, (ids, labels) in enumerate(examples, start=1):
        if len(ids) > length:
            raise ValueError(f"Example {number - 1} has {len(ids)} tokens, {len(ids) - length} more than a row.")
        if row and len(row) + len(ids) > length:
            closed.append(row)
            row = []
        row = row + [(token, label if i else -100, i, number) for i, (token, label) in enumerate(zip(ids, labels))]
    closed.append(row)
    filled = [row + [(pad_id, -100, 0, -place) for place in range(len(row), length)] for row in closed]
    table = torch.tensor(filled)  # (rows, length, 4)
    number = table[..., 3]
    mask = torch.tril(number.unsqueeze(-1) == number.unsqueeze(-2))
    names = ("input_ids", "labels", "position_ids")
    return dict(zip(names, table.unbind(-1))) | {"attention_mask": mask.unsqueeze(1)}


@alternative("pack_examples")
def numbered_by_a_running_sum(examples, length, pad_id):
    """Flat lists for all rows, cut at the end; examples numbered by a running sum of their beginnings, padding too."""
    flat = {"input_ids": [], "labels": [], "position_ids": []}

    def fill():
        missing = -len(flat["input_ids"]) % length
        for name, value in (("input_ids", pad_id), ("labels", -100), ("position_ids", 0)):
            flat[name] += [value] * missing

    for ids, labels in examples:
        if len(ids) > length:
            raise ValueError(f"{len(ids)} tokens are too many for a row of {length}")
        if len(flat["input_ids"]) % length + len(ids) > length:
            fill()
        flat["input_ids"] += ids
        flat["labels"] += [-100, *labels[1:]]
        flat["position_ids"] += range(len(ids))
    fill()
    batch = {name: torch.tensor(values).view(-1, length) for name, values in flat.items()}
    number = (batch["position_ids"] == 0).long().cumsum(-1)
    mask = (number.unsqueeze(2) == number.unsqueeze(1)).logical_and(torch.ones(length, length).tril().bool())
    return {**batch, "attention_mask": mask.unsqueeze(1)}
