"""Correct answers to chapter 07's first part in other shapes, which every check must accept."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from autograder.judging.catalogue import alternative

# --- Exercise 1: what learns


@alternative("train_only")
def by_get_submodule(model, names):
    """Modules and parameters looked up one by one."""
    inside = []
    for name in names:
        path, _, own = name.rpartition(".")
        try:
            inside.append(list(model.get_submodule(name).parameters()))
        except AttributeError:
            try:
                inside.append([model.get_submodule(path).get_parameter(own)])
            except AttributeError:
                raise ValueError(f"{name} is nothing") from None
    for p in model.parameters():
        p.requires_grad = False
    for p in (p for part in inside for p in part):
        p.requires_grad = True
    learning, everything = (sum(p.numel() for p in ps) for ps in (
        [p for p in model.parameters() if p.requires_grad], list(model.parameters())))  # fmt: skip
    return [learning, everything]


@alternative("train_only")
def name_by_name(model, names):
    """A dictionary of all names, split at the dots."""
    table = dict(model.named_parameters(remove_duplicate=False))
    hit = {name: [key for key in table if key.split(".")[: len(name.split("."))] == name.split(".")] for name in names}
    if not all(hit.values()):
        raise ValueError("a name stands for nothing")
    model.requires_grad_(False)
    counted = {}
    for keys in hit.values():
        for key in keys:
            table[key].requires_grad_()
            counted[table[key].data_ptr()] = table[key].numel()
    return sum(counted.values()), sum({p.data_ptr(): p.numel() for p in table.values()}.values())


@alternative("train_only")
def every_parameter_once(model, names):
    """A loop over the parameters, each with all its names; tensors for numbers."""
    keys_of = {}
    for key, p in model.named_parameters(remove_duplicate=False):
        keys_of.setdefault(p, []).append(key)
    fits = lambda key, name: (key + ".").startswith(name + ".")  # noqa: E731
    for name in names:
        if not any(fits(key, name) for keys in keys_of.values() for key in keys):
            raise ValueError(name)
    counts = torch.zeros(2, dtype=torch.long)
    for p, keys in keys_of.items():
        p.requires_grad_(any(fits(key, name) for key in keys for name in names))
        counts += torch.tensor([p.numel() if p.requires_grad else 0, p.numel()])
    return tuple(counts)


# --- Exercise 2: an update of low rank


@alternative("low_rank")
def by_eigenvectors(update, rank):
    """The eigenvectors of UᵀU, in double precision, made balanced afterwards."""
    m = update.double()
    values, vectors = torch.linalg.eigh(m.T @ m)
    v = vectors.flip(1)[:, :rank]
    s = values.flip(0)[:rank].clamp(min=0).sqrt()
    u = m @ v / s.clamp(min=1e-30)
    root = s.sqrt()
    return (u * root).to(update.dtype), (root[:, None] * v.T).to(update.dtype)


@alternative("low_rank")
def in_numpy(update, rank):
    """numpy, and the signs the other way round."""
    u, s, vt = np.linalg.svd(update.numpy().astype(float), full_matrices=False)
    root = np.sqrt(s[:rank])
    return torch.from_numpy(-u[:, :rank] * root).float(), torch.from_numpy(-root[:, None] * vt[:rank]).float()


@alternative("low_rank")
def by_diagonal_matrices(update, rank):
    """Full matrices, a diagonal one, and a rotation of the rank's space, which changes nothing that is asked for."""
    u, s, vt = torch.linalg.svd(update)
    root = torch.diag(s[:rank].sqrt())
    turn = torch.linalg.qr(torch.arange(1.0, rank * rank + 1).view(rank, rank) + torch.eye(rank))[0]
    return u[:, :rank] @ root @ turn, turn.T @ root @ vt[:rank]


# --- Exercise 3: factors beside a weight


@alternative("lora_linear")
def written_with_einsum(x, weight, bias, A, B, alpha, dropout=0.0, training=False):
    """einsum, and the bias added by hand."""
    W = weight.detach()
    out = torch.einsum("...i,oi->...o", x, W)
    if bias is not None:
        out = out + bias.detach()
    dropped = nn.Dropout(dropout).train(training)(x)
    return out + (alpha / B.shape[1]) * torch.einsum("...r,or->...o", torch.einsum("...i,ri->...r", dropped, A), B)


@alternative("lora_linear")
def dropped_by_hand(x, weight, bias, A, B, alpha, dropout=0.0, training=False):
    """A mask of Bernoulli draws, the scale in the small product."""
    base = torch.matmul(x, weight.detach().T) + (0 if bias is None else bias.detach())
    if training and dropout > 0:
        x = x * torch.bernoulli(torch.full_like(x, 1 - dropout)) / (1 - dropout)
    return base + ((x @ A.mT) * (alpha / len(A))) @ B.mT


@alternative("lora_linear")
def through_two_layers(x, weight, bias, A, B, alpha, dropout=0.0, training=False):
    """torch.add with its alpha; .data for what is frozen."""
    base = F.linear(x, weight.data, None if bias is None else bias.data)
    return torch.add(base, F.linear(F.linear(F.dropout(x, p=dropout, training=bool(training)), A), B), alpha=alpha / A.size(0))


# --- Exercise 4: into a model


@alternative("add_lora")
def by_recursion(model, targets, rank, make, generator):
    """A walk through the children."""
    model.requires_grad_(False)
    names = []

    def walk(module, before):
        for own, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and own in targets:
                d_out, d_in = child.weight.size()
                A = nn.Parameter((torch.rand((rank, d_in), generator=generator) - 0.5) * 2 / math.sqrt(d_in))
                setattr(module, own, make(child, A, nn.Parameter(torch.zeros((d_out, rank)))))
                names.append(before + own)
            else:
                walk(child, before + own + ".")

    walk(model, "")
    if not names:
        raise ValueError("no such layer")
    return names


@alternative("add_lora")
def by_the_parents(model, targets, rank, make, generator):
    """For each module its children; freezes what it finds first."""
    old = list(model.parameters())
    found = [
        (path, parent, own)
        for path, parent in list(model.named_modules())
        for own, part in parent.named_children()
        if type(part) is nn.Linear and own in set(targets)
    ]
    if not found:
        raise ValueError(targets)
    order = [name for name, _ in model.named_modules()]
    whole = {f"{path}.{own}".lstrip("."): (parent, own) for path, parent, own in found}
    names = sorted(whole, key=order.index)
    for p in old:
        p.requires_grad_(False)
    for name in names:
        parent, own = whole[name]
        linear = getattr(parent, own)
        A = nn.init.uniform_(torch.empty(rank, linear.in_features), -1, 1, generator=generator) / linear.in_features**0.5
        setattr(parent, own, make(linear, nn.Parameter(A), nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))))
    return names


@alternative("add_lora")
def drawn_in_double(model, targets, rank, make, generator):
    """Kaiming's initialisation with a = sqrt(5), as peft does it; names as a tuple."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".").pop() in targets}
    if not layers:
        raise ValueError
    for p in model.parameters():
        p.requires_grad_(False)
    for name, linear in layers.items():
        A = nn.Parameter(torch.empty(rank, linear.weight.shape[1]))
        nn.init.kaiming_uniform_(A, a=math.sqrt(5), generator=generator)
        B = nn.Parameter(torch.zeros(linear.weight.shape[0], rank))
        model.set_submodule(name, make(linear, A, B))
    return tuple(layers)


# --- Exercise 5: merged


@alternative("set_merged")
@torch.no_grad()
def by_addmm(layer, merged):
    """addmm in place, without a graph."""
    to_do = layer.merged is not merged
    if to_do:
        sign = 1.0 if merged else -1.0
        layer.weight.addmm_(layer.B, layer.A, alpha=sign * layer.alpha / layer.B.shape[1])
        layer.merged = merged
    return to_do


@alternative("set_merged")
def copied_into_place(layer, merged):
    """The new weight computed in double precision and copied."""
    if merged and not layer.merged:
        sign = 1
    elif layer.merged and not merged:
        sign = -1
    else:
        return False
    change = (layer.B.detach().double() @ layer.A.detach().double()) * (sign * layer.alpha / len(layer.A))
    layer.weight.data.copy_(layer.weight.data.double() + change)
    layer.merged = not layer.merged
    return True


@alternative("set_merged")
def rank_by_rank(layer, merged):
    """A sum over the ranks."""
    difference = int(merged) - int(layer.merged)
    rank = layer.A.shape[0]
    for r in range(rank if difference else 0):
        with torch.no_grad():
            layer.weight += difference * layer.alpha / rank * torch.outer(layer.B[:, r], layer.A[r])
    layer.merged = merged
    return difference != 0


# --- Exercise 6: what it costs


@alternative("linear_costs")
def product_by_product(tokens, d_in, d_out, rank=None):
    """A list of the layers, and for each its three products."""
    if rank is None:
        layers = [(d_in, d_out, True)]
    else:
        layers = [(d_in, d_out, False), (d_in, rank, True), (rank, d_out, True)]
    costs = dict.fromkeys(("forward", "backward", "weights", "gradients", "optimizer"), 0)
    kept = set()
    for here, there, learns in layers:
        product = tokens * here * there
        costs["forward"] += product
        costs["backward"] += product + (product if learns else 0)
        costs["weights"] += here * there
        if learns:
            costs["gradients"] += here * there
            costs["optimizer"] += 2 * here * there
            kept.add(here)
    return costs | {"activations": tokens * sum(kept)}


@alternative("linear_costs")
def as_floats(tokens, d_in, d_out, rank=None):
    """Two formulas."""
    w, f = float(d_in * d_out), 0.0 if rank is None else float(rank * (d_in + d_out))
    if rank is None:
        return dict(forward=tokens * w, backward=2 * tokens * w, weights=w, gradients=w, optimizer=2 * w, activations=tokens * d_in)
    return {
        "activations": tokens * d_in + tokens * rank, "optimizer": 2 * f, "gradients": f, "weights": w + f,
        "backward": tokens * (w + 2 * f), "forward": tokens * (w + f),
    }  # fmt: skip


@alternative("linear_costs")
def measured_on_a_layer(tokens, d_in, d_out, rank=None):
    """Nothing is derived: a layer is run, and counted."""
    from torch.utils import flop_counter

    x = torch.zeros(tokens, d_in, requires_grad=True)
    W = torch.zeros(d_out, d_in, requires_grad=rank is None)
    weights = [W] if rank is None else [W, torch.zeros(rank, d_in, requires_grad=True), torch.zeros(d_out, rank, requires_grad=True)]
    kept = {}

    def keep(t):
        if not any(t.untyped_storage().data_ptr() == w.untyped_storage().data_ptr() for w in weights):
            kept[t.untyped_storage().data_ptr()] = t.numel()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), flop_counter.FlopCounterMode(display=False) as forward:
        out = F.linear(x, W)
        if rank is not None:
            out = out + F.linear(F.linear(x, weights[1]), weights[2])
    with flop_counter.FlopCounterMode(display=False) as both:
        out.sum().backward()
    learns = sum(w.numel() for w in weights if w.requires_grad)
    return {
        "forward": forward.get_total_flops() // 2, "backward": both.get_total_flops() // 2, "weights": sum(w.numel() for w in weights),
        "gradients": sum(w.grad.numel() for w in weights if w.grad is not None), "optimizer": 2 * learns,
        "activations": sum(kept.values()),
    }  # fmt: skip


# --- Exercise 7: the training loop


@alternative("fine_tune")
def with_a_scheduler(model, batches, lr, weight_decay=0.0):
    """torch's LambdaLR, and probabilities gathered."""
    n = len(batches)
    trained = list(filter(lambda p: p.requires_grad, model.parameters()))
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / 5) * (1 - s / n))
    losses = []
    for batch in batches:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        logps = model(batch["input_ids"], batch["attention_mask"]).logits.log_softmax(-1)[:, :-1]
        labels = batch["labels"][:, 1:]
        counted = labels >= 0
        loss = -logps.gather(-1, labels.clamp(min=0)[..., None])[..., 0][counted].mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, max_norm=1.0)
        optimizer.step()
        schedule.step()
        losses += [loss.detach().item()]
    model.eval()
    return losses


@alternative("fine_tune")
def all_parameters_in_groups(model, batches, lr, weight_decay=0.0):
    """All parameters in the optimizer, in two groups: what has no gradient, torch passes over."""
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.requires_grad == flag]} for flag in (True, False)]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=1.0, weight_decay=weight_decay)
    model.train(True)
    losses = []
    for s, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (s + 1) / 5) * (1 - s / len(batches))
        ids, seen = batch["input_ids"], batch["attention_mask"]
        read = model(input_ids=ids, attention_mask=seen)
        labels = F.pad(batch["labels"][:, 1:], (0, 1), value=-100)
        loss = F.cross_entropy(read.logits.transpose(1, 2), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1)
        optimizer.step()
        losses.append(float(loss.detach()))
    model.train(False)
    return losses


@alternative("fine_tune")
def gradients_by_hand(model, batches, lr, weight_decay=0.0):
    """torch.autograd.grad, and the norm by hand."""
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(learning.values(), weight_decay=weight_decay, lr=lr)
    history = []
    model.train()
    for s in range(len(batches)):
        optimizer.param_groups[0].update(lr=lr * min((s + 1) / 5, 1) * (len(batches) - s) / len(batches))
        b = batches[s]
        logits = model(input_ids=b["input_ids"], attention_mask=b["attention_mask"]).logits[:, :-1]
        places = b["labels"][:, 1:] != -100
        loss = F.cross_entropy(logits[places], b["labels"][:, 1:][places])
        found = torch.autograd.grad(loss, list(learning.values()), allow_unused=True)
        norm = sum(float(g.square().sum()) for g in found if g is not None) ** 0.5
        for p, g in zip(learning.values(), found, strict=True):
            p.grad = None if g is None else g / max(1.0, norm + 1e-6)
        optimizer.step()
        history.append(loss.item())
    model.eval()
    return history
