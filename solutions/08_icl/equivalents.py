"""Changes in chapter 08's reference that no promise of the page can tell from it, with the reason why."""

_PROMPT = "def few_shot_prompt(examples, query, instruction='', input_name='Text', label_name='Label'):"
_READ = "read[context] = model(input_ids=row).logits[0].float().log_softmax(-1)"
_DRAWN = "drawn = torch.randint(len(better), (draws, len(better)), generator=generator)"
_CALIBRATED = "return (scores.log_softmax(-1) - neutral.log()).softmax(-1)"
_PRIOR = "prior = torch.full((len(tables),), 1 / len(tables)) if prior is None else prior"
_EVIDENCE = "evidence = torch.where(same[..., None], logps[:, None], 0.0).sum(2)"
_LOGITS = "logits = model(ids).logits[:, 0::2]"
_LOSS = "loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1::2].flatten())"
_TO_LABELS = "to_labels = attentions[..., 0::2, 1::2]"

_LONGER = "then there is a row of logits more, which no token asks for"
_TWICE = "what was read already is read again: the same numbers, more slowly"
_NUMBERED = "the questions are numbered in another way, and each is drawn as often"
_CONSTANT = "any number will do that is the same for all tables: the beliefs sum to 1"
_BOTH = "all labels get the same number more, and the probabilities sum to 1"
_EVEN = "rows have an even number of places: these are the inputs, too"
_FOUND = "found = (to_labels * same[:, None]).sum((1, 3, 4))"
_ORDER = "the same is computed in either order"

EQUIVALENTS = [
    ("few_shot_prompt", f"{_PROMPT} -> {_PROMPT.replace(chr(39) * 2, 'None')}", "None is no instruction either"),
    ("label_scores", "@torch.no_grad() -> (nothing)", "the scores are the same where a gradient hangs on them"),
    ("label_scores", "context = tuple(ids[:-1]) -> context = tuple(ids)", _LONGER),
    ("label_scores", "context = tuple(ids[:-1]) -> context = tuple(ids[:])", _LONGER),
    ("label_scores", "if context not in read: -> if True:", _TWICE),
    ("label_scores", "if context not in read: -> if context not in scores:", _TWICE),
    ("label_scores", f"{_READ} -> {_READ.replace('.float()', '')}", "how a model of half precision is rounded is not promised"),
    ("label_scores", f"{_READ} -> {_READ.replace('[0]', '[-1]')}", "there is one row"),
    ("label_scores", "return torch.stack(scores).cpu() -> return torch.stack(scores)", "where the scores are kept is not promised"),
    ("paired_differences", f"{_DRAWN} -> {_DRAWN.replace('torch', '-torch')}", _NUMBERED),
    ("paired_differences", "return better[drawn].mean(1) -> return better[drawn - 1].mean(1)", _NUMBERED),
    (
        "calibrated",
        "neutral = neutral_scores.softmax(-1).mean(0) -> neutral = neutral_scores.softmax(-1).sum(0)",
        "the sum is a multiple of the mean, and the probabilities sum to 1",
    ),
    ("calibrated", f"{_CALIBRATED} -> {_CALIBRATED.replace('.log_softmax(-1)', '')}", _BOTH),
    ("bayes_predictions", f"{_PRIOR} -> {_PRIOR.replace('1 /', '1 *')}", _CONSTANT),
    ("bayes_predictions", f"{_PRIOR} -> {_PRIOR.replace('1 / len(tables)', '1')}", _CONSTANT),
    ("bayes_predictions", f"{_PRIOR} -> {_PRIOR.replace('1 / len(tables)', 'len(tables)')}", _CONSTANT),
    ("bayes_predictions", f"{_PRIOR} -> {_PRIOR.replace('1 /', '2 /')}", _CONSTANT),
    ("bayes_predictions", f"{_PRIOR} -> {_PRIOR.replace('1 / len(tables)', '1 / len(xs)')}", _CONSTANT),
    ("bayes_predictions", f"{_PRIOR} -> {_PRIOR.replace('1 / len(tables)', '1 / len(ys)')}", _CONSTANT),
    ("new_table_predictions", f"{_EVIDENCE} -> {_EVIDENCE.replace('0.0', '1.0')}", _BOTH),
    ("new_table_predictions", f"{_EVIDENCE} -> {_EVIDENCE.replace('0.0', '-1.0')}", _BOTH),
    ("train_in_context", f"{_LOGITS} -> {_LOGITS.replace('0::2', '::2')}", _EVEN),
    ("train_in_context", f"{_LOGITS} -> {_LOGITS.replace('0::2', '0:-1:2')}", _EVEN),
    ("train_in_context", f"{_LOSS}; optimizer.zero_grad() -> optimizer.zero_grad(); {_LOSS}", _ORDER),
    ("train_in_context", "optimizer.zero_grad() -> model.zero_grad()", "the optimizer has the model's parameters"),
    ("train_in_context", "optimizer.step(); losses.append(loss.item()) -> losses.append(loss.item()); optimizer.step()", _ORDER),
    ("induction_scores", f"{_TO_LABELS} -> {_TO_LABELS.replace('0::2', '::2')}", _EVEN),
    ("induction_scores", f"{_TO_LABELS} -> {_TO_LABELS.replace('0::2', '0:-1:2')}", _EVEN),
    ("induction_scores", f"{_FOUND} -> {_FOUND.replace('1, 3, 4', '3, 1, 4')}", _ORDER),
    ("induction_scores", f"{_FOUND} -> {_FOUND.replace('1, 3, 4', '4, 3, 1')}", _ORDER),
    ("induction_scores", f"{_FOUND} -> {_FOUND.replace('1, 3, 4', '1, 4, 3')}", _ORDER),
    (
        "induction_scores",
        "return found / same.any(-1).sum() -> return found / same.any(-2).sum()",
        "as many inputs come again later as stood in their row before: all but one of each",
    ),
]
