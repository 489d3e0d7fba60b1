"""Correct answers to chapter 02 in other shapes: batches. Every check must accept them."""

import itertools

import numpy as np
import torch

from autograder.judging.catalogue import alternative

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
