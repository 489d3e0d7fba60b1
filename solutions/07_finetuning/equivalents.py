"""Generated changes of chapter 07's references that change nothing: exercise, change, and why."""

_EITHER = "the two dimensions that are exchanged may be named in either order"

EQUIVALENTS = [
    ("low_rank", "u, s, vt = torch.linalg.svd(update, full_matrices=False) -> u, s, vt = torch.linalg.svd(update)", "what is beyond the rank is cut off"),
    ("low_rank", "u, s, vt = torch.linalg.svd(update, full_matrices=False) -> u, s, vt = torch.linalg.svd(update, full_matrices=True)", "what is beyond the rank is cut off"),
    ("low_rank", "root = s[:rank].sqrt() -> root = -s[:rank].sqrt()", "both factors change their sign, and the product does not"),
    ("cayley", "one = torch.eye(b).to(skew) -> one = torch.eye(b)", "the entries of the probes are float32, on the CPU"),
    ("rotate", "groups = pieces.transpose(-3, -2).flatten(-4, -3).flatten(-2) -> groups = pieces.transpose(-2, -3).flatten(-4, -3).flatten(-2)", _EITHER),
    ("rotate", "return turned.transpose(-3, -2).flatten(-4) -> return turned.transpose(-2, -3).flatten(-4)", _EITHER),
    ('train_only', 'learning.update(map(id, found)) -> learning.update(map(id, found)); learning.update(map(id, found))', 'to add what is there already changes nothing'),
    ('train_only', 'weight.requires_grad_(id(weight) in learning) -> weight.requires_grad_(id(weight) in learning); weight.requires_grad_(id(weight) in learning)', 'set once or twice, it is the same'),
    ('fine_tune', 'learning = [weight for weight in model.parameters() if weight.requires_grad] -> learning = [weight for weight in model.parameters() if True]', 'AdamW leaves alone what has no gradient'),
    ('fine_tune', 'optimizer = torch.optim.AdamW(learning, lr=lr, weight_decay=weight_decay) -> optimizer = torch.optim.AdamW(learning, weight_decay=weight_decay)', 'the loop sets the learning rate before each step'),
    ('fine_tune', 'optimizer = torch.optim.AdamW(learning, lr=lr, weight_decay=weight_decay) -> optimizer = torch.optim.AdamW(learning, lr=weight_decay, weight_decay=weight_decay)', 'the loop sets the learning rate before each step'),
    ('fine_tune', 'losses = []; model.train() -> model.train(); losses = []', 'neither needs the other'),
    ('fine_tune', "optimizer.param_groups[0]['lr'] = lr * min(1, (s + 1) / 5) * (1 - s / len(batches)) -> optimizer.param_groups[-1]['lr'] = lr * min(1, (s + 1) / 5) * (1 - s / len(batches))", 'there is one group'),
    ('fine_tune', 'loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()); optimizer.zero_grad() -> optimizer.zero_grad(); loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())', 'the old gradients are cleared before backward, either way'),
    ('fine_tune', 'optimizer.step(); losses.append(loss.item()) -> losses.append(loss.item()); optimizer.step()', 'the step does not change the loss that was computed'),
    ('add_lora', "chosen = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and name.split('.')[-1] in targets] -> chosen = [(name, layer) for name, layer in list(model.named_modules())[1:] if isinstance(layer, nn.Linear) and name.split('.')[-1] in targets]", 'what is left out is the model itself, which has no name'),
    ('add_lora', 'model.requires_grad_(False) -> model.requires_grad_(False); model.requires_grad_(False)', 'set once or twice, it is the same'),
    ('add_lora', 'setattr(model.get_submodule(parent), own, make(linear, A, B)) -> setattr(model.get_submodule(parent), own, make(linear, A, B)); setattr(model.get_submodule(parent), own, make(linear, A, B))', 'the same place gets the same layer again'),
    ('prefix_logits', 'both = (x.expand(len(input_ids), -1, -1, -1) for x in (keys, values)) -> both = (x.expand(len(attention_mask), -1, -1, -1) for x in (keys, values))', 'ids and mask have as many rows'),
    ('cayley', 'upper = entries.new_zeros(n, b, b) -> upper = -entries.new_zeros(n, b, b)', 'minus zero is zero'),
]  # fmt: skip
