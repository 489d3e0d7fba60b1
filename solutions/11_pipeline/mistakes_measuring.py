"""Wrong answers to chapter 11's measurements: a win rate, a KL, forgetting, a choice. Each text is the hint the student reads."""

import statistics

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import changes, mistake

# --- Exercise 1: who wins, and how sure that is


def _win_rate_interval(ours, theirs, resamples, level):
    a, b = ours.unsqueeze(2), theirs.unsqueeze(1)
    won = (a > b).double() + (a == b).double() / 2
    of_prompts = won.flatten(1).mean(1)
    rates = of_prompts[resamples].mean(1)
    low = torch.quantile(rates, (1 - level) / 2)
    high = torch.quantile(rates, 1 - (1 - level) / 2)
    return of_prompts.mean().item(), low.item(), high.item()


changes("win_rate_interval", _win_rate_interval, [
    ("tie_counts_as_lost", "A tie counts as lost. Two equal utilities count one half: else the rate of a policy against itself is below one "
     "half.", " + (a == b).double() / 2", ""),
    ("tie_counts_as_won", "A tie counts as won. Two equal utilities count one half.", "(a == b).double() / 2", "(a == b).double()"),
    ("ties_left_out", "You leave ties out and divide by the rest. They count one half.", "of_prompts = won.flatten(1).mean(1)",
     "of_prompts = ((a > b).flatten(1).sum(1) + 1e-9) / ((a != b).flatten(1).sum(1) + 2e-9).double()"),
    ("sides_exchanged", "This is how often *theirs* wins.", "won = (a > b)", "won = (a < b)"),
    ("first_answers_only", "You compare only the first answers to each prompt. All of ours are compared with all of theirs.",
     "ours.unsqueeze(2), theirs.unsqueeze(1)", "ours[:, :1].unsqueeze(2), theirs[:, :1].unsqueeze(1)"),
    ("means_are_compared", "You compare the *mean* utilities of the answers to a prompt. The rate counts single comparisons: by how much one "
     "wins does not matter.", "ours.unsqueeze(2), theirs.unsqueeze(1)",
     "ours.mean(1)[:, None, None], theirs.mean(1)[:, None, None]"),
    ("best_answers_are_compared", "You compare the best answers to a prompt. All of ours are compared with all of theirs.",
     "ours.unsqueeze(2), theirs.unsqueeze(1)", "ours.amax(1)[:, None, None], theirs.amax(1)[:, None, None]"),
    ("other_prompts_are_compared", "You compare answers to *different* prompts. Each prompt is compared for itself.", "theirs.unsqueeze(1)",
     "theirs.roll(1, 0).unsqueeze(1)"),
    ("level_on_each_side", "You leave 1 - level outside on *each* side. Both sides together are 1 - level, so half of it on each.",
     "torch.quantile(rates, (1 - level) / 2)", "torch.quantile(rates, 1 - level)", "torch.quantile(rates, 1 - (1 - level) / 2)",
     "torch.quantile(rates, level)"),
    ("always_95_percent", "Your interval is one of 95 %, whatever level says.", "rates = of_prompts", "level = 0.95; rates = of_prompts"),
    ("ends_exchanged", "The two ends are exchanged: the lower one comes first.", "low.item(), high.item()", "high.item(), low.item()"),
    ("rate_of_the_resamples", "Your rate is the mean of the resampled rates. It is that of the prompts themselves.",
     "return of_prompts.mean().item()", "return rates.mean().item()"),
    ("spread_of_the_prompts", "Your interval is made of the prompts' own rates: it says how different prompts are, and not how sure their mean "
     "is. Use the rates of the resamples.", "rates = of_prompts[resamples].mean(1)", "rates = of_prompts"),
    ("two_standard_errors", "You take two standard errors on either side. Asked for are quantiles of the resampled rates.",
     "torch.quantile(rates, (1 - level) / 2)", "(rates.mean() - 2 * rates.std())", "torch.quantile(rates, 1 - (1 - level) / 2)",
     "(rates.mean() + 2 * rates.std())"),
    ("smallest_and_largest", "You take the smallest and the largest of the resampled rates. Use the quantiles that belong to the level.",
     "torch.quantile(rates, (1 - level) / 2)", "rates.min()", "torch.quantile(rates, 1 - (1 - level) / 2)", "rates.max()"),
    ("prompts_drawn_once", "A prompt that stands several times in a sample counts once in your rate. It counts as often as it was drawn.",
     "of_prompts[resamples].mean(1)", "torch.stack([of_prompts[row.unique()].mean() for row in resamples])"),
    ("nearest_rate", "You take the nearest of the resampled rates as a quantile. Between two neighbours there is a straight line.",
     "torch.quantile(rates, (1 - level) / 2)", 'torch.quantile(rates, (1 - level) / 2, interpolation="nearest")',
     "torch.quantile(rates, 1 - (1 - level) / 2)", 'torch.quantile(rates, 1 - (1 - level) / 2, interpolation="nearest")'),
])  # fmt: skip


# --- Exercise 2: how far it has gone


def _kl_with_error(logits, ref_logits, tokens, mask):
    p, q = F.log_softmax(logits, dim=-1), F.log_softmax(ref_logits, dim=-1)
    drawn = p.gather(2, tokens.unsqueeze(2))[..., 0] - q.gather(2, tokens.unsqueeze(2))[..., 0]
    exact = (p.exp() * (p - q)).sum(2)
    first = torch.where(mask == 1, drawn, 0.0).sum(1)
    second = torch.where(mask == 1, exact, 0.0).sum(1)
    n = len(mask)
    return {"drawn": (float(first.mean()), float(first.std() / n**0.5)), "by step": (float(second.mean()), float(second.std() / n**0.5))}


_FIRST, _SECOND = "torch.where(mask == 1, drawn, 0.0).sum(1)", "torch.where(mask == 1, exact, 0.0).sum(1)"

changes("kl_with_error", _kl_with_error, [
    ("mean_over_the_tokens", "You divide by the number of tokens of an answer. The KL of a whole answer is the *sum* along it.",
     _FIRST, f"{_FIRST} / mask.sum(1)", _SECOND, f"{_SECOND} / mask.sum(1)"),
    ("divided_by_the_padded_length", "You divide by the length of the padded rows. The KL of a whole answer is a sum.", _FIRST,
     "torch.where(mask == 1, drawn, 0.0).mean(1)", _SECOND, "torch.where(mask == 1, exact, 0.0).mean(1)"),
    ("padding_counted_too", "You count what stands behind an answer's end. It means nothing there: the mask is 0.", _FIRST, "drawn.sum(1)",
     _SECOND, "exact.sum(1)"),
    ("other_way_round", "Both your estimates have the wrong sign: the policy comes first, and then the reference is taken away.",
     "[..., 0] - q.gather", "[..., 0] * -1 + q.gather", "(p - q)", "(q - p)"),
    ("kl_from_the_reference", "By step you compute the KL the other way round, weighed by the *reference's* probabilities. Answers were drawn "
     "from the policy, and the policy weighs.", "(p.exp() * (p - q))", "(q.exp() * (q - p))"),
    ("logits_are_compared", "You subtract logits. Log-probabilities are compared: log_softmax first.",
     "F.log_softmax(logits, dim=-1), F.log_softmax(ref_logits, dim=-1)", "logits, ref_logits", "(p.exp() * (p - q))",
     "(p.softmax(-1) * (p - q))"),
    ("deviation_for_error", "You return the standard deviation of the answers. The standard error of a mean is that, divided by the root of the "
     "number of answers.", "first.std() / n**0.5", "first.std()", "second.std() / n**0.5", "second.std()"),
    ("divided_by_n", "You divide the standard deviation by the number of answers. It is the *root* of that number.", "first.std() / n**0.5",
     "first.std() / n", "second.std() / n**0.5", "second.std() / n"),
    ("variance_for_deviation", "You take the variance. The standard error is made of the standard deviation, its root.",
     "first.std()", "first.var()", "second.std()", "second.var()"),
    ("n_in_the_deviation", "Your standard deviation has the number of answers in its denominator; it is one less.", "first.std()",
     "first.std(unbiased=False)", "second.std()", "second.std(unbiased=False)"),
    ("tokens_as_observations", "Your standard error takes every token for an observation. Tokens of an answer belong together: one observation "
     "is an answer.", "n = len(mask)", "n = int(mask.sum())"),
    ("sums_for_means", "You add up over the answers. It is their mean.", "float(first.mean())", "float(first.sum())", "float(second.mean())",
     "float(second.sum())"),
    ("kinds_exchanged", "The two estimates are exchanged.", '{"drawn": (float(first', '{"by step": (float(first', '"by step": (float(second',
     '"drawn": (float(second'),
    ("drawn_is_never_negative", "Your estimate from the drawn tokens is k₃ of chapter 3. It has the same mean, but another value: asked for is "
     "the difference of the log-probabilities.", "first = torch.where(mask == 1, drawn, 0.0).sum(1)",
     "first = torch.where(mask == 1, (-drawn).clamp(max=30).exp() - 1 + drawn, 0.0).sum(1)"),
    ("likeliest_tokens", "You look at the likeliest tokens. The answer is made of those that were drawn.",
     "    drawn = p", "    tokens = p.argmax(2)\n    drawn = p"),
    ("first_token_alone", "You look at the first token of each answer only.", _FIRST, "drawn[:, 0]", _SECOND, "exact[:, 0]"),
    ("step_of_the_drawn_token", "By step you weigh the drawn token's log-ratio by its probability. At each place *all* tokens of the vocabulary "
     "count.", "exact = (p.exp() * (p - q)).sum(2)", "exact = p.gather(2, tokens.unsqueeze(2))[..., 0].exp() * drawn"),
])  # fmt: skip


# --- Exercise 3: what was forgotten


def _forgetting(base, model, input_ids, attention_mask, size):
    found = []
    for reader in (base, model):
        sums = []
        for i in range(0, len(input_ids), size):
            ids, mask = input_ids[i : i + size], attention_mask[i : i + size]
            with torch.no_grad():
                logps = reader(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
            of_tokens = logps[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
            sums.append(-(of_tokens * (mask[:, 1:] == 1)).sum(1))
        found.append(torch.cat(sums))
    tokens = attention_mask[:, 1:].sum(1)
    before, after = found
    total = tokens.sum()
    return {
        "before": float(before.sum() / total),
        "after": float(after.sum() / total),
        "worse": float((after > before).float().mean()),
    }


_BOTH = ('float(before.sum() / total)', 'float(after.sum() / total)')

changes("forgetting", _forgetting, [
    ("mean_of_the_documents", "You average over documents: each document counts alike, and tokens of short ones count more. Every *token* counts "
     "alike.", _BOTH[0], "float((before / tokens).mean())", _BOTH[1], "float((after / tokens).mean())"),
    ("per_document", "You divide by the number of documents. The loss is one of tokens.", _BOTH[0], "float(before.mean())", _BOTH[1],
     "float(after.mean())"),
    ("padding_is_predicted", "You count predicted padding. The mask says what is padding.", " * (mask[:, 1:] == 1)", "",
     "total = tokens.sum()", "total = tokens.numel() * 0 + attention_mask[:, 1:].numel()"),
    ("padding_in_the_sum", "You count predicted padding in the sum of the losses.", " * (mask[:, 1:] == 1)", ""),
    ("padding_token_left_out", "You leave out the padding *token* wherever it stands. It may be a word of a document as well: the mask says "
     "what is padding.", " * (mask[:, 1:] == 1)", " * (mask[:, 1:] == 1) * (ids[:, 1:] != 3)", "tokens = attention_mask[:, 1:].sum(1)",
     "tokens = (attention_mask[:, 1:] * (input_ids[:, 1:] != 3)).sum(1)"),
    ("first_tokens_counted", "You divide by all tokens. The first one of a document is not predicted.", "tokens = attention_mask[:, 1:].sum(1)",
     "tokens = attention_mask.sum(1)"),
    ("divided_with_padding", "You divide by all places, padding too.", "total = tokens.sum()", "total = attention_mask[:, 1:].numel()"),
    ("read_at_its_own_place", "You read log p of a token at its own place. The logits there are those of the *next* token.",
     "logps[:, :-1].gather(2, ids[:, 1:, None])", "logps[:, 1:].gather(2, ids[:, 1:, None])"),
    ("loss_with_plus", "The sign is wrong: a loss is positive.", "sums.append(-(", "sums.append((",
     "(after > before)", "(after < before)"),
    ("models_exchanged", "\"before\" and \"after\" are exchanged: base is the model from before.", "before, after = found", "after, before = found"),
    ("share_that_got_better", "\"worse\" is the share of documents on which the loss *rose*.", "(after > before)", "(after < before)"),
    ("ties_count_as_worse", "Documents whose loss did not change count as worse. Larger is larger.", "(after > before)", "(after >= before)"),
    ("worse_counts_documents", "\"worse\" is a share, between 0 and 1, and not a number of documents.", "(after > before).float().mean()",
     "(after > before).float().sum()"),
    ("worse_weighs_tokens", "\"worse\" counts documents: a long one counts no more than a short one.", "float((after > before).float().mean())",
     "float(((after > before) * tokens).sum() / total)"),
    ("mask_kept_back", "You do not hand on the attention mask. On the right that does no harm to a causal model; the page asks for it, since "
     "other models need it.", "attention_mask=mask).logits", "attention_mask=torch.ones_like(mask)).logits"),
    ("graph_is_built", "A graph is built in every forward pass, and nobody needs it. torch.no_grad() belongs around them.",
     "with torch.no_grad():", "with torch.enable_grad():"),
    ("everything_at_once", "All documents go through the model at once. At most `size` may.", "range(0, len(input_ids), size)", "range(1)",
     "input_ids[i : i + size], attention_mask[i : i + size]", "input_ids, attention_mask"),
    ("one_document_at_a_time", "You read one document at a time. `size` of them may go together: it takes fewer calls.",
     "range(0, len(input_ids), size)", "range(0, len(input_ids))", "input_ids[i : i + size], attention_mask[i : i + size]",
     "input_ids[i : i + 1], attention_mask[i : i + 1]"),
    ("rest_left_out", "The last documents are missing where their number is no multiple of size.", "range(0, len(input_ids), size)",
     "range(0, max(1, len(input_ids) - size + 1), size)", "attention_mask[:, 1:].sum(1)",
     "attention_mask[: len(input_ids) // size * size or None, 1:].sum(1)"),
    ("perplexity_for_loss", "You return perplexities. Asked for are losses, in nats.", _BOTH[0], "float((before.sum() / total).exp())", _BOTH[1],
     "float((after.sum() / total).exp())"),
    ("only_the_difference", "\"after\" is the loss of the model itself, and not by how much it rose.", _BOTH[1],
     "float((after - before).sum() / total)"),
])  # fmt: skip


# --- Exercise 7: what to choose


def _best_under_budget(rows, max_kl, max_tokens):
    best = None
    for row in rows:
        if max(row["kl"]) > max_kl or row["tokens"] > max_tokens:
            continue
        key = statistics.median(row["utility"])
        if best is None or key > best[0] or (key == best[0] and row["tokens"] < best[1]):
            best = (key, row["tokens"], row["name"])
    return "" if best is None else best[2]


_KEY = 'statistics.median(row["utility"])'

changes("best_under_budget", _best_under_budget, [
    ("mean_kl", "You compare the *mean* KL with the budget. None of the seeds may go beyond it.", 'max(row["kl"]) > max_kl',
     'statistics.mean(row["kl"]) > max_kl'),
    ("median_kl", "You compare the *median* KL with the budget. None of the seeds may go beyond it.", 'max(row["kl"]) > max_kl',
     'statistics.median(row["kl"]) > max_kl'),
    ("smallest_kl", "One seed within the budget is enough for you. None may go beyond it.", 'max(row["kl"]) > max_kl', 'min(row["kl"]) > max_kl'),
    ("first_seed_only", "You look at the first seed only.", 'max(row["kl"]) > max_kl', 'row["kl"][0] > max_kl', _KEY, 'row["utility"][0]'),
    ("mean_utility", "You choose by the mean utility. One lucky seed can make it: the median is asked for.", _KEY,
     'statistics.mean(row["utility"])'),
    ("best_seed", "You choose by the best seed. You will have one try: the median is asked for.", _KEY, 'max(row["utility"])'),
    ("worst_seed", "You choose by the worst seed. The median is asked for.", _KEY, 'min(row["utility"])'),
    ("lower_of_the_middle", "Of an even number of seeds you take the lower of the two in the middle (torch.median does). It is their mean.", _KEY,
     'statistics.median_low(row["utility"])'),
    ("upper_of_the_middle", "Of an even number of seeds you take the upper of the two in the middle. It is their mean.", _KEY,
     'statistics.median_high(row["utility"])'),
    ("kl_not_checked", "The KL's budget is not looked at.", 'max(row["kl"]) > max_kl or ', ""),
    ("tokens_not_checked", "The budget of tokens is not looked at.", ' or row["tokens"] > max_tokens', ""),
    ("one_budget_is_enough", "A row that keeps one of the two budgets is enough for you. Both count.", "> max_kl or row", "> max_kl and row"),
    ("limit_is_excluded", "You refuse a row that needs exactly what there is. It fits.", '> max_kl or row["tokens"] > max_tokens',
     '>= max_kl or row["tokens"] >= max_tokens'),
    ("kl_limit_is_excluded", "You refuse a row whose KL is exactly the budget. It fits.", "> max_kl or", ">= max_kl or"),
    ("tokens_limit_is_excluded", "You refuse a row that needs exactly the tokens that there are. It fits.", "> max_tokens", ">= max_tokens"),
    ("first_of_equal_rows", "Of rows with the same median you take the first. The one with the fewest tokens is asked for.",
     ' or (key == best[0] and row["tokens"] < best[1])', ""),
    ("last_of_equal_rows", "Of rows with the same median and the same tokens you take the last. It is the first.", 'row["tokens"] < best[1]',
     'row["tokens"] <= best[1]'),
    ("most_tokens_of_equal_rows", "Of rows with the same median you take the one with the *most* tokens.", 'row["tokens"] < best[1]',
     'row["tokens"] > best[1]'),
    ("cheapest_row", "You take the cheapest row. The utility decides, and tokens only between equal ones.", "key > best[0] or (key == best[0] and ",
     "(True and "),
    ("worst_row", "You take the row with the smallest utility.", "key > best[0]", "key < best[0]"),
    ("row_for_its_name", "You return the row. Its name is asked for.", 'row["tokens"], row["name"])', 'row["tokens"], row)'),
    ("none_for_a_text", "Where nothing fits you return None. Asked for is an empty text.", '"" if best is None', "None if best is None"),
])  # fmt: skip


@mistake("best_under_budget")
def first_row_where_nothing_fits(rows, max_kl, max_tokens):
    """Where nothing fits you return a row all the same. Asked for is an empty text."""
    return _best_under_budget(rows, max_kl, max_tokens) or (rows[0]["name"] if rows else None)
