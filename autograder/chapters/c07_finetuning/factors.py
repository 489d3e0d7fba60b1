"""Probes of chapter 07's first part: what learns, low rank, LoRA's layer, its merging, its costs, and the training loop."""

import contextlib

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from autograder.chapters.probing import as_number, as_pair, as_tensor, gradient_norm, in_groups, plain_losses, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "07_finetuning"


def _drawn(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=seeded(seed))


# ---------------------------------------------------------------------------------------------------------------------
train_only = Exercise("train_only", TOPIC, "Exercise 1: what learns", trains=True)


class _Tied(nn.Module):
    """Twelve small layers, and an embedding whose weight is also that of the last layer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 3)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3, bias=False)) for _ in range(12))
        self.norm, self.last_norm, self.head = nn.LayerNorm(3), nn.LayerNorm(3), nn.Linear(3, 7, bias=False)
        self.head.weight = self.embed.weight


def _learning(model: nn.Module) -> str:
    return " ".join(name for name, weight in model.named_parameters() if weight.requires_grad)


def _counted(answer, model: nn.Module, names: list[str]) -> dict:
    found = as_pair(answer(model, names), "how many numbers learn and how many there are")
    what = ("The number that learn", "The number of all")
    counts = [as_number(number, says) for number, says in zip(found, what, strict=True)]
    return {"numbers_that_learn": counts[0], "numbers_in_all": counts[1], "parameters_that_learn": _learning(model)}


@train_only.case
def some_layers_and_a_norm(answer, seed):
    """Two layers and a norm: these learn, and nothing else."""
    first = seed % 3
    return _counted(answer, _Tied(), [f"layers.{3 + first}", "norm", f"layers.{7 + first}"])


@train_only.case
def one_parameter_of_a_layer(answer, seed):
    """A name may be that of a single parameter, such as "layers.4.0.bias"."""
    return _counted(answer, _Tied(), [f"layers.{4 + seed % 3}.0.bias", "norm.weight", "last_norm.bias"])


@train_only.case
def names_that_begin_alike(answer, seed):
    """"layers.1" is one layer, and not layers.10 and layers.11 as well."""
    model = _Tied()
    return _counted(answer, model, ["layers.1", "layers.0.1"]) | {"seed": seed}


@train_only.case
def a_weight_in_two_places(answer, seed):
    """Embedding and last layer share their weight: it learns where either is named, and counts once."""
    first, second = _counted(answer, _Tied(), ["head", "norm"]), _counted(answer, _Tied(), ["embed", "head"])
    return first | {f"{name}_where_both_are_named": value for name, value in second.items()} | {"seed": seed}


@train_only.case
def what_was_set_before(answer, seed):
    """Some parameters learned before, and others were frozen: only the names count now."""
    model = _Tied().requires_grad_(False)
    for i in range(0, 12, 2 + seed % 2):
        model.layers[i].requires_grad_(True)
    return _counted(answer, model, ["layers.5.0", "layers.6"])


@train_only.case
def a_name_of_nothing(answer, seed):
    """A name that stands for nothing raises a ValueError, and nothing is changed then."""
    model = _Tied()
    model.layers[seed % 3].requires_grad_(False)
    before = _learning(model)
    try:
        answer(model, ["layers.7", f"layers.{12 + seed % 5}"])
        raised = ""
    except ValueError:
        raised = "ValueError"
    return {"raised": raised, "something_was_changed": _learning(model) != before}


# ---------------------------------------------------------------------------------------------------------------------
fine_tune = Exercise("fine_tune", TOPIC, "Exercise 2: the training loop", trains=True)

_VOCAB = 11


class _Reader(nn.Module):
    """A small language model with a frozen table, and an unused weight that learns. Its logits are doubled outside training."""

    def __init__(self, seed: int, learns: tuple[str, ...] = ("head", "bias")):
        super().__init__()
        self.table, self.head = nn.Parameter(_drawn(seed, _VOCAB, 6)), nn.Parameter(_drawn(seed + 1, 6, _VOCAB))
        self.bias = nn.Parameter(_drawn(seed + 2, _VOCAB))
        self.device = torch.device("cpu")
        self.modes: list[bool] = []
        for name, weight in self.named_parameters():
            weight.requires_grad_(name in learns)

    def forward(self, input_ids, attention_mask=None, **more):
        from types import SimpleNamespace

        self.modes.append(self.training)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        read = self.table[input_ids] * mask[..., None]  # (batch, seq, 6)
        seen = read.cumsum(1) / mask.cumsum(1).clamp(min=1)[..., None]
        logits = (seen + read) @ self.head + self.bias
        return SimpleNamespace(logits=logits if self.training else 2 * logits)


def _batches(seed: int, updates: int, rows: int = 3, seq: int = 7) -> list[dict]:
    found = []
    for i in range(updates):
        g = seeded(1000 * seed + i)
        ids = torch.randint(_VOCAB, (rows, seq), generator=g)
        lengths = torch.randint(4, seq + 1, (rows,), generator=g)
        mask = (torch.arange(seq) < lengths[:, None]).long()
        mask = mask.flip(1) if i % 2 else mask  # padding on either side
        labels = ids.masked_fill(torch.arange(seq) < 1 + i % 3, -100).masked_fill(mask == 0, -100)
        found.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
    return found


def _tuned(answer, model: _Reader, batches: list[dict], *given, **named) -> dict:
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    losses = plain_losses(answer(model, batches, *given, **named), "fine_tune", "one a batch")
    moved = [name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])]
    return {"losses": losses, "weights_that_moved": " ".join(moved), "_sizes": {"the number of batches": len(batches)}}


@fine_tune.case
def several_updates(answer, seed):
    """Nine updates: the losses, and which weights have moved."""
    return _tuned(answer, _Reader(seed), _batches(seed, 9), 0.03)


@fine_tune.case
def the_rate_falls_to_the_end(answer, seed):
    """Fourteen updates with a large rate: it rises over the first five and then falls."""
    return _tuned(answer, _Reader(seed), _batches(seed, 14), 0.2)


@fine_tune.case
def another_part_learns(answer, seed):
    """Only the table learns: the rest stays bit for bit, also with weight decay."""
    return _tuned(answer, _Reader(seed, ("table",)), _batches(seed, 6), 0.05, 0.8)


@fine_tune.case
def weights_decay(answer, seed):
    """weight_decay=1.5, given by name: AdamW draws what learns towards 0."""
    return _tuned(answer, _Reader(seed), _batches(seed, 8), 0.1, weight_decay=1.5)


@fine_tune.case
def labels_that_are_rare(answer, seed):
    """Batches with few and with many supervised tokens: each loss is a mean over those of its batch."""
    batches = _batches(seed, 7)
    for batch in batches[::2]:
        batch["labels"][1:] = -100
    return _tuned(answer, _Reader(seed), batches, 0.05)


@contextlib.contextmanager
def _noting_norms(norms: list[float]):
    """Every update of AdamW notes the norm of the gradients that it is given."""
    step = torch.optim.AdamW.step

    def noting(self, *given, **named):
        norms.append(gradient_norm(self.param_groups))
        return step(self, *given, **named)

    torch.optim.AdamW.step = noting
    try:
        yield
    finally:
        torch.optim.AdamW.step = step


@fine_tune.case
def the_gradients_norm(answer, seed):
    """The norm of all gradients together is at most 1 where they are large, and stays as it is where they are small."""
    found: dict = {"large": [], "small": []}
    for name, size in (("large", 30.0), ("small", 0.02)):
        model = _Reader(seed)
        with torch.no_grad():
            model.table *= size
            model.bias *= size
        with _noting_norms(found[name]):
            answer(model, _batches(seed, 5), 0.01)
    return {f"norms_of_{name}_gradients": torch.tensor(norms) for name, norms in found.items()}


@fine_tune.case
def the_models_mode(answer, seed):
    """Training mode during the updates, evaluation mode afterwards, whatever it was before."""
    models = [_Reader(seed).train(mode) for mode in (False, True)]
    for model in models:
        answer(model, _batches(seed, 4), 0.01)
    return {
        "training_mode_in_each_call": torch.tensor([model.modes for model in models]),
        "training_mode_afterwards": torch.tensor([model.training for model in models]),
    }


@fine_tune.case
def gradients_from_before(answer, seed):
    """What gradients are there before the first update does not matter."""
    model = _Reader(seed)
    for weight in model.parameters():
        weight.grad = 5 * torch.ones_like(weight) if weight.requires_grad else None
    return _tuned(answer, model, _batches(seed, 6), 0.05)


# ---------------------------------------------------------------------------------------------------------------------
low_rank = Exercise("low_rank", TOPIC, "Exercise 3: an update of low rank", fresh=True)

_FACTORS = "the factors B and A"


def _approximated(answer, update: torch.Tensor, rank: int) -> dict:
    B, A = as_pair(answer(update, rank), _FACTORS)
    B, A = as_tensor(B, "B"), as_tensor(A, "A")
    if B.dim() != 2 or A.dim() != 2 or B.shape[1] != A.shape[0]:
        raise Unexpected(
            f"B (d_out, rank) and A (rank, d_in) can be multiplied; yours have the shapes {tuple(B.shape)} and {tuple(A.shape)}."
        )
    size = float(update.abs().max())
    return {
        "shape_of_B": str(tuple(B.shape)), "shape_of_A": str(tuple(A.shape)), "product_BA": (B @ A) / size,
        "BᵀB_and_AAᵀ_are_equal": bool((B.T @ B - A @ A.T).abs().max() < 1e-3 * size),
    }  # fmt: skip


@low_rank.case
def a_tall_update(answer, seed):
    """Nine rows, five columns, rank 2."""
    return _approximated(answer, _drawn(seed, 9, 5), 2)


@low_rank.case
def a_wide_update(answer, seed):
    """Four rows, eleven columns, rank 3."""
    return _approximated(answer, _drawn(seed, 4, 11), 3)


@low_rank.case
def rank_one(answer, seed):
    """Rank 1: a column times a row."""
    return _approximated(answer, _drawn(seed, 6, 7), 1)


@low_rank.case
def the_whole_rank(answer, seed):
    """As many columns as the update has: the product is the update itself."""
    return _approximated(answer, _drawn(seed, 5, 8), 5)


@low_rank.case
def fewer_than_asked_for(answer, seed):
    """The update has the rank 2, and rank 4 is asked for: the product is the update."""
    return _approximated(answer, _drawn(seed, 7, 2) @ _drawn(seed + 1, 2, 6), 4)


@low_rank.case
def tiny_numbers(answer, seed):
    """An update of numbers near 1e-6, as fine-tuning makes them: the same, only smaller."""
    return _approximated(answer, _drawn(seed, 6, 5, scale=1e-6), 2)


# ---------------------------------------------------------------------------------------------------------------------
lora_linear = Exercise(
    "lora_linear", TOPIC, "Exercise 4: factors beside a weight", gradients={"x": 0, "weight": 1, "bias": 2, "A": 3, "B": 4}
)


def _layer(seed: int, d_in: int, d_out: int, rank: int) -> list[torch.Tensor]:
    """weight, bias, A and B."""
    shapes = ((d_out, d_in), (d_out,), (rank, d_in), (d_out, rank))
    return [_drawn(10 * seed + i, *shape) for i, shape in enumerate(shapes)]


@lora_linear.case
def a_batch_of_rows(answer, seed):
    """x (2, 3, 5), seven numbers out, rank 2, alpha 3."""
    return {"result": as_tensor(answer(_drawn(seed, 2, 3, 5), *_layer(seed, 5, 7, 2), 3.0), "The result")}


@lora_linear.case
def the_rank_in_the_scale(answer, seed):
    """Rank 3, alpha 6: what stands beside the weight counts alpha / rank times."""
    return {"result": as_tensor(answer(_drawn(seed, 4, 8), *_layer(seed, 8, 5, 3), 6.0), "The result")}


@lora_linear.case
def as_many_in_as_out(answer, seed):
    """Four numbers in, four out, rank 4: all matrices are square, and nothing fails if two are mixed up."""
    return {"result": as_tensor(answer(_drawn(seed, 3, 4), *_layer(seed, 4, 4, 4), 2.0), "The result")}


@lora_linear.case
def a_single_vector(answer, seed):
    """x may be one vector, and bias None."""
    weight, _, A, B = _layer(seed, 6, 4, 2)
    return {"result": as_tensor(answer(_drawn(seed, 6), weight, None, A, B, 1.0), "The result")}


@lora_linear.case
def dropout_outside_training(answer, seed):
    """dropout=0.5 and training=False, or either one alone by name: nothing is dropped."""
    x, layer = _drawn(seed, 4, 8), _layer(seed, 8, 5, 3)
    alone = {"with_dropout_alone": {"dropout": 0.5}, "with_training_alone": {"training": True}}
    given = {"result": {"dropout": 0.5, "training": False}} | alone
    return {name: as_tensor(answer(x, *layer, 6.0, **named), "The result") for name, named in given.items()}


@lora_linear.case
def the_frozen_part_stays_whole(answer, seed):
    """In training, with factors of zeros: what the frozen weight is given is never dropped."""
    weight, bias, A, B = _layer(seed, 6, 5, 2)
    return {"result": as_tensor(answer(_drawn(seed, 9, 6), weight, bias, A, 0 * B, 4.0, 0.4, True), "The result")}


@lora_linear.case(rule="means")
def dropout_in_training(answer, seed):
    """In training: each number of x is dropped by itself, and the mean over many calls is what it is without dropout."""
    # Two halves of x that nearly cancel in A: what is dropped before A, behind it or of everything then spreads differently, for
    # every seed; with numbers as they come, some make the same of all three.
    x, (weight, _, A, B) = _drawn(seed, 1, 4), _layer(seed, 4, 3, 2)
    x, A = torch.cat([x[:, :2], 0.7 * x[:, :2]], dim=1), torch.cat([A[:, :2], -A[:, :2]], dim=1)
    found = as_tensor(answer(x.repeat(24_000, 1), weight, None, A, B, 2.0, 0.3, True), "The result").detach()
    return {"result_draws": in_groups(found, 400), "squared_draws": in_groups(found.square(), 400)}


@lora_linear.case
def gradients_of_the_factors(answer, seed):
    """The gradients of A, B and x."""
    x, (weight, bias, A, B) = _drawn(seed, 5, 4), _layer(seed, 4, 6, 2)
    learning = [t.requires_grad_() for t in (A, B, x)]
    found = as_tensor(answer(x, weight, bias, A, B, 3.0), "The result")
    if not found.requires_grad:
        raise Unexpected("The result is cut off from A, B and x: no gradient flows. Look for .item(), .detach() or .data.")
    found = torch.autograd.grad((found * _drawn(seed + 1, 5, 6)).sum(), learning, allow_unused=True)
    return {
        f"gradient_of_{name}": torch.zeros_like(t) if g is None else g
        for name, t, g in zip(("A", "B", "x"), learning, found, strict=True)
    }


class _Largest(TorchDispatchMode):
    """Notes the size of the largest tensor of numbers that is computed. (Copies are made by who watches the arguments.)"""

    def __init__(self, *known: torch.Tensor):
        super().__init__()
        self.known, self.size = {t.untyped_storage().data_ptr() for t in known}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for t in result if isinstance(result, (tuple, list)) else (result,):
            computed = isinstance(t, torch.Tensor) and t.is_floating_point() and func is not torch.ops.aten.clone.default
            if computed and t.untyped_storage().data_ptr() not in self.known:
                self.size = max(self.size, t.numel())
        return result


@lora_linear.case
def no_large_matrix(answer, seed):
    """No matrix of the size of the weight is made on the way: three rows, 40 numbers in, 50 out."""
    x, layer = _drawn(seed, 3, 40), _layer(seed, 40, 50, 2)
    with _Largest(x, *layer) as seen:
        result = as_tensor(answer(x, *layer, 2.0), "The result")
    return {"result": result, "a_matrix_of_that_size_was_made": seen.size >= 40 * 50}


# ---------------------------------------------------------------------------------------------------------------------
add_lora = Exercise("add_lora", TOPIC, "Exercise 5: into a model", trains=True)


class _Beside(nn.Module):
    """What a probe puts in the place of a linear layer. It has a linear layer inside, which is called as a target may be."""

    def __init__(self, linear, A, B):
        super().__init__()
        self.down, self.A, self.B = linear, A, B

    def forward(self, x):
        return self.down(x) + x @ self.A.T @ self.B.T


class _Block(nn.Module):
    def __init__(self, seed: int):
        super().__init__()
        self.up, self.gate, self.down, self.norm = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 4, bias=False), nn.LayerNorm(4)
        self.q = nn.Embedding(3, 4)  # no linear layer, though it may be called like one
        with torch.no_grad():
            for i, weight in enumerate(self.parameters()):
                weight.copy_(_drawn(100 * seed + i, *weight.shape))

    def forward(self, x):
        return x + self.down(self.up(self.norm(x)) * self.gate(x))


class _Stack(nn.Module):
    """Two blocks and a last layer, `up`, whose name ends like that of a part of the blocks."""

    def __init__(self, seed: int):
        super().__init__()
        self.blocks = nn.ModuleList([_Block(seed), _Block(seed + 1)])
        self.up = nn.Linear(4, 5)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.up(x)


def _factors_in(model: nn.Module) -> list[tuple[str, _Beside]]:
    return [(name, part) for name, part in model.named_modules() if isinstance(part, _Beside)]


def _with_lora(answer, model: nn.Module, seed: int, targets: list[str], rank: int) -> dict:
    x = _drawn(seed, 3, 4)
    before = model(x).detach()
    names = answer(model, targets, rank, _Beside, seeded(seed))
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise Unexpected(f"A list of names should come back; your function returned {type(names).__name__}.")
    found = _factors_in(model)
    shapes = [f"{name}: A {tuple(part.A.shape)}, B {tuple(part.B.shape)}" for name, part in found]
    return {
        "names": " ".join(names), "new_layers": "; ".join(shapes), "parameters_that_learn": _learning(model),
        "model_computes_what_it_did": bool((model(x) - before).abs().max() < 1e-5),
    }  # fmt: skip


@add_lora.case
def one_kind_of_layer(answer, seed):
    """The layers called down, in both blocks: their names, their factors, what learns, and that nothing else has changed."""
    return _with_lora(answer, _Stack(seed), seed, ["down"], 2)


@add_lora.case
def two_kinds_of_layers(answer, seed):
    """"up" and "gate": also the last layer of the model, which is called up."""
    return _with_lora(answer, _Stack(seed), seed, ["gate", "up"], 3)


@add_lora.case
def something_else_of_that_name(answer, seed):
    """An embedding is called q, as one of the targets: it stays."""
    return _with_lora(answer, _Stack(seed), seed, ["q", "gate"], 1)


@add_lora.case
def a_model_that_was_frozen_in_part(answer, seed):
    """Some weights were frozen before, others were not: afterwards the factors learn, and nothing else."""
    model = _Stack(seed)
    model.blocks[seed % 2].requires_grad_(False)
    return _with_lora(answer, model, seed, ["down"], 1)


@add_lora.case
def both_factors_can_begin_to_learn(answer, seed):
    """The product of the factors is 0 at the start, and yet a gradient arrives at B."""
    model = _Stack(seed)
    answer(model, ["up", "down"], 2, _Beside, seeded(seed))
    found = _factors_in(model)
    (model(_drawn(seed, 5, 4)) ** 2).sum().backward()
    arrives = [part.B.grad is not None and bool(part.B.grad.abs().sum() > 0) for _, part in found]
    products = [bool(((part.B @ part.A).detach().abs() < 1e-6).all()) for _, part in found]
    return {
        "new_layers": len(found), "a_gradient_arrives": all(arrives) and bool(arrives), "products_are_0": all(products),
        "B_is_0": all(bool((part.B == 0).all()) for _, part in found),
    }  # fmt: skip


@add_lora.case(rule="means")
def how_A_is_drawn(answer, seed):
    """A is uniform between -1/sqrt(d_in) and 1/sqrt(d_in): its mean, its spread and its largest number, in layers of 4 and 6."""
    model = _Stack(seed)
    answer(model, ["gate", "down"], 1500, _Beside, seeded(seed))
    drawn = {part.A.shape[1]: part.A.detach() for _, part in _factors_in(model)}
    if set(drawn) != {4, 6}:
        raise Unexpected("Each layer called gate or down should be what make(linear, A, B) gives, with A (rank, d_in).")
    found = {f"A_{d_in}_draws": in_groups(A, 30) for d_in, A in drawn.items()}
    found |= {f"squared_{d_in}_draws": in_groups(A**2, 30) for d_in, A in drawn.items()}
    bounds = {f"largest_of_{d_in}_is_below_the_bound": bool(A.abs().max() <= d_in**-0.5 + 1e-6) for d_in, A in drawn.items()}
    return found | bounds


@add_lora.case
def each_layer_draws_its_own(answer, seed):
    """Two layers of one size have different factors A, the generator decides which, and torch's own stays where it was."""
    drawn = []
    for start in (seed, seed, seed + 1):
        model = _Stack(seed)
        torch.manual_seed(len(drawn))
        answer(model, ["gate"], 2, _Beside, seeded(start))
        drawn.append([part.A.detach() for _, part in _factors_in(model)])
    first, again, other = drawn
    if not len(first) == len(again) == len(other) == 2:
        raise Unexpected("Each layer called gate should be what make(linear, A, B) gives.")
    same = [torch.equal(a, b) for a, b in zip(first, again, strict=True)]
    return {"two_layers_alike": torch.equal(*first), "same_generator_same_A": all(same),
            "other_generator_same_A": torch.equal(first[0], other[0])}  # fmt: skip


@add_lora.case
def no_layer_of_that_name(answer, seed):
    """Raises a ValueError where no linear layer is called so."""
    try:
        answer(_Stack(seed), ["side", "q"], 2, _Beside, seeded(seed))
        raised = ""
    except ValueError:
        raised = "ValueError"
    return {"raised": raised}


# ---------------------------------------------------------------------------------------------------------------------
set_merged = Exercise("set_merged", TOPIC, "Exercise 6: merged", plain=True, trains=True)


class _Merging(nn.Module):
    """A layer with factors beside its weight."""

    def __init__(self, seed: int, merged: bool, learns: bool = False, d_in: int = 5, d_out: int = 7, rank: int = 2):
        super().__init__()
        weight, _, A, B = _layer(seed, d_in, d_out, rank)
        self.weight, self.A, self.B = nn.Parameter(weight, learns), nn.Parameter(A), nn.Parameter(B)
        self.alpha, self.merged = 3.0, merged


def _yes_or_no(value) -> bool:
    if not isinstance(value, bool):
        raise Unexpected(f"True or False should come back: whether something was to do. What came is {type(value).__name__}.")
    return value


def _merging(answer, layer: _Merging, *asked: bool) -> dict:
    weight, factors = layer.weight, [layer.A.detach().clone(), layer.B.detach().clone()]
    was_to_do = [_yes_or_no(answer(layer, merged)) for merged in asked]
    return {
        "weight": layer.weight.detach().clone(), "merged": str(layer.merged), "was_to_do": torch.tensor(was_to_do),
        "the_same_parameter": layer.weight is weight, "asks_for_a_gradient": layer.weight.requires_grad,
        "a_graph_hangs_on_it": layer.weight.grad_fn is not None,
        "factors_stay": torch.equal(layer.A, factors[0]) and torch.equal(layer.B, factors[1]),
    }  # fmt: skip


@set_merged.case
def to_be_merged(answer, seed):
    """A layer that is not merged: its weight holds the update afterwards."""
    return _merging(answer, _Merging(seed, False), True)


@set_merged.case
def to_be_taken_out(answer, seed):
    """A merged layer: the update is taken out of its weight."""
    return _merging(answer, _Merging(seed, True), False)


@set_merged.case
def asked_for_twice(answer, seed):
    """Merging twice adds the update once."""
    return _merging(answer, _Merging(seed, False), True, True)


@set_merged.case
def nothing_to_take_out(answer, seed):
    """A layer that is not merged is to be unmerged: its weight stays, and False comes back."""
    return _merging(answer, _Merging(seed, False), False, True)


@set_merged.case
def there_and_back(answer, seed):
    """Merged and unmerged: the weight is again what it was."""
    layer = _Merging(seed, False)
    before = layer.weight.detach().clone()
    found = _merging(answer, layer, True, False)
    return {k: found[k] for k in ("merged", "was_to_do")} | {"as_before": bool((layer.weight - before).abs().max() < 1e-4)}


@set_merged.case
def all_square(answer, seed):
    """Four numbers in, four out, rank 4: nothing fails if two matrices are mixed up."""
    return _merging(answer, _Merging(seed, False, d_in=4, d_out=4, rank=4), True)


@set_merged.case
def a_weight_that_learns(answer, seed):
    """The weight asks for a gradient, and does so afterwards; no graph hangs on it."""
    return _merging(answer, _Merging(seed, False, learns=True), True)


# ---------------------------------------------------------------------------------------------------------------------
linear_costs = Exercise("linear_costs", TOPIC, "Exercise 7: what it costs", plain=True)

_COSTS = ("forward", "backward", "weights", "gradients", "optimizer", "activations")


def _costs(found) -> dict:
    if not isinstance(found, dict) or set(found) != set(_COSTS):
        kind = f"one with {', '.join(map(str, found))}" if isinstance(found, dict) else f"a {type(found).__name__}"
        raise Unexpected(f"A dictionary with the keys {', '.join(_COSTS)} should come back; yours is {kind}.")
    return {name: as_number(found[name], f'"{name}"') for name in _COSTS}


@linear_costs.case
def the_weight_learns(answer, seed):
    """Without a rank: 96 tokens, 48 numbers in, 80 out, or near it."""
    return _costs(answer(96 + seed % 7, 48, 80))


@linear_costs.case
def factors_learn(answer, seed):
    """Rank 3 beside a frozen weight."""
    return _costs(answer(64 + seed % 5, 40, 56, 3))


@linear_costs.case
def more_in_than_out(answer, seed):
    """More numbers in than out, rank 5, given by name; and the same without a rank."""
    tokens = 30 + seed % 11
    whole = _costs(answer(tokens, 352, 128))
    return _costs(answer(tokens, 352, 128, rank=5)) | {f"{name}_without_a_rank": value for name, value in whole.items()}


@linear_costs.case
def a_rank_of_one(answer, seed):
    """Rank 1, and a single token."""
    return _costs(answer(1, 20 + seed % 3, 30, 1))
