"""Wrong answers to chapter 02's exercises on batches. Each row of a table is one change in the right answer above
it; its second entry is the hint the student reads: what was done, why it is wrong, where to look."""

import torch

from autograder.judging.catalogue import changes, mistake

# --- Exercise 3: too long


def truncated(input_ids, labels, max_length):
    extra = max(0, len(input_ids) - max_length)
    supervised = [i for i, label in enumerate(labels) if label != -100]
    if extra > 0 and supervised and extra > supervised[0] - 1:
        raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")
    return input_ids[extra:], labels[extra:]


changes("truncate_example", truncated, [
    ("end_cut_off",
     "You cut the end off. There stand the answer and its end token, the very tokens that are to be learned: cut "
     "from the front.",
     "return input_ids[extra:], labels[extra:]", "return input_ids[:max_length], labels[:max_length]"),
    ("end_cut_off_silently",
     "You cut everything off behind max_length and ask nothing, as most libraries do by default. The answer is lost "
     "that way, or its end token: cut from the front, and refuse where the answer cannot stay whole.",
     "extra > 0 and supervised and extra > supervised[0] - 1", "False",
     "return input_ids[extra:], labels[extra:]", "return input_ids[:max_length], labels[:max_length]"),
    ("labels_cut_at_the_other_end",
     "You cut the ids from the front and the labels from the back, so that they no longer stand beside each other. "
     "Cut both in the same way.",
     "labels[extra:]", "labels[:max_length]"),
    ("labels_not_cut",
     "You cut the ids but not the labels. They must stay beside each other: the same tokens go from both lists.",
     "labels[extra:]", "labels"),
    ("middle_cut_out",
     "You kept tokens from the beginning and from the end and cut out the middle. What stays must be one unbroken "
     "piece: the last max_length tokens.",
     "return input_ids[extra:], labels[extra:]",
     "half = max_length // 2\n    return input_ids[:half] + input_ids[extra + half :], labels[:half] + labels[extra + half :]"),
    ("first_token_kept",
     "You kept the first token and cut behind it. That may be a good idea for a model with a start token, but here "
     "the example is cut from the front: the last max_length tokens stay.",
     "return input_ids[extra:], labels[extra:]",
     "one = int(extra > 0)\n    return input_ids[:one] + input_ids[extra + one :], labels[:one] + labels[extra + one :]"),
    ("prompt_dropped",
     "You dropped the whole prompt where the example was too long, and only the answer is left: it would be learned "
     "as an answer to nothing, and its first token has no token before it. Drop only as much as is too much.",
     "return input_ids[extra:], labels[extra:]",
     "begin = [*supervised, len(labels)][0] if extra else 0\n    return input_ids[begin:], labels[begin:]"),
    ("prompt_dropped_but_one",
     "You kept a single token of the prompt where the example was too long. That is the least that must stay; keep "
     "as much as max_length allows.",
     "return input_ids[extra:], labels[extra:]",
     "begin = [*supervised, extra + 1][0] - 1 if extra else 0\n    return input_ids[begin:], labels[begin:]"),
    ("prompt_always_dropped",
     "You drop the prompt even from an example that is short enough. Cut only where there are more than max_length "
     "tokens.",
     "return input_ids[extra:], labels[extra:]",
     "begin = max(0, supervised[0] - 1) if supervised else extra\n    return input_ids[begin:], labels[begin:]"),
    ("one_too_many",
     "You cut one token too many: max_length tokens are allowed, and an example of exactly max_length is short "
     "enough.",
     "return input_ids[extra:], labels[extra:]",
     "extra += len(input_ids) >= max_length\n    return input_ids[extra:], labels[extra:]"),
    ("one_too_few",
     "You cut one token too few: max_length + 1 tokens are left. Count what stays once more.",
     "return input_ids[extra:], labels[extra:]",
     "extra = max(0, extra - 1)\n    return input_ids[extra:], labels[extra:]"),
    ("sliced_with_a_negative_number",
     "For an example that is short enough, len - max_length is negative, and a slice that begins at a negative "
     "number counts from the end: most of the example is lost. Cut only what is too much: max(0, …).",
     "max(0, len(input_ids) - max_length)", "len(input_ids) - max_length"),
    ("never_refused",
     "You cut into the answer where it does not fit. The model would learn the end of an answer whose beginning it "
     "never saw: raise a ValueError instead.",
     "extra > 0 and supervised and extra > supervised[0] - 1", "False"),
    ("none_where_impossible",
     "You return None where the example cannot be cut. Whoever calls you notices that only later, or never: raise a "
     "ValueError that says what does not fit.",
     'raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")', "return None"),
    ("nothing_where_impossible",
     "You return two empty lists where the example cannot be cut, so examples vanish without a word. Raise a "
     "ValueError that says what does not fit.",
     'raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")', "return [], []"),
    ("uncut_where_impossible",
     "You return the whole example where it cannot be cut. Then it is longer than max_length, and the model's "
     "context or the memory is exceeded later. Raise a ValueError that says what does not fit.",
     'raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")',
     "return input_ids, labels"),
    ("error_without_words",
     "Your ValueError says nothing. Somebody reads it in the middle of a long run: name the example's length and "
     "max_length in a sentence.",
     'raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")', "raise ValueError"),
    ("error_without_numbers",
     "Your ValueError names no numbers. With the length and max_length in the sentence, whoever reads it knows at "
     "once what to change.",
     'raise ValueError(f"{len(input_ids)} tokens do not fit into max_length = {max_length}.")',
     'raise ValueError("The example is too long.")'),
    ("error_of_another_kind",
     "You refuse with an assertion. Assertions are for what cannot happen, and python -O leaves them out; a value "
     "that does not fit is a ValueError.",
     "ValueError", "AssertionError"),
    ("first_answer_token_left_alone",
     "You cut up to the first supervised token, so nothing stands before it. No position predicts it then, and it is "
     "lost to the loss: one token of the prompt must stay.",
     "supervised[0] - 1", "supervised[0]"),
    ("refused_too_early",
     "You refuse an example that can still be cut. One token before the first supervised one is enough.",
     "extra > supervised[0] - 1", "extra >= supervised[0] - 1"),
    ("refused_where_nothing_is_supervised",
     "You refuse an example without any supervised token. Nothing can be lost there, so it can always be cut: mind "
     "what your search for the first supervised token returns when there is none.",
     "extra > 0 and supervised and extra > supervised[0] - 1", "extra > 0 and extra > [*supervised, 0][0] - 1"),
    ("always_refused",
     "You refuse every example that is too long. Most can be cut: only where a supervised token would be lost, or "
     "the one token before the first of them, is it impossible.",
     "extra > 0 and supervised and extra > supervised[0] - 1", "extra > 0"),
    ("supervised_tokens_only_counted",
     "You compare the *number* of supervised tokens with max_length. Where they stand matters, too: an early answer "
     "is lost when the front is cut, however short it is. Look for the first supervised token.",
     "extra > supervised[0] - 1", "len(supervised) + 1 > max_length"),
    ("last_answer_alone_protected",
     "You keep only the last answer whole. An earlier one is supervised as well: look for the first label that is "
     "not -100.",
     "extra > supervised[0] - 1", "extra > [i for i in supervised if i - 1 not in supervised][-1] - 1"),
    ("id_zero_not_supervised",
     'You take a label of 0 for "not supervised". 0 is an ordinary id: what is left out has the label -100, and '
     "nothing else.",
     "label != -100", "label > 0"),
    ("tail_cut_first",
     "You cut off what stands behind the last answer before you cut from the front. It may be less useful, but the "
     "example is cut from the front alone.",
     "return input_ids[extra:], labels[extra:]",
     "tail = min(extra, len(labels) - 1 - supervised[-1]) if supervised else 0\n    return input_ids[extra - tail : len(labels) - tail], labels[extra - tail : len(labels) - tail]"),
    ("lists_cut_in_place",
     "You changed the lists that you were given (del, .pop or a slice assignment does). Whoever called you may need "
     "them whole: a slice makes a new list.",
     "return input_ids[extra:], labels[extra:]",
     "del input_ids[:extra], labels[:extra]\n    return input_ids, labels"),
    ("refused_though_it_fits",
     "You refuse an example that fits, because its first token is supervised. Nothing is cut there, so nothing is "
     "lost: ask first whether the example is too long.",
     "extra > 0 and supervised and extra > supervised[0] - 1", "supervised and extra > supervised[0] - 1"),
    ("error_names_another_length",
     "Your error does not name the example's length. Both numbers are asked for: how long it is, and max_length.",
     "{len(input_ids)} tokens do not fit into", "The answer needs {len(labels) - supervised[0] + 1} tokens;"),
])


# --- Exercise 4: a batch


def _padded(row, fill, length, side):
    row, padding = list(row[:length]), [fill] * (length - len(row))
    return padding + row if side == "left" else row + padding


def collated(examples, pad_id, side="right"):
    length = max(len(ids) for ids, _ in examples)
    input_ids, mask, labels = [], [], []
    for ids, targets in examples:
        input_ids.append(_padded(ids, pad_id, length, side))
        mask.append(_padded([1] * len(ids), 0, length, side))
        labels.append(_padded(targets, -100, length, side))
    return {"input_ids": torch.tensor(input_ids), "attention_mask": torch.tensor(mask), "labels": torch.tensor(labels)}


changes("collate", collated, [
    ("padded_to_a_fixed_length",
     "You pad to a fixed length. Most of the batch is padding then, which costs time and memory: the longest example "
     "of the batch is long enough.",
     "length = max(len(ids) for ids, _ in examples)", "length = 64"),
    ("padded_to_a_multiple_of_eight",
     "You pad to a multiple of 8. That can be good for a GPU, but here the batch is as long as its longest example.",
     "length = max(len(ids) for ids, _ in examples)", "length = -(-max(len(ids) for ids, _ in examples) // 8) * 8"),
    ("one_place_too_long",
     "Your batch is one place longer than its longest example. Nothing needs to follow it.",
     "length = max(len(ids) for ids, _ in examples)", "length = max(len(ids) for ids, _ in examples) + 1"),
    ("cut_to_the_shortest",
     "You cut all examples to the length of the shortest, and lose the rest of them. Pad the short ones instead.",
     "max(len", "min(len"),
    ("side_ignored",
     "You always pad on the right. A model that generates needs padding on the left: otherwise it goes on from "
     "padding.",
     "length = max(len(ids) for ids, _ in examples)",
     'side = "right"\n    length = max(len(ids) for ids, _ in examples)'),
    ("always_on_the_left",
     'You always pad on the left. `side` says where, and it is "right" unless something else is asked for.',
     "length = max(len(ids) for ids, _ in examples)",
     'side = "left"\n    length = max(len(ids) for ids, _ in examples)'),
    ("sides_swapped",
     'You swapped the sides: "right" means that padding stands behind the tokens.',
     "length = max(len(ids) for ids, _ in examples)",
     'side = "left" if side == "right" else "right"\n    length = max(len(ids) for ids, _ in examples)'),
    ("labels_padded_on_the_right_always",
     "Your labels are padded on the right even when the ids are padded on the left, so each label stands beside "
     "another token than its own. Pad all three in the same way.",
     "-100, length, side", '-100, length, "right"'),
    ("mask_padded_on_the_right_always",
     "Your attention mask is padded on the right even when the ids are padded on the left: it hides real tokens and "
     "shows padding. Pad all three in the same way.",
     "len(ids), 0, length, side", 'len(ids), 0, length, "right"'),
    ("padding_labelled_with_its_id",
     "The label of padding is pad_id in your batch, so the model is trained to write padding. It is -100, which the "
     "loss leaves out.",
     "targets, -100", "targets, pad_id"),
    ("padding_labelled_with_zero",
     "The label of padding is 0 in your batch. 0 is an ordinary token: the model would be trained to write it. -100 "
     "is what the loss leaves out.",
     "targets, -100", "targets, 0"),
    ("mask_by_pad_id",
     "You made the attention mask by comparing with pad_id. A real token may have that id (many models pad with "
     "their end token), and it is hidden then: the lengths say what is padding.",
     "torch.tensor(mask)", "(torch.tensor(input_ids) != pad_id).long()"),
    ("labels_by_pad_id",
     "You put -100 wherever the id is pad_id. Many models pad with their end token: then it is never learned, and "
     "the model does not stop. The lengths say what is padding.",
     "torch.tensor(labels)", "torch.tensor(labels).masked_fill(torch.tensor(input_ids) == pad_id, -100)"),
    ("mask_and_labels_by_pad_id",
     "You recognise padding by its id, for the mask and for the labels. A real token may have that id (many models "
     "pad with their end token): the lengths say what is padding.",
     "torch.tensor(mask)", "(torch.tensor(input_ids) != pad_id).long()",
     "torch.tensor(labels)", "torch.tensor(labels).masked_fill(torch.tensor(input_ids) == pad_id, -100)"),
    ("everything_attended",
     "Your attention mask is 1 everywhere, padding included. Real tokens would look at padding (on the left side at "
     "least), and that changes what the model says: 0 on padding.",
     "[1] * len(ids), 0", "[1] * len(ids), 1"),
    ("mask_upside_down",
     "Your attention mask is upside down: 1 means \"look at it\", 0 is padding. (PyTorch's own key_padding_mask has it "
     "the other way round; transformers has not.)",
     "torch.tensor(mask)", "1 - torch.tensor(mask)"),
    ("mask_of_the_labels",
     "Your attention mask is 1 only where there is a label. The model must see the prompt to answer it: the mask is "
     "about padding, the labels are about what is learned.",
     "torch.tensor(mask)", "(torch.tensor(labels) != -100).long()"),
    ("mask_as_floats",
     "Your attention mask holds floating-point numbers. It should be made of integers, as the ids are.",
     "torch.tensor(mask)", "torch.tensor(mask).float()"),
    ("labels_from_the_ids",
     "You made the labels from the ids and did not use the labels you were given, so the prompts are supervised "
     "again.",
     "_padded(targets, -100", "_padded(ids, -100"),
    ("ids_padded_with_zero",
     "You pad the ids with 0. The padding token is an argument: pad_id.",
     "ids, pad_id", "ids, 0"),
    ("ids_padded_with_ignore",
     "You pad the ids with -100. That is a label; as an id the model cannot embed it. The ids are padded with "
     "pad_id.",
     "ids, pad_id", "ids, -100"),
    ("examples_sorted",
     "Your batch is sorted by length. Row i should be example i: whoever called you may know them by their place.",
     "targets in examples", "targets in sorted(examples, key=lambda example: -len(example[0]))"),
    ("example_lists_padded_in_place",
     "You changed the examples themselves (padded their lists with +=, .append, .extend or .insert, or sorted them), "
     "so they stay so for the next epoch. Make new lists.",
     "labels.append(_padded(targets, -100, length, side))",
     "labels.append(_padded(targets, -100, length, side))\n        ids[:], targets[:] = input_ids[-1], labels[-1]"),
    ("lists_not_stacked",
     "A batch of lists came back. The model takes tensors: one for each of the three names.",
     "torch.tensor(input_ids)", "input_ids",
     "torch.tensor(mask)", "mask",
     "torch.tensor(labels)", "labels"),
    ("mask_left_out",
     "Your batch has no attention_mask. Without it the model takes padding for text.",
     '"attention_mask": torch.tensor(mask), ', ""),
    ("mask_as_booleans",
     "Your attention mask is boolean. Models take that, too, but the mask asked for is int64, 1 and 0: what counts "
     "tokens or joins masks relies on it.",
     "torch.tensor(mask)", "torch.tensor(mask).bool()"),
    ("tensors_of_32_bits",
     "Your tensors are int32. F.cross_entropy takes labels of int64 alone: leave the dtype to torch.tensor, which "
     "makes int64 of Python's integers.",
     "torch.tensor(input_ids)", "torch.tensor(input_ids).int()",
     "torch.tensor(mask)", "torch.tensor(mask).int()",
     "torch.tensor(labels)", "torch.tensor(labels).int()"),
    ("mask_by_zero",
     "You made the attention mask by comparing the ids with 0. Padding has the id pad_id, and 0 is an ordinary "
     "token: the lengths say what is padding.",
     "torch.tensor(mask)", "(torch.tensor(input_ids) != 0).long()"),
])


# --- Exercise 9: packing


def _side_by_side(rows, length, pad_id):
    """input_ids, labels and position_ids of examples already in rows; and which example each place belongs to, -1 on
    padding."""
    shape = (len(rows), length)
    ids, labels = torch.full(shape, pad_id), torch.full(shape, -100)
    positions, which = torch.zeros(shape, dtype=torch.long), torch.full(shape, -1)
    for r, row in enumerate(rows):
        begin = 0
        for e, (tokens, targets) in enumerate(row):
            place = slice(begin, begin + len(tokens))
            ids[r, place], labels[r, place] = torch.tensor(tokens), torch.tensor(targets)
            positions[r, place], which[r, place] = torch.arange(len(tokens)), e
            begin += len(tokens)
    return {"input_ids": ids, "labels": labels, "position_ids": positions}, which


def packed(examples, length, pad_id):
    rows, room = [], []
    for ids, labels in examples:
        if len(ids) > length:
            raise ValueError(f"An example has {len(ids)} tokens, a row only {length}.")
        if not rows or len(ids) > room[-1]:
            rows.append([])
            room.append(length)
        r = len(rows) - 1
        rows[r].append((ids, [-100, *labels[1:]]))
        room[r] -= len(ids)
    batch, which = _side_by_side(rows, length, pad_id)
    real, itself = which >= 0, torch.eye(length, dtype=torch.bool)
    same = which[:, :, None] == which[:, None, :]
    causal = torch.ones_like(same).tril()
    mask = causal & (same & real[:, :, None] | itself)
    return batch | {"attention_mask": mask[:, None]}


changes("pack_examples", packed, [
    ("plain_causal_mask",
     "Your mask is the ordinary causal one, so an example looks at those before it in its row, which have nothing to "
     "do with it. Position q may look at k only in the same example.",
     "causal & (same & real[:, :, None] | itself)", "causal"),
    ("causal_mask_of_real_tokens",
     "Your mask is causal and leaves out padding, but an example still looks at those before it in its row. Position "
     "q may look at k only in the same example.",
     "causal & (same & real[:, :, None] | itself)", "causal & (real[:, None, :] | itself)"),
    ("mask_not_causal",
     "In your mask a position may look at all of its example, at what comes after it too: then the model reads the "
     "token it should predict. k must not be after q.",
     "causal & (same & real[:, :, None] | itself)", "same & real[:, :, None] | itself"),
    ("mask_looks_ahead",
     "Your mask is turned round: position q looks at those after it instead of those before it. The third axis is "
     "who looks (q), the fourth who is looked at (k).",
     "mask[:, None]}", "mask.transpose(1, 2)[:, None]}"),
    ("not_at_itself",
     'In your mask no position may look at itself (it is True only where k comes *before* q). "Not after" includes '
     "the position itself; otherwise the first token of an example looks at nothing, and attention over nothing is "
     "NaN.",
     "mask[:, None]}", "(mask & ~itself)[:, None]}"),
    ("mask_upside_down_in_rows",
     "Your mask is upside down: True means \"may look\" (as in PyTorch's scaled_dot_product_attention), not \"is "
     'hidden".',
     "mask[:, None]}", "~mask[:, None]}"),
    ("mask_without_heads",
     "Your mask has the shape (rows, length, length). The model needs an axis for the heads as well, of length 1, so "
     "that one mask serves all of them: (rows, 1, length, length).",
     "mask[:, None]}", "mask}"),
    ("ordinary_attention_mask",
     "Your mask has the shape (rows, length), 1 on tokens and 0 on padding. It cannot say where one example ends and "
     "the next begins: here each pair (q, k) of positions has an entry of its own.",
     "mask[:, None]}", "real}"),
    ("mask_of_scores",
     "Your mask holds numbers to be added to the scores, 0 and -inf. Attention takes that as well, but here a bool "
     "mask is asked for: True where q may look at k.",
     "mask[:, None]}", "torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)[:, None]}"),
    ("padding_looks_at_nothing",
     "In your mask a position of padding looks at nothing at all. A softmax over nothing is NaN, and one NaN spoils "
     "the whole batch's loss or gradient: let it look at itself.",
     "mask[:, None]}", "(mask & real[:, :, None])[:, None]}"),
    ("padding_looks_at_everything",
     "In your mask padding looks at everything before it. It does no harm to the loss, but it is not what is asked "
     "for: a position of padding looks at itself alone.",
     "mask[:, None]}", "(mask | causal & ~real[:, :, None])[:, None]}"),
    ("padding_as_an_example",
     "You treat a row's padding as one more example, so padding looks at the padding before it. Each position of "
     "padding looks at itself alone: give each a number of its own.",
     "causal & (same & real[:, :, None] | itself)", "causal & same"),
    ("padding_in_the_last_example",
     "In your mask padding belongs to the last example of its row. Padding is nobody's: a position of it looks at "
     "itself alone.",
     "same = which", "which = torch.where(real, which, which.amax(1, keepdim=True))\n    same = which",
     "causal & (same & real[:, :, None] | itself)", "causal & same"),
    ("one_mask_for_all_rows",
     "Every row has the mask of the first one in your batch. The examples of each row have lengths of their own: "
     "make a mask for each row.",
     "mask[:, None]}", "mask[:1].expand_as(mask)[:, None]}"),
    ("positions_not_restarted",
     "Your positions run on through the row. Each example should begin at 0, as if it were alone.",
     "mask[:, None]}", 'mask[:, None], "position_ids": torch.arange(length).expand_as(which).masked_fill(~real, 0)}'),
    ("positions_not_restarted_on_padding",
     "Your positions count through the whole row, padding and all. Each example begins at 0, and padding is 0.",
     "mask[:, None]}", 'mask[:, None], "position_ids": torch.arange(length).repeat(len(which), 1)}'),
    ("positions_from_one",
     "Your positions begin at 1. A model counts from 0, as it does when an example is alone.",
     "mask[:, None]}", 'mask[:, None], "position_ids": (batch["position_ids"] + 1).masked_fill(~real, 0)}'),
    ("positions_on_padding",
     "Your positions go on counting on padding. There they are 0.",
     "mask[:, None]}",
     'mask[:, None], "position_ids": torch.where(real, batch["position_ids"], (~real).long().cumsum(1) - 1)}'),
    ("positions_continued_on_padding",
     "On padding, your positions go on from the row's last example. Padding belongs to no example: there they are 0.",
     "causal = ", 'last = batch["position_ids"].gather(1, real.sum(1, keepdim=True) - 1)\n    causal = ',
     "mask[:, None]}",
     'mask[:, None], "position_ids": torch.where(real, batch["position_ids"], last + (~real).long().cumsum(1))}'),
    ("first_labels_kept",
     "You kept the label of each example's first token. The loss shifts by one, so that token would be predicted "
     "from the last token of the example before, which has nothing to do with it: -100.",
     "[-100, *labels[1:]]", "labels"),
    ("first_label_of_the_row_kept",
     "You masked the first label of every example except the first one of a row. No position stands before that one "
     "either; the exercise asks for -100 at the first token of every example.",
     "[-100, *labels[1:]]", "labels if room[r] == length else [-100, *labels[1:]]"),
    ("only_the_rows_first_label_masked",
     "You put -100 at the first place of each row, but not where the later examples begin. There, too, the token "
     "would be predicted from an example it does not belong to.",
     "[-100, *labels[1:]]", "[-100, *labels[1:]] if room[r] == length else labels"),
    ("last_label_masked_instead",
     "You put -100 at the *last* token of each example. That is its end token, which must be learned; the label "
     "without a token before it is the first one.",
     "[-100, *labels[1:]]", "[*labels[:-1], -100]"),
    ("labels_shifted_in_rows",
     "You shifted the labels to the places where they are predicted. The loss does that: a label stands where its "
     "token stands.",
     "[-100, *labels[1:]]", "[*labels[1:], -100]"),
    ("labels_from_the_ids_in_rows",
     "You made the labels from the ids, so the prompts are supervised. Use the labels that come with each example.",
     "*labels[1:]", "*ids[1:]"),
    ("padding_supervised",
     "The labels on padding are pad_id in your batch, so the model learns to write padding. They are -100.",
     "mask[:, None]}", 'mask[:, None], "labels": batch["labels"].masked_fill(~real, pad_id)}'),
    ("padding_supervised_with_zero",
     "The labels on padding are 0 in your batch; 0 is an ordinary token, which the model would learn to write. They "
     "are -100.",
     "mask[:, None]}", 'mask[:, None], "labels": batch["labels"].masked_fill(~real, 0)}'),
    ("filled_up_with_zero",
     "You filled the rows up with 0. The padding token is an argument: pad_id.",
     "rows, length, pad_id", "rows, length, 0"),
    ("filled_up_with_ignore",
     "You filled input_ids up with -100. That is a label; as an id the model cannot embed it. Take pad_id.",
     "rows, length, pad_id", "rows, length, -100"),
    ("one_example_a_row",
     "Every example has a row of its own in your batch: that is padding, not packing. An example goes into the "
     "current row if it fits there.",
     "if not rows or len(ids) > room[-1]:", "if True:"),
    ("full_rows_refused",
     "You begin a new row although the example would just fit. A row of `length` tokens may be full to the last "
     "place.",
     "len(ids) > room[-1]", "len(ids) >= room[-1]"),
    ("earlier_rows_filled",
     "You put an example into an earlier row that still had room. That packs tighter, but the exercise asks for the "
     "simple way: into the current row, or else into a new one, so that the order stays.",
     "room[-1]", "max(room)",
     "r = len(rows) - 1", "r = next(r for r, free in enumerate(room) if len(ids) <= free)"),
    ("tightest_row_filled",
     "You put each example into the row where it leaves the least room (best fit, as libraries do it). It packs "
     "tighter, but the exercise asks for the simple way: the current row, or else a new one.",
     "room[-1]", "max(room)",
     "r = len(rows) - 1", "r = min((r for r, free in enumerate(room) if len(ids) <= free), key=room.__getitem__)"),
    ("longest_first",
     "You sorted the examples by length. The exercise asks for their own order: each goes into the current row, or "
     "else begins a new one.",
     "in examples:", "in sorted(examples, key=lambda example: -len(example[0])):"),
    ("last_row_lost",
     "The last row is missing: you keep a row when the next one begins, and nothing begins after the last. Keep it "
     "when the loop is over.",
     "batch, which = _side", "rows.pop()\n    batch, which = _side"),
    ("empty_row_first",
     "Your first row is empty: a new row is begun before the first example, and then once more. Look at how the loop "
     "starts.",
     "batch, which = _side", "rows.insert(0, [])\n    batch, which = _side"),
    ("too_long_cut_off",
     "You cut off an example that is longer than a row, without a word, and with it the end of its answer. Raise a "
     "ValueError: shortening is the business of truncate_example, which knows what must stay.",
     "in examples:", "in [(ids[:length], labels[:length]) for ids, labels in examples]:"),
    ("too_long_left_out",
     "You leave out an example that is longer than a row, without a word. Raise a ValueError: whoever called you "
     "should know that something does not fit.",
     'raise ValueError(f"An example has {len(ids)} tokens, a row only {length}.")', "continue"),
    ("as_long_as_a_row_refused",
     "You refuse an example that is exactly as long as a row. It fits: only a longer one does not.",
     "len(ids) > length", "len(ids) >= length"),
    ("refused_without_words",
     "Your ValueError says nothing. Write a sentence that tells the reader what does not fit.",
     'raise ValueError(f"An example has {len(ids)} tokens, a row only {length}.")', "raise ValueError"),
    ("first_labels_overwritten",
     "You changed the examples themselves (wrote -100 into their labels, say). The next epoch packs them anew, and "
     "whoever else uses them finds them changed: work on a copy.",
     "rows[r].append((ids, [-100, *labels[1:]]))", "labels[0] = -100\n        rows[r].append((ids, labels))"),
    ("padding_found_by_its_id",
     "In your mask every token with the id pad_id counts as padding and looks at itself alone. Many models pad with "
     "their end token: where an example holds it, it belongs to the example. The lengths say what is padding.",
     "real, itself = which >= 0", 'real, itself = batch["input_ids"] != pad_id'),
    ("end_tokens_not_supervised",
     "You put -100 wherever the id is pad_id. Many models pad with their end token: then it is never learned, and "
     "the model does not stop. The lengths say what is padding.",
     "mask[:, None]}", 'mask[:, None], "labels": batch["labels"].masked_fill(batch["input_ids"] == pad_id, -100)}'),
    ("single_tokens_with_a_label",
     "An example of one token keeps its label in your rows. It is the first of its example, and nothing that belongs "
     "to it stands before it: -100.",
     "[-100, *labels[1:]]", "[-100, *labels[1:]] if len(labels) > 1 else labels"),
    ("mask_of_integers",
     "Your mask holds 0 and 1 as integers. Attention adds a mask of numbers to the scores; a bool mask says who may "
     "look at whom.",
     "mask[:, None]}", "mask.long()[:, None]}"),
])


@mistake("pack_examples")
def cut_into_rows(examples, length, pad_id):
    """You joined all examples and cut the result into rows, so examples are torn in two, as in pre-training. Here an example
    stays whole: if it does not fit, it begins a new row."""
    if any(len(ids) > length for ids, _ in examples):
        raise ValueError("An example is longer than a row.")
    pieces, room = [], length
    for ids, labels in examples:
        while ids:
            pieces.append((ids[:room], labels[:room]))
            ids, labels, room = ids[room:], labels[room:], room - len(pieces[-1][0]) or length
    return packed(pieces, length, pad_id)
