"""Generated changes of chapter 11's references that change nothing: exercise, change, and why."""

_NUMBER = "a tensor of one number is a number, too"
_OWN = "it is changed in place, but nobody else has it, and it is not read again"
_RETURN = "return (shares.mean().item(), ends[0].item(), ends[1].item())"
_WON = "won = (ahead > 0).double() + 0.5 * (ahead == 0).double()"
_TERMS = "terms = {'drawn': apart.gather(-1, tokens[..., None]).squeeze(-1), 'by step': (logps.exp() * apart).sum(-1)}"
_FOUND = "found[name] = (of_answers.mean().item(), error.item())"
_LOSS = "loss = loss_of(*logps_of(found[part]), ref_chosen[part], ref_rejected[part])"
_LOSSES = "return {'before': (before.sum() / count).item(), 'after': (after.sum() / count).item(), 'worse': (after > before).float().mean().item()}"
_SURPRISE = "surprise = F.cross_entropy(logits.transpose(1, 2), label[:, 1:], reduction='none')"

EQUIVALENTS = [
    ("win_rate_interval", f"{_WON} -> won = (ahead > 0) + 0.5 * (ahead == 0).double()", "a truth and a double add up to a double"),
    ("win_rate_interval", f"{_WON} -> won = (ahead > 0).double() + 0.5 * (ahead == 0)", "half a truth is a float, exactly"),
    ("win_rate_interval", "shares = won.mean((1, 2)) -> shares = won.mean((2, 1))", "the mean over both axes, in either order"),
    ("win_rate_interval", f"{_RETURN} -> return (shares.mean(), ends[0].item(), ends[1].item())", _NUMBER),
    ("win_rate_interval", f"{_RETURN} -> return (shares.mean().item(), ends[0], ends[1].item())", _NUMBER),
    ("win_rate_interval", f"{_RETURN} -> return (shares.mean().item(), ends[0].item(), ends[1])", _NUMBER),
    ("win_rate_interval", f"{_RETURN} -> return (shares.mean().item(), ends[0].item(), ends[-1].item())", "there are two ends"),
    ("kl_with_error", f"{_TERMS} -> {_TERMS.replace('logps.exp()', 'logps.exp_()')}", _OWN),
    ("kl_with_error", "of_answers = term.masked_fill(mask == 0, 0.0).sum(1) -> of_answers = term.masked_fill_(mask == 0, 0.0).sum(1)", _OWN),
    ("kl_with_error", f"{_FOUND} -> found[name] = (of_answers.mean(), error.item())", _NUMBER),
    ("kl_with_error", f"{_FOUND} -> found[name] = (of_answers.mean().item(), error)", _NUMBER),
    ("collect_preferences", "kept = set(heldout) -> kept = heldout", "a set is only quicker"),
    ("forgetting", f"{_SURPRISE} -> {_SURPRISE.replace('transpose(1, 2)', 'transpose(2, 1)')}", "the same two axes"),
    ("forgetting", f"{_LOSSES} -> {_LOSSES.replace('(before.sum() / count).item()', 'before.sum() / count')}", _NUMBER),
    ("forgetting", f"{_LOSSES} -> {_LOSSES.replace('(after.sum() / count).item()', 'after.sum() / count')}", _NUMBER),
    ("forgetting", f"{_LOSSES} -> {_LOSSES.replace('.mean().item()', '.mean()')}", _NUMBER),
    ("train_in_rounds", f"{_LOSS}; optimizer.zero_grad() -> optimizer.zero_grad(); {_LOSS}", "gradients are cleared before backward, either way"),
    ("train_in_rounds", "optimizer.zero_grad() -> policy.zero_grad()", "the optimizer's parameters are the policy's"),
    ("train_in_rounds", "optimizer.step(); losses[-1].append(loss.item()) -> losses[-1].append(loss.item()); optimizer.step()", "the loss is a number from before the step, either way"),
    ("run_pipeline", "left -= tokens; spent.append((stage['name'], tokens)) -> spent.append((stage['name'], tokens)); left -= tokens", "two statements that do not touch each other"),
]  # fmt: skip
