"""Correct answers to chapter 02 in other shapes: generation. Every check must accept them."""

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

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
