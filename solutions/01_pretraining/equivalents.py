"""Changes in chapter 01's reference solutions that no promise of the page lets anybody see, each with the reason."""

NUMBER = "A number may come as a tensor of one element."
DEFAULT = "-100 is PyTorch's default."
ORDER = "Neither statement sees what the other does."
CONTINUOUS = "A uniform draw hardly ever equals the bound, and nobody could tell that it does."
SHAPE = "Both tensors have the same shape."
OWN = "The tensor was made by the line before: nobody else holds it."
SIGN = "The sign goes away where the row is divided by its sum."
OVERWRITTEN = "scatter writes every place."
LONGER = "The page says that total_steps is larger than warmup_steps."

_CLIPPED = "done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))"
_REPLACED = "corrupted = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), random_ids, corrupted)"
_CUT = "ordered = ordered.masked_fill(before >= top_p, 0.0)"
_BACK = "probs = torch.zeros_like(probs).scatter(-1, order, ordered)"
_CHOSEN = "chosen = (torch.rand(input_ids.shape, generator=generator) < rate) & ~is_special"

EQUIVALENTS = [
    ("causal_lm_loss", "return F.cross_entropy(predictions, targets, ignore_index=-100) -> "
     "return F.cross_entropy(predictions, targets)", DEFAULT),
    ("ngram_loss", "total, predicted = (0.0, 0) -> total, predicted = (0, 0.0)", "The quotient of the sums is the same."),
    ("perplexity", "return token_losses.mean().exp().item() -> return token_losses.mean().exp()", NUMBER),
    ("bits_per_byte", "bits = token_losses.sum().item() / math.log(2) -> bits = token_losses.sum() / math.log(2)", NUMBER),
    ("bits_per_byte", "return bits / len(text.encode('utf-8')) -> return bits / len(text.encode())",
     "UTF-8 is Python's default."),
    ("next_token_probs", "def next_token_probs(logits, temperature=1.0, top_k=None, top_p=None): -> "
     "def next_token_probs(logits, temperature=1.0, top_k=None, top_p=1):", "top_p = 1 keeps everything."),
    ("next_token_probs", "if top_k is not None and top_k < logits.shape[-1]: -> "
     "if top_k is not None and top_k <= logits.shape[-1]:", "top_k = vocab keeps everything either way."),
    ("next_token_probs", "logits = logits.masked_fill(logits < smallest_kept, -math.inf) -> "
     "logits = logits.masked_fill_(logits < smallest_kept, -math.inf)", OWN),
    ("next_token_probs", f"{_CUT} -> ordered = -ordered.masked_fill(before >= top_p, 0.0)", SIGN),
    ("next_token_probs", f"{_CUT} -> ordered = ordered.masked_fill_(before >= top_p, 0.0)", OWN),
    ("next_token_probs", f"{_BACK} -> probs = -torch.zeros_like(probs).scatter(-1, order, ordered)", SIGN),
    ("next_token_probs", f"{_BACK} -> probs = torch.ones_like(probs).scatter(-1, order, ordered)", OVERWRITTEN),
    ("next_token_probs", f"{_BACK} -> probs = probs.scatter(-1, order, ordered)", OVERWRITTEN),
    ("learning_rate", f"{_CLIPPED} -> done = -min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))",
     "A cosine does not see the sign of its angle."),
    ("learning_rate", f"{_CLIPPED} -> done = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))", LONGER),
    ("learning_rate", f"{_CLIPPED} -> done = min(1.0, (step - warmup_steps) / max(0, total_steps - warmup_steps))", LONGER),
    ("train", "model.train(); losses = [] -> losses = []; model.train()", ORDER),
    ("train", "loss = compute_loss(model, batch); optimizer.zero_grad() -> "
     "optimizer.zero_grad(); loss = compute_loss(model, batch)", ORDER),
    ("train", "optimizer.zero_grad() -> model.zero_grad()", "The optimizer holds the model's parameters."),
    ("train", "optimizer.step(); losses.append(loss.item()) -> losses.append(loss.item()); optimizer.step()", ORDER),
    ("mask_tokens", f"{_CHOSEN} -> chosen = (torch.rand(input_ids.shape, generator=generator) <= rate) & ~is_special",
     CONTINUOUS),
    ("mask_tokens", f"{_CHOSEN} -> chosen = (torch.rand(is_special.shape, generator=generator) < rate) & ~is_special", SHAPE),
    ("mask_tokens", "fate = torch.rand(input_ids.shape, generator=generator) -> "
     "fate = torch.rand(is_special.shape, generator=generator)", SHAPE),
    ("mask_tokens", "random_ids = torch.randint(vocab_size, input_ids.shape, generator=generator) -> "
     "random_ids = torch.randint(vocab_size, is_special.shape, generator=generator)", SHAPE),
    ("mask_tokens", "corrupted = torch.where(chosen & (fate < 0.8), mask_id, input_ids) -> "
     "corrupted = torch.where(chosen & (fate <= 0.8), mask_id, input_ids)", CONTINUOUS),
    ("mask_tokens", f"{_REPLACED} -> {_REPLACED.replace('>= 0.8', '> 0.8')}", CONTINUOUS),
    ("mask_tokens", f"{_REPLACED} -> {_REPLACED.replace('< 0.9', '<= 0.9')}", CONTINUOUS),
    ("mask_tokens", f"{_REPLACED} -> {_REPLACED.replace('< 0.9', '>= 0.9')}", "The last tenth is as good as the one before."),
    ("mask_tokens", f"{_REPLACED} -> {_REPLACED.replace('< 0.9', '> 0.9')}", "The last tenth is as good as the one before."),
    ("nsp_pairs", "return int(torch.randint(n, (1,), generator=generator)) -> "
     "return torch.randint(n, (1,), generator=generator)", "A tensor of one integer is an index, and true or false, as well."),
    ("nsp_pairs", "second = documents[other][draw(len(documents[other]))] -> "
     "second = documents[other][draw(len(documents[other])) - 1]", "From -1 to n - 2 every sentence is as likely as before."),
]
