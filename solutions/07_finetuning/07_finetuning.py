# %% [markdown]
# # 7 · Ways to fine-tune

# %% tags=["imports"]
import torch
import torch.nn.functional as F
from torch import nn
from transformers import DynamicCache

from autograder import check, earlier, predict, progress, reveal
from course import methods


# %% nbgrader={"grade": false, "grade_id": "train_only", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_only(model: nn.Module, names: list[str]) -> tuple[int, int]:
    """Let only the named parts learn. How many numbers learn, and how many there are.

    A name stands for a parameter, as model.named_parameters() writes it, or for a module: then
    for all parameters inside it. Afterwards exactly these ask for a gradient, whatever was set
    before. A weight that the model uses in two places, under two names, counts once, and
    learns where either name is given. A name that stands for nothing raises a ValueError, and
    then nothing is changed.
    """
    ### BEGIN SOLUTION
    learning = set()
    for name in names:
        found = [
            weight for key, weight in model.named_parameters(remove_duplicate=False)
            if key == name or key.startswith(f"{name}.")
        ]  # fmt: skip
        if not found:
            raise ValueError(f"nothing in this model is called {name}")
        learning.update(map(id, found))
    for weight in model.parameters():
        weight.requires_grad_(id(weight) in learning)
    sizes = [(weight.requires_grad, weight.numel()) for weight in model.parameters()]
    return sum(size for learns, size in sizes if learns), sum(size for _, size in sizes)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_only_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("train_only", train_only)


# %% nbgrader={"grade": false, "grade_id": "low_rank", "locked": false, "schema_version": 3, "solution": true, "task": false}
def low_rank(update: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two factors B and A whose product is the matrix of this rank nearest to the update.

    update: (d_out, d_in). rank: from 1 to the smaller of the two. Nearest: the sum of the
    squared differences is least. B: (d_out, rank), A: (rank, d_in), and their sizes are
    balanced: BᵀB and AAᵀ are equal. Both come back as new tensors.
    """
    ### BEGIN SOLUTION
    u, s, vt = torch.linalg.svd(update, full_matrices=False)
    root = s[:rank].sqrt()  # (rank,)
    return u[:, :rank] * root, root[:, None] * vt[:rank]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "low_rank_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("low_rank", low_rank)


# %% nbgrader={"grade": false, "grade_id": "lora_linear", "locked": false, "schema_version": 3, "solution": true, "task": false}
def lora_linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
    A: torch.Tensor, B: torch.Tensor, alpha: float,
    dropout: float = 0.0, training: bool = False,
) -> torch.Tensor:  # fmt: skip
    """What a linear layer with factors beside its weight gives for x, (..., d_out).

    x: (..., d_in); weight: (d_out, d_in); bias: (d_out,), or None; A: (rank, d_in); B: (d_out,
    rank). In training each number of x that the factors are given is zeroed with probability
    dropout, and the others are divided by 1 - dropout; what the frozen weight is given stays
    whole. Outside training nothing is dropped. No matrix of the size of the weight is made on
    the way. Gradients flow to x, A and B, and not to weight and bias, even where these would
    let them.
    """
    ### BEGIN SOLUTION
    frozen = F.linear(x, weight.detach(), None if bias is None else bias.detach())
    beside = F.dropout(x, dropout, training) @ A.T @ B.T  # (..., d_out)
    return frozen + alpha / len(A) * beside
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lora_linear_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("lora_linear", lora_linear)


# %% nbgrader={"grade": false, "grade_id": "add_lora", "locked": false, "schema_version": 3, "solution": true, "task": false}
def add_lora(
    model: nn.Module, targets: list[str], rank: int, make, generator: torch.Generator
) -> list[str]:
    """Put factors beside the chosen linear layers of a model. The names of these layers.

    targets: the last parts of names, such as "q_proj" of "layers.0.q_proj". Each nn.Linear so
    called is replaced by make(linear, A, B); other kinds of modules stay, and so does what is
    inside a new layer. A (rank, d_in) and B (d_out, rank) are new parameters; A is drawn with
    the generator, uniformly between -1/sqrt(d_in) and 1/sqrt(d_in), and B is such that the
    model computes what it did before. Afterwards the factors learn, and nothing else does.
    Names: in the order of model.named_modules(). Raises a ValueError where no layer is called
    so.
    """
    ### BEGIN SOLUTION
    chosen = [
        (name, layer) for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and name.split(".")[-1] in targets
    ]  # fmt: skip
    if not chosen:
        raise ValueError(f"no linear layer is called {' or '.join(targets)}")
    model.requires_grad_(False)
    for name, linear in chosen:
        d_out, d_in = linear.weight.shape
        drawn = torch.rand(rank, d_in, generator=generator)  # (rank, d_in), from 0 to 1
        A = nn.Parameter((2 * drawn - 1) / d_in**0.5)
        B = nn.Parameter(torch.zeros(d_out, rank))
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, make(linear, A, B))
    return [name for name, _ in chosen]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "add_lora_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("add_lora", add_lora)


# %% nbgrader={"grade": false, "grade_id": "set_merged", "locked": false, "schema_version": 3, "solution": true, "task": false}
def set_merged(layer: nn.Module, merged: bool) -> bool:
    """Merge a layer's factors into its weight, or take them out. Whether that was still to do.

    layer has weight (d_out, d_in), A (rank, d_in), B (d_out, rank), alpha, and merged, which
    says whether the weight holds the update already. Afterwards layer.merged is as asked for,
    and the weight holds the update exactly if it is. The weight is changed in place: the layer
    keeps the same parameter, which asks for a gradient exactly if it did before. A and B stay.
    """
    ### BEGIN SOLUTION
    if layer.merged == merged:
        return False
    update = layer.alpha / len(layer.A) * layer.B @ layer.A  # (d_out, d_in)
    with torch.no_grad():
        layer.weight += update if merged else -update
    layer.merged = merged
    return True
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "set_merged_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("set_merged", set_merged)


# %% nbgrader={"grade": false, "grade_id": "linear_costs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def linear_costs(tokens: int, d_in: int, d_out: int, rank: int | None = None) -> dict[str, int]:
    """What one training step costs in a linear layer without bias, inside of a model.

    The input is (tokens, d_in), and the layers before it need its gradient. Without a rank the
    weight itself learns. With a rank the weight is frozen, and factors A (rank, d_in) and B
    (d_out, rank) beside it learn, which are not merged; there is no dropout. Counted are

    "forward", "backward": the multiplications in products of matrices;
    "weights": the numbers of all weights, frozen ones too;
    "gradients": the numbers of their gradients;
    "optimizer": the numbers that AdamW keeps, two for each that learns;
    "activations": the numbers kept from the forward pass because the backward pass needs them,
    besides weights. What two products need is kept once.
    """
    ### BEGIN SOLUTION
    whole = tokens * d_in * d_out
    if rank is None:
        learns, forward, backward, kept = d_in * d_out, whole, 2 * whole, tokens * d_in
    else:
        learns = rank * (d_in + d_out)
        forward = whole + tokens * learns
        backward = whole + 2 * tokens * learns  # the gradient of x goes through the weight
        kept = tokens * (d_in + rank)  # x and A x
    weights = d_in * d_out + (0 if rank is None else learns)
    return {
        "forward": forward, "backward": backward, "weights": weights,
        "gradients": learns, "optimizer": 2 * learns, "activations": kept,
    }  # fmt: skip
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "linear_costs_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("linear_costs", linear_costs)


# %% nbgrader={"grade": false, "grade_id": "fine_tune", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fine_tune(
    model: nn.Module, batches: list[dict], lr: float, weight_decay: float = 0.0
) -> list[float]:
    """Train what asks for a gradient, one update a batch, with AdamW. The loss of each batch.

    A batch has input_ids, attention_mask and labels, all (batch, seq), labels as ever: not
    shifted, -100 where nothing is supervised. Its loss is the mean of -log p over its
    supervised tokens, before its update. Update s of n, counted from 0, has the learning rate
    lr * min(1, (s + 1) / 5) * (1 - s / n); the norm of all gradients together is at most 1.
    Other settings of AdamW are torch's own. What does not ask for a gradient stays bit for bit
    as it was, also with weight decay. The model is in training mode during the updates, and in
    evaluation mode afterwards.
    """
    ### BEGIN SOLUTION
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=lr, weight_decay=weight_decay)
    losses = []
    model.train()
    for s, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = lr * min(1, (s + 1) / 5) * (1 - s / len(batches))
        ids, mask, labels = (batch[k] for k in ("input_ids", "attention_mask", "labels"))
        logits = model(input_ids=ids, attention_mask=mask).logits  # (batch, seq, vocab)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "fine_tune_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("fine_tune", fine_tune)


# %% nbgrader={"grade": false, "grade_id": "dora_weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dora_weight(
    weight: torch.Tensor, A: torch.Tensor, B: torch.Tensor,
    alpha: float, magnitude: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """DoRA's weight, (d_out, d_in).

    weight: (d_out, d_in), the frozen one; A: (rank, d_in); B: (d_out, rank); magnitude:
    (d_out,). Each row has the direction of the same row of the weight that LoRA would give,
    and the length that magnitude says. Gradients flow to A, B and magnitude. As in the paper,
    the length by which a row is divided counts as a constant there.
    """
    ### BEGIN SOLUTION
    rows = weight.detach() + alpha / len(A) * B @ A  # (d_out, d_in)
    lengths = rows.detach().norm(dim=1)  # (d_out,)
    return (magnitude / lengths)[:, None] * rows
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "dora_weight_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("dora_weight", dora_weight)


# %% nbgrader={"grade": false, "grade_id": "prefix_logits", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefix_logits(
    model, prefix: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """The logits of a model with keys and values before each row, (batch, seq, vocab).

    prefix: (layers, 2, heads, p, head_dim): for each layer the keys, then the values, of p
    places that every token of every row attends to. input_ids, attention_mask: (batch, seq);
    padding may stand on either side. The first real token of each row has the position p, the
    next one p + 1, and so on. Only the logits of real tokens matter. Gradients flow to the
    prefix.
    """
    ### BEGIN SOLUTION
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(prefix):  # (heads, p, head_dim) each
        both = (x.expand(len(input_ids), -1, -1, -1) for x in (keys, values))
        cache.update(*both, layer)
    places = prefix.shape[3]
    mask = F.pad(attention_mask, (places, 0), value=1)  # (batch, p + seq)
    positions = (mask.cumsum(1) - 1)[:, places:]  # (batch, seq)
    read = model(
        input_ids=input_ids, attention_mask=mask, position_ids=positions, past_key_values=cache
    )
    return read.logits
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "prefix_logits_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("prefix_logits", prefix_logits)


# %% nbgrader={"grade": false, "grade_id": "cayley", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cayley(entries: torch.Tensor) -> torch.Tensor:
    """Orthogonal matrices (n, b, b) from numbers that may be anything.

    entries: (n, b (b - 1) / 2): for each matrix the entries of a skew-symmetric S that stand
    above its diagonal, row by row. The matrix is Q = (I + S) (I - S)⁻¹. Gradients flow to
    the entries.
    """
    ### BEGIN SOLUTION
    n, count = entries.shape
    b = round((1 + (1 + 8 * count) ** 0.5) / 2)
    rows, columns = torch.triu_indices(b, b, 1)
    upper = torch.zeros(n, b, b, dtype=entries.dtype, device=entries.device)
    upper[:, rows, columns] = entries
    skew = upper - upper.mT
    one = torch.eye(b, dtype=entries.dtype, device=entries.device)
    return torch.linalg.solve(one - skew, one + skew)  # the two factors may change places
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "cayley_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("cayley", cayley)


# %% nbgrader={"grade": false, "grade_id": "rotate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rotate(
    x: torch.Tensor, blocks: torch.Tensor, distance: int = 1, chunk: int = 1
) -> torch.Tensor:
    """Apply small matrices to groups of numbers in the last dimension of x. The shape stays.

    x: (..., d); blocks: (n, b, b) with n b = d. The d numbers are cut into pieces of `chunk`
    neighbours; chunk divides b, and b * distance divides d. A group is b / chunk pieces, each
    `distance` pieces behind the last one; each piece is in one group. The groups are in the
    order of their first pieces. Block i is multiplied with the numbers of group i, and the
    products go to the places that these numbers had.
    """
    ### BEGIN SOLUTION
    n, b, _ = blocks.shape
    pieces = x.unflatten(-1, (n // distance, b // chunk, distance, chunk))
    groups = pieces.transpose(-3, -2).flatten(-4, -3).flatten(-2)  # (..., n, b)
    turned = torch.einsum("nij,...nj->...ni", blocks, groups)
    turned = turned.unflatten(-1, (b // chunk, chunk)).unflatten(-3, (n // distance, distance))
    return turned.transpose(-3, -2).flatten(-4)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rotate_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("rotate", rotate)


# %% nbgrader={"grade": false, "grade_id": "compress_updates", "locked": false, "schema_version": 3, "solution": true, "task": false}
def compress_updates(
    updates: list[torch.Tensor], inputs: list[torch.Tensor], budget: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each update two factors B and A, so that together they keep much of what it does.

    updates: one (d_out, d_in) a layer. inputs: what the layer is given, one (tokens, d_in) a
    layer; an update adds inputs @ update.T to what the layer gives. B (d_out, rank) and A
    (rank, d_in) stand in its place; the rank may be another one in each layer, and 0. All
    factors together hold at most `budget` numbers.
    """
    ### BEGIN SOLUTION
    # The error of the outputs is |(update - B A) S|², with S S = E[x xᵀ]: so take the nearest
    # matrix to update S, and undo S. Then buy ranks, the one that keeps most a number first.
    parts, offers = [], []
    for layer, (update, x) in enumerate(zip(updates, inputs)):
        moments = x.double().T @ x.double() / len(x)  # (d_in, d_in)
        values, axes = torch.linalg.eigh(moments)
        root = values.clamp(min=1e-9).sqrt()
        u, s, vt = torch.linalg.svd(update.double() @ (axes * root), full_matrices=False)
        parts.append((u * s, vt / root @ axes.T))
        price = sum(update.shape)
        offers += [(gain / price, layer, price) for gain in s.square().tolist()]
    ranks = [0] * len(updates)
    for _, layer, price in sorted(offers, reverse=True):
        if price <= budget:
            ranks[layer] += 1
            budget -= price
    return [(B[:, :r].float(), A[:r].float()) for r, (B, A) in zip(ranks, parts)]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "compress_updates_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("compress_updates", compress_updates)
