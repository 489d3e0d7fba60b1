"""Wrong answers to chapter 02's generation. Each row of a table is one change in the right answer above
it; its second entry is the hint the student reads: what was done, why it is wrong, where to look."""

import torch

from autograder.judging.catalogue import changes

# --- Exercise 8: answers that end


def _logits(model, ids, mask):
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).logits


def generated(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None):
    ids, mask = input_ids, attention_mask
    ended = torch.zeros(len(ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        logits = _logits(model, ids, mask)[:, -1]
        if temperature == 0:
            chosen = logits.argmax(-1)
        else:
            chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]
        chosen = chosen.masked_fill(ended, pad_id)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        ended = ended | (chosen == end_id)
        if ended.all():
            break
    return ids[:, input_ids.shape[1] :]


changes("generate_answers", generated, [
    ("prompt_returned_too",
     "You returned the prompt with its answer. Only the new tokens are asked for: cut the first input_ids.shape[1] "
     "columns off.",
     "ids[:, input_ids.shape[1] :]", "ids"),
    ("end_token_dropped",
     "You replaced the end token by padding, so nobody can tell an answer that ended from one that was cut off. The "
     "end token belongs to its row; pad_id comes after it.",
     "return ids[:, input_ids.shape[1] :]",
     "new = ids[:, input_ids.shape[1] :]\n    return new.masked_fill(new == end_id, pad_id)"),
    ("last_end_token_cut_off",
     "You stop before the end token of the last row is kept. Append what was chosen first, then ask whether every "
     "row has ended.",
     "ids[:, input_ids.shape[1] :]", "ids[:, input_ids.shape[1] : ids.shape[1] - int(ended.all())]"),
    ("never_stops_early",
     "You generate max_new_tokens columns even after every row has ended. Stop the loop then: the rest would be "
     "padding that costs a forward pass each.",
     "if ended.all():", "if False:"),
    ("end_token_ignored",
     "Nothing ends your rows: after its end token each goes on to max_new_tokens. Note which rows have ended, fill "
     "them with pad_id from then on, and stop when all have.",
     "        ended = ended | (chosen == end_id)\n", ""),
    ("goes_on_after_the_end",
     "A row that has ended goes on while the others are not done. From its end token on it holds pad_id: replace "
     "what was chosen in the rows that have ended.",
     "        chosen = chosen.masked_fill(ended, pad_id)\n", ""),
    ("stops_with_the_first_row",
     "You stop as soon as one row has ended, so the others are cut off. Wait for all: `.all()`, not `.any()`.",
     "ended.all()", "ended.any()"),
    ("ends_only_together",
     "You ask whether all rows choose the end token *in the same step*. Rows end at different times: remember which "
     "have ended (`ended |= chosen == end_id`).",
     "        chosen = chosen.masked_fill(ended, pad_id)\n", "",
     "ended = ended | (chosen == end_id)", "ended = chosen == end_id"),
    ("ended_by_padding",
     "A row of yours also ends when it says pad_id. That may be an ordinary token: only end_id ends a row.",
     "(chosen == end_id)", "(chosen == end_id) | (chosen == pad_id)"),
    ("ended_in_the_prompt",
     "You look for the end token in the whole row, prompt and padding included. Only an end token among the *new* "
     "tokens ends a row.",
     "ended = torch.zeros(len(ids), dtype=torch.bool)", "ended = (ids == end_id).any(1)"),
    ("filled_with_the_end_token",
     "You fill the rows that have ended with the end token. One end token belongs to a row; what comes after it is "
     "pad_id.",
     "masked_fill(ended, pad_id)", "masked_fill(ended, end_id)"),
    ("filled_with_minus_100",
     "You fill the rows that have ended with -100. That is a label, no id: a tokenizer cannot decode it. Fill with "
     "pad_id.",
     "return ids[:, input_ids.shape[1] :]",
     "new = ids[:, input_ids.shape[1] :]\n    is_end = (new == end_id).long()\n    return new.masked_fill(is_end.cumsum(1) > is_end, -100)"),
    ("one_token_too_many",
     "You allow one token more than max_new_tokens. Check the bounds of your loop.",
     "range(max_new_tokens)", "range(max_new_tokens + 1)"),
    ("one_token_too_few",
     "You stop one token before max_new_tokens. Check the bounds of your loop.",
     "range(max_new_tokens)", "range(max_new_tokens - 1)"),
    ("prompt_counted_in_the_length",
     "You count the prompt in max_new_tokens (transformers' `max_length` does). It bounds the new tokens alone.",
     "range(max_new_tokens)", "range(max(1, max_new_tokens - input_ids.shape[1]))"),
    ("mask_not_passed",
     "You do not pass the attention mask, so short prompts are read together with their padding. Pass it, with ones "
     "appended for the new tokens.",
     "ids, mask = input_ids, attention_mask", "ids, mask = input_ids, torch.ones_like(attention_mask)"),
    ("mask_from_the_padding_id",
     "You made the attention mask from the ids. A token with the id of padding may be a real one (many models pad "
     "with their end token): use the mask that you are given.",
     "ids, mask = input_ids, attention_mask", "ids, mask = input_ids, (input_ids != pad_id).long()"),
    ("new_tokens_masked",
     "Your attention mask hides the new tokens (one that is too short does so too), so the model does not read what "
     "it has said itself. Append a column of ones to the mask for each new token.",
     "ones_like(mask[:, :1])", "zeros_like(mask[:, :1])"),
    ("new_tokens_not_fed_back",
     "Every new token is chosen from the prompt alone: what was chosen is never fed back to the model. Append it to "
     "the ids (or pass it on with the cache).",
     "_logits(model, ids, mask)", "_logits(model, input_ids, attention_mask)"),
    ("only_the_new_token_fed",
     "After the first token you feed the model the newest token alone, and no cache: it has forgotten the prompt. "
     "Feed all tokens so far, or pass `past_key_values` on.",
     "_logits(model, ids, mask)",
     "(_logits(model, ids[:, -1:], mask[:, -1:]) if ids is not input_ids else _logits(model, ids, mask))"),
    ("read_as_if_padded_on_the_right",
     'You read the logits at the position "number of real tokens minus one", which is the last token of a row padded '
     "on the *right*. These rows are padded on the left: the last position is always real.",
     "_logits(model, ids, mask)[:, -1]", "_logits(model, ids, mask)[torch.arange(len(ids)), mask.sum(1) - 1]"),
    ("first_position_read",
     "You read the logits of the first position. What comes next is predicted at the *last* one: `logits[:, -1]`.",
     "_logits(model, ids, mask)[:, -1]", "_logits(model, ids, mask)[:, 0]"),
    ("temperature_ignored",
     "Your temperature changes nothing. It divides the *logits*, before the softmax: probabilities divided by a "
     "number are drawn from just as before.",
     "logits / temperature", "logits"),
    ("temperature_multiplied",
     "You multiplied the logits by the temperature. Divide: a low temperature makes the distribution sharper.",
     "logits / temperature", "logits * temperature"),
    ("always_the_most_likely",
     "You take the most likely token at every temperature. Above 0, tokens are drawn: torch.multinomial of the "
     "softmax.",
     "if temperature == 0:", "if True:"),
    ("drawn_uniformly",
     "Above temperature 0 every token is equally likely in your draw, whatever the model says. Draw from "
     "softmax(logits / temperature).",
     "logits / temperature", "0 * logits"),
    ("never_greedy",
     "At temperature 0 you draw from the softmax all the same. Temperature 0 stands for the most likely token: "
     "argmax.",
     "logits / temperature", "logits / (temperature or 1.0)",
     "if temperature == 0:", "if False:"),
    ("one_draw_for_all_rows",
     "All your rows continue with the same token: it was drawn once, from the first row. Draw for each row, from its "
     "own distribution.",
     "(logits / temperature)", "(logits[:1] / temperature)",
     "generator=generator)[:, 0]", "generator=generator)[:, 0].expand(len(ids))"),
    ("drawn_without_the_generator",
     "You drew from PyTorch's global generator, so nobody can repeat your answers. Pass `generator=generator` to "
     "torch.multinomial.",
     ", generator=generator", ""),
    ("seeded_inside",
     "You seed a generator inside the function, so every call gives the same answers. Use the one you are given, and "
     "leave its seed alone.",
     "ids, mask = input_ids, attention_mask",
     "ids, mask = input_ids, attention_mask\n    generator = torch.Generator().manual_seed(0)"),
    ("ended_only_for_a_step",
     "You remember only which rows ended in the *last* step, so a row that has ended goes on after one pad_id. Keep "
     "what you knew: `ended |= chosen == end_id`.",
     "ended = ended | (chosen == end_id)", "ended = chosen == end_id"),
    ("only_the_new_tokens_fed",
     "After the first token you feed the model the new tokens alone, without the prompt. Feed all tokens so far, or "
     "keep the prompt in the cache.",
     "_logits(model, ids, mask)",
     "_logits(model, *((x[:, input_ids.shape[1] :] if x.shape != input_ids.shape else x) for x in (ids, mask)))"),
    ("small_temperature_for_zero",
     "At temperature 0 you draw at a small temperature. Where two tokens are nearly equally likely, the second is "
     "still drawn now and then: take argmax.",
     "logits / temperature", "logits / (temperature or 0.01)",
     "if temperature == 0:", "if False:"),
    ("greedy_without_a_generator",
     "Without a generator you take the most likely token. Then tokens are drawn, too, from PyTorch's own generator: "
     "only the temperature decides whether to draw.",
     "if temperature == 0:", "if temperature == 0 or generator is None:"),
    ("generator_rewound",
     "You set the generator back to its seed, so two calls with the same generator give the same answers. Draw from "
     "it and leave its seed alone.",
     "ids, mask = input_ids, attention_mask",
     "ids, mask = input_ids, attention_mask\n    generator = generator and generator.manual_seed(generator.initial_seed())"),
])


def cached(model, input_ids, attention_mask, max_new_tokens, end_id, pad_id, temperature=0.0, generator=None):
    ids, mask, cache, new = input_ids, attention_mask, None, []
    ended = torch.zeros(len(ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        with torch.no_grad():
            output = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        cache, logits = output.past_key_values, output.logits[:, -1]
        if temperature == 0:
            chosen = logits.argmax(-1)
        else:
            chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]
        new.append(chosen.masked_fill(ended, pad_id))
        ended = ended | (new[-1] == end_id)
        if ended.all():
            break
        ids = new[-1][:, None]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    return torch.stack(new, dim=1)


changes("generate_answers", cached, [
    ("everything_fed_to_a_cache",
     "You pass the cache on and feed all tokens again, so the model reads the text so far several times over. With "
     "`past_key_values` feed the newest token alone; without it, everything.",
     "ids = new[-1][:, None]", "ids = torch.cat([ids, new[-1][:, None]], dim=1)"),
    ("mask_of_the_newest_token_alone",
     "You pass the cache on with a mask for the newest token alone. The mask covers all tokens, those in the cache "
     "as well: the prompt's mask, lengthened by a column of ones for each new token.",
     "mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)", "mask = torch.ones_like(ids)"),
])
