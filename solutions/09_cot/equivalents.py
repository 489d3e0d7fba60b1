"""Changes in chapter 09's reference that no promise of the page can tell from it, with the reason why."""

_BEHIND = "found = re.findall(number, behind[-1])[:1] if behind else []"
_WRONG = "still_wrong = ((wrong - taken) / (drawn - taken)).clamp(min=0)"
_BLOCK = "blocks.append(f\"Question: {example['question']}\\nAnswer: {said}\\n\\n\")"
_LOSS = "loss = F.cross_entropy(logits.flatten(0, 1), batch['labels'][:, 1:].flatten())"
_FIRST = "only the first of them is used"
_ZERO = "once no wrong one is left the product is 0, and stays so"

EQUIVALENTS = [
    ("extract_answer", f"{_BEHIND} -> {_BEHIND.replace('[:1]', '')}", _FIRST),
    ("extract_answer", f"{_BEHIND} -> {_BEHIND.replace('[:1]', '[:]')}", _FIRST),
    ("extract_answer", f"{_BEHIND} -> {_BEHIND.replace('[:1]', '[:2]')}", _FIRST),
    ("extract_answer", f"{_BEHIND} -> {_BEHIND.replace('[:1]', '[:-1]')}", "where only one stands behind the words, it is the last of all"),
    (
        "extract_answer",
        "return float(found[0].replace(',', '')) if found else None -> return float(found[-1].replace(',', '')) if found else None",
        "there is one",
    ),
    ("cot_prompt", f"{_BLOCK} -> {_BLOCK.replace('append', 'extend')}", "the letters are joined to the same text"),
    ("join_moves", "rounds, now = ([], list(moves)) -> rounds, now = ([], moves)", "it is not changed in place"),
    ("train_on_budget", "shown = {name: batch[name] for name in ('input_ids', 'attention_mask')} -> shown = {name: batch[name] for name in ('attention_mask', 'input_ids')}", "arguments by name have no order"),
    ("train_on_budget", "spent += int(batch['attention_mask'].sum()) -> spent += batch['attention_mask'].sum()", "a tensor of one number is a number, too"),
    ("train_on_budget", f"{_LOSS}; optimizer.zero_grad() -> optimizer.zero_grad(); {_LOSS}", "gradients are cleared before backward, either way"),
    ("train_on_budget", "optimizer.zero_grad() -> model.zero_grad()", "the optimizer has the model's parameters"),
    ("train_on_budget", "optimizer.step(); losses.append(loss.item()) -> losses.append(loss.item()); optimizer.step()", "the step does not change this number"),
    ("pass_curve", f"{_WRONG} -> still_wrong = (wrong - taken) / (drawn - taken)", _ZERO),
    ("pass_curve", f"{_WRONG} -> {_WRONG.replace('min=0', 'min=-1')}", _ZERO),
]
