"""Changes in chapter 10's reference that no promise of the page can tell from it, with the reason why."""

_MEMBERS = "is a word one of the four marks? Their order in this list plays no part"
_TRUE_IS_ONE = "True and 1.0 are equal numbers, False and 0.0 too: an answer that returns them is right"
_GIVEN = "where max_tokens is read, it is given"
_PADDING = "on padding any small number will do: it is masked again in the end"
_NO_GRADIENT = "the same numbers: logits come without gradients, and the page promises nothing of what may flow through the result"
_CENTRED = "a constant more in every weight: the mean of the weights is subtracted, so that it makes no difference"
_WRITTEN = "every place is written, whatever stood there before"

EQUIVALENTS = [
    *(
        ("verify_answer", "marks = [w for w in words if w in ('<think>', '</think>', '<answer>', '</answer>')] -> "
         f"marks = [w for w in words if w in ({listed})]", _MEMBERS)
        for listed in (
            "'</think>', '<think>', '<answer>', '</answer>'", "'<answer>', '</think>', '<think>', '</answer>'",
            "'</answer>', '</think>', '<answer>', '<think>'", "'<think>', '<answer>', '</think>', '</answer>'",
            "'<think>', '</answer>', '<answer>', '</think>'", "'<think>', '</think>', '</answer>', '<answer>'",
        )
    ),
    ("verify_answer", "right = len(inside) == 1 and inside[0] == str(truth) -> right = len(inside) == 1 and inside[-1] == str(truth)", "of one word, the first is the last"),
    ("verify_answer", "return (float(form), float(right)) -> return (form, float(right))", _TRUE_IS_ONE),
    ("verify_answer", "return (float(form), float(right)) -> return (float(form), right)", _TRUE_IS_ONE),
    ("grpo_loss", "def grpo_loss(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=None, extra=None): -> def grpo_loss(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=0, extra=None):", _GIVEN),
    ("grpo_loss", "def grpo_loss(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=None, extra=None): -> def grpo_loss(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=1, extra=None):", _GIVEN),
    ("grpo_loss", "def grpo_loss(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=None, extra=None): -> def grpo_loss(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens=None, extra=0):", "0 is added where nothing is given"),
    ("grpo_loss", "log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0) -> log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 1.0)", _PADDING),
    ("grpo_loss", "log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0) -> log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, -1.0)", _PADDING),
    ("grpo_loss", "losses = losses.masked_fill(mask == 0, 0.0) -> losses = losses.masked_fill_(mask == 0, 0.0)", "losses is the function's own"),
    ("kl_gradient", "d = (logps - ref_logps).detach() -> d = logps - ref_logps", _NO_GRADIENT),
    ("kl_gradient", "probs = logps.detach().exp() -> probs = logps.exp()", _NO_GRADIENT),
    ("kl_gradient", "probs = logps.detach().exp() -> probs = logps.detach().exp_()", "logps is the function's own, and not read again"),
    ("kl_gradient", "value = {'k1': d, 'k2': d ** 2 / 2, 'k3': torch.expm1(-d) + d}[estimator] -> value = {'k1': d, 'k2': d ** 2 / 2, 'k3': torch.exp(-d) + d}[estimator]", _CENTRED),
    ("kl_gradient", "slope = {'k1': torch.ones_like(d), 'k2': d, 'k3': -torch.expm1(-d)}[estimator] -> slope = {'k1': torch.zeros_like(d), 'k2': d, 'k3': -torch.expm1(-d)}[estimator]", _CENTRED),
    ("kl_gradient", "slope = {'k1': torch.ones_like(d), 'k2': d, 'k3': -torch.expm1(-d)}[estimator] -> slope = {'k1': torch.ones_like(d), 'k2': d, 'k3': -torch.exp(-d)}[estimator]", _CENTRED),
    ("drawn_logps", "def drawn_logps(logits, tokens, temperature=1.0, top_p=1.0): -> def drawn_logps(logits, tokens, temperature=1.0, top_p=2.0):", "no sum of chances comes to 2: all tokens are kept, as with 1"),
    ("drawn_logps", "ordered, order = logps.detach().sort(dim=-1, descending=True) -> ordered, order = logps.detach().sort(descending=True)", "the last axis is sort's default"),
    ("drawn_logps", "ordered, order = logps.detach().sort(dim=-1, descending=True) -> ordered, order = logps.sort(dim=-1, descending=True)", "only a comparison is made with them, and through that no gradient flows"),
    ("drawn_logps", "left_out = torch.zeros_like(left_out).scatter(-1, order, left_out) -> left_out = torch.ones_like(left_out).scatter(-1, order, left_out)", _WRITTEN),
    ("drawn_logps", "left_out = torch.zeros_like(left_out).scatter(-1, order, left_out) -> left_out = left_out.scatter(-1, order, left_out)", _WRITTEN),
    ("drawn_logps", "return kept.gather(-1, tokens[..., None])[..., 0] -> return kept.gather(-1, tokens[..., None])[..., -1]", "the axis has one place"),
    ("rejection_sample", "seen.append(text); chosen.append((i, j)) -> chosen.append((i, j)); seen.append(text)", "two lists, whichever grows first"),
    ("train_grpo", "loss = grpo_loss(logps, drawn, advantages, mask, clip_low, clip_high, per, max_tokens, extra); optimizer.zero_grad() -> optimizer.zero_grad(); loss = grpo_loss(logps, drawn, advantages, mask, clip_low, clip_high, per, max_tokens, extra)", "the gradients are set to zero before backward, either way"),
    ("train_grpo", "optimizer.zero_grad() -> policy.zero_grad()", "the optimizer has all of the policy's parameters, and no others"),
]  # fmt: skip
