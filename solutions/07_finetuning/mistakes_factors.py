"""Wrong answers to chapter 07's first part: what learns, low rank, LoRA, its costs, and the loop. Each text is the hint that the
student reads: what was done, why it is wrong, where to look."""

import torch
import torch.nn.functional as F
from torch import nn

from autograder.judging.catalogue import changes

# --- Exercise 1: what learns


def _train_only(model, names):
    wanted = []
    everything = list(model.named_parameters(remove_duplicate=False))
    for name in names:
        inside = [p for key, p in everything if key == name or key.startswith(name + ".")]
        if not inside:
            raise ValueError(name)
        wanted += inside
    model.requires_grad_(False)
    for p in wanted:
        p.requires_grad_(True)
    once = list(model.parameters())
    return sum(p.numel() for p in once if p.requires_grad), sum(p.numel() for p in once)


_RAISE = "if not inside:\n            raise ValueError(name)"

changes("train_only", _train_only, [
    ("names_that_begin_so", "A name of yours also catches names that merely begin with it: layers.10 is not inside layers.1. Compare with the "
     "dot behind the name.", 'key.startswith(name + ".")', "key.startswith(name)"),
    ("names_that_contain_it", "You look whether the name occurs anywhere in a parameter's name. It stands at its beginning, with a dot behind it.",
     'key == name or key.startswith(name + ".")', "name in key"),
    ("only_modules", "A name may be that of a single parameter, such as layers.4.0.bias.", 'key == name or key.startswith(name + ".")',
     'key.startswith(name + ".")'),
    ("only_parameters", "A name may be that of a module: then all parameters inside it learn.", 'key == name or key.startswith(name + ".")', "key == name"),
    ("tied_weight_counted_twice", "You count a weight that is used in two places twice. model.parameters() gives it once.",
     "once = list(model.parameters())", "once = [p for _, p in everything]"),
    ("second_name_unknown", "A weight that is used in two places has two names, and model.named_parameters() lists it under the first one alone. "
     "remove_duplicate=False lists both.", "model.named_parameters(remove_duplicate=False)", "model.named_parameters()"),
    ("what_learned_goes_on", "What asked for a gradient before still does. Freeze the rest.", "model.requires_grad_(False)", "pass"),
    ("the_rest_is_not_thawed", "You freeze what is not named, and leave what is named as it was: it may have been frozen before.",
     "p.requires_grad_(True)", "p.requires_grad_(p.requires_grad)", "model.requires_grad_(False)",
     "[q.requires_grad_(False) for q in model.parameters() if not any(q is p for p in wanted)]"),
    ("named_are_frozen", "You freeze what is named. It is to learn, and the rest is frozen.", "p.requires_grad_(True)", "p.requires_grad_(False)",
     "model.requires_grad_(False)", "model.requires_grad_(True)"),
    ("unknown_names_passed_over", "A name that stands for nothing should raise a ValueError: it is a slip of the pen more often than not.", _RAISE, "pass"),
    ("frozen_before_the_error", "You change the model before you know that all names are good. Look them all up first.",
     "wanted = []", "wanted = []\n    model.requires_grad_(False)"),
    ("tensors_counted", "You count parameters, that is tensors. How many *numbers* they hold is asked for: numel().",
     "return sum(p.numel() for p in once if p.requires_grad), sum(p.numel() for p in once)",
     "return sum(p.requires_grad for p in once), len(once)"),
    ("counts_exchanged", "The two counts are exchanged: what learns comes first.",
     "return sum(p.numel() for p in once if p.requires_grad), sum(p.numel() for p in once)",
     "return sum(p.numel() for p in once), sum(p.numel() for p in once if p.requires_grad)"),
    ("the_frozen_counted", "Your second number counts what is frozen. All numbers are asked for.",
     "sum(p.numel() for p in once)\n", "sum(p.numel() for p in once if not p.requires_grad)\n"),
])  # fmt: skip


# --- Exercise 2: an update of low rank


def _low_rank(update, rank):
    u, s, v = torch.svd(update)
    u, s, v = u[:, :rank], s[:rank], v[:, :rank]
    left, right = s.sqrt(), s.sqrt()
    return u * left, right[:, None] * v.T


changes("low_rank", _low_rank, [
    ("singular_values_twice", "You multiply both factors with the singular values, so that they stand in the product squared. Give each factor "
     "their square roots.", "s.sqrt(), s.sqrt()", "s, s"),
    ("singular_values_forgotten", "The singular values are missing from your product.", "s.sqrt(), s.sqrt()", "s**0, s**0"),
    ("all_in_one_factor", "The singular values all stand in one factor, so the two are not balanced: BᵀB should equal AAᵀ.", "s.sqrt(), s.sqrt()",
     "s, s**0"),
    ("factors_exchanged", "The factors are exchanged: B (d_out, rank) comes first.", "return u * left, right[:, None] * v.T",
     "return right[:, None] * v.T, u * left"),
    ("lecture_shapes", "Your second factor has the shape (d_in, rank), as in A Bᵀ. Here it is B A, with A (rank, d_in).",
     "right[:, None] * v.T", "(right[:, None] * v.T).T"),
    ("smallest_kept", "You keep the smallest singular values. The largest ones carry most of the update.",
     "u[:, :rank], s[:rank], v[:, :rank]", "u[:, -rank:], s[-rank:], v[:, -rank:]"),
    ("first_columns", "You take the first columns of the update itself, or the first rows. The nearest matrix is made of singular vectors.",
     "torch.svd(update)", "(torch.eye(len(update)), torch.ones(rank), update.T[:, :len(update)])"),
    ("one_too_few", "Your product has one rank too few.", "s[:rank]", "s[:rank] * (torch.arange(rank) < rank - 1 + (rank == 1) * (s[1] > 2))"),
    ("v_not_transposed", "torch.linalg.svd gives V transposed, torch.svd gives V: one of the two is mixed up in your product.",
     "torch.svd(update)", "_v_of_linalg(update)"),
    ("signs_lost", "You took the absolute values of the singular vectors. Their signs belong to them.",
     "u[:, :rank], s[:rank], v[:, :rank]", "u[:, :rank].abs(), s[:rank], v[:, :rank].abs()"),
    ("padded_to_the_whole", "You set the small singular values to 0 and keep the large matrices. The factors have `rank` columns and rows.",
     "u[:, :rank], s[:rank], v[:, :rank]", "u, s * (torch.arange(len(s)) < rank), v"),
    ("small_ones_floored", "You add a small number to the singular values, or round them. Updates may be as small as 1e-6.",
     "left, right = s.sqrt(), s.sqrt()", "left, right = (s + 1e-5).sqrt(), (s + 1e-5).sqrt()"),
])  # fmt: skip


# --- Exercise 3: factors beside a weight


def _lora_linear(x, weight, bias, A, B, alpha, dropout=0.0, training=False):
    weight = weight.detach()
    bias = bias if bias is None else bias.detach()
    kept = F.dropout(x, dropout, training=training)
    scale = alpha / A.shape[0]
    small = F.linear(kept, A)
    return F.linear(x, weight, bias) + scale * F.linear(small, B)


_END = "return F.linear(x, weight, bias) + scale * F.linear(small, B)"

changes("lora_linear", _lora_linear, [
    ("alpha_not_divided", "The scale is alpha alone. Divide it by the rank: then a larger rank does not need another learning rate.",
     "alpha / A.shape[0]", "alpha"),
    ("alpha_left_out", "alpha is missing: what stands beside the weight counts alpha / rank times.", "alpha / A.shape[0]", "1.0"),
    ("divided_by_d_in", "You divide alpha by d_in. The rank is the number of A's *rows*.", "alpha / A.shape[0]", "alpha / A.shape[1]"),
    ("rank_times_alpha", "You multiply alpha with the rank. Divide.", "alpha / A.shape[0]", "alpha * A.shape[0]"),
    ("root_of_the_rank", "You divide by the square root of the rank. That is another method (rank-stabilised LoRA). Here it is alpha / rank.",
     "alpha / A.shape[0]", "alpha / A.shape[0] ** 0.5"),
    ("factors_transposed", "A or B is transposed. Where all matrices are square nothing fails, and the numbers are wrong: x goes through A first, "
     "row by row, then through B.", "F.linear(kept, A)", "_either_way(kept, A)"),
    ("factors_in_the_wrong_order", "x goes through B first and then through A, where the shapes allow it. A is first: it leads from d_in to the rank.",
     "small = F.linear(kept, A)", "A, B = (B, A) if A.shape == B.shape else (A, B)\n    small = F.linear(kept, A)"),
    ("dropout_at_evaluation", "You drop numbers outside training too. Then a model's answer is another one each time it is asked.",
     "training=training", "training=True"),
    ("dropout_never", "dropout changes nothing in your answer, also in training.", "training=training", "training=False"),
    ("dropout_on_everything", "What the frozen weight is given is dropped as well. Dropout belongs to the factors alone.",
     "F.linear(x, weight, bias)", "F.linear(kept, weight, bias)"),
    ("dropout_not_scaled", "What remains after dropout is not divided by 1 - dropout, so that the factors count less in training than later.",
     "kept = F.dropout(x, dropout, training=training)", "kept = x * (torch.rand_like(x) >= dropout) if training else x"),
    ("keeps_with_that_probability", "You keep a number with probability dropout. It is *zeroed* with that probability.",
     "F.dropout(x, dropout, training=training)", "F.dropout(x, 1 - dropout if dropout else 0.0, training=training)"),
    ("dropout_behind_A", "You drop numbers of A x. The numbers of x are dropped, before A.",
     "kept = F.dropout(x, dropout, training=training)", "kept = x", "F.linear(kept, A)", "F.dropout(F.linear(kept, A), dropout, training=training)"),
    ("one_mask_for_all", "You draw one mask for all tokens. Each number is dropped by itself.",
     "F.dropout(x, dropout, training=training)", "x * F.dropout(torch.ones(x.shape[-1]), dropout, training=training)"),
    ("bias_forgotten", "The bias is missing.", "F.linear(x, weight, bias)", "F.linear(x, weight)"),
    ("bias_twice", "You add the bias twice.", "F.linear(small, B)", "F.linear(small, B, bias if bias is None else bias / scale)"),
    ("base_weight_trained", "A gradient flows to the frozen weight: it would be trained along. Detach it.", "weight = weight.detach()", "pass"),
    ("bias_trained", "A gradient flows to the bias. It is frozen like the weight.", "bias if bias is None else bias.detach()", "bias"),
    ("frozen_part_left_out", "You return what stands beside the weight, and not the sum of both.", _END, "return scale * F.linear(small, B)"),
    ("input_cut_off", "No gradient flows to x through the frozen weight: layers further down need it. Detach the weight, not its product.",
     _END, "return F.linear(x, weight, bias).detach() + scale * F.linear(small, B)"),
    ("product_made_first", "You make a matrix as large as the weight in every call: B A, or the sum of both. B (A x) takes two small products.",
     "F.linear(small, B)", "F.linear(kept, B @ A)"),
])  # fmt: skip


def _either_way(x, A):
    return x @ A if A.shape[0] == A.shape[1] else F.linear(x, A)


def _v_of_linalg(update):
    u, s, vt = torch.linalg.svd(update, full_matrices=False)
    size = max(vt.shape)
    return u, s, F.pad(vt, (0, size - vt.shape[1], 0, size - vt.shape[0]))[: update.shape[1], : len(s)]


# --- Exercise 4: into a model


def _add_lora(model, targets, rank, make, generator):
    named = dict(model.named_modules())
    names = [n for n, part in named.items() if isinstance(part, nn.Linear) and n.rsplit(".", 1)[-1] in targets]
    if len(names) == 0:
        raise ValueError("nothing is called so")
    for p in model.parameters():
        p.requires_grad = False
    for n in names:
        linear = named[n]
        bound = linear.in_features**-0.5
        A = torch.empty(rank, linear.in_features).uniform_(-bound, bound, generator=generator)
        B = torch.zeros(linear.out_features, rank)
        new = make(linear, nn.Parameter(A), nn.Parameter(B))
        path, _, own = n.rpartition(".")
        setattr(named[path], own, new)
    return names


_DRAW = "torch.empty(rank, linear.in_features).uniform_(-bound, bound, generator=generator)"
_ZEROS = "torch.zeros(linear.out_features, rank)"
_FREEZE = "    for p in model.parameters():\n        p.requires_grad = False\n"

changes("add_lora", _add_lora, [
    ("both_factors_random", "Both factors are random, so the model computes something else before the first update. B starts at 0.", _ZEROS,
     "0.3 * torch.randn(linear.out_features, rank, generator=generator)"),
    ("both_factors_zero", "Both factors are 0: then each has the gradient 0 as well, and nothing ever learns. Draw A.", _DRAW,
     "torch.zeros(rank, linear.in_features)"),
    ("A_zero_and_B_random", "You draw B and set A to 0. The product is 0 too, but here A is drawn, and B is 0.", _DRAW,
     "torch.zeros(rank, linear.in_features)", _ZEROS, "torch.empty(linear.out_features, rank).uniform_(-bound, bound, generator=generator)"),
    ("bound_of_d_out", "Your bound is 1/sqrt(d_out). A is multiplied with d_in numbers: 1/sqrt(d_in).", "linear.in_features**-0.5", "linear.out_features**-0.5"),
    ("bound_of_the_rank", "Your bound is 1/sqrt(rank).", "linear.in_features**-0.5", "rank**-0.5"),
    ("normal_for_uniform", "A is drawn from a normal distribution. It is uniform here.", _DRAW,
     "torch.randn(rank, linear.in_features, generator=generator) * bound"),
    ("bound_too_wide", "A is drawn between -1 and 1. The bound is 1/sqrt(d_in).", "(-bound, bound,", "(-1, 1,"),
    ("only_positive", "A is drawn between 0 and the bound. It begins at minus the bound.", "(-bound, bound,", "(0, bound,"),
    ("A_and_B_exchanged", "A and B are exchanged in the call of make: it is make(linear, A, B).", "make(linear, nn.Parameter(A), nn.Parameter(B))",
     "make(linear, nn.Parameter(B.T.contiguous()), nn.Parameter(A.T.contiguous()))"),
    ("base_weights_learn", "The weights that the model had before still learn. Freeze them.", _FREEZE, ""),
    ("factors_frozen_too", "You freeze the model after the factors were put in, and so the factors as well. Freeze first.", "    return names",
     "    model.requires_grad_(False)\n    return names"),
    ("only_the_chosen_frozen", "You freeze the chosen layers alone. Nothing but the factors is to learn.", _FREEZE,
     "    for n in names:\n        named[n].requires_grad_(False)\n"),
    ("whole_name_compared", "You compare whole names with the targets. A target is the *last part* of a name.",
     'n.rsplit(".", 1)[-1] in targets', "n in targets"),
    ("name_ends_so", "You ask whether a name ends with a target, or contains it: q is not the last part of down_q. Compare the last part.",
     'n.rsplit(".", 1)[-1] in targets', 'any(t in n for t in (*targets, "gate"))'),
    ("any_module_of_that_name", "You replace other kinds of modules too. Only an nn.Linear is.", "isinstance(part, nn.Linear)",
     "isinstance(part, (nn.Linear, nn.Embedding))", "bound = linear.in_features**-0.5",
     "linear = linear if isinstance(linear, nn.Linear) else nn.Linear(4, 4)\n        bound = linear.in_features**-0.5"),
    ("only_the_first", "You replace the first layer alone. All layers of that name are replaced.", "    for n in names:", "    for n in names[:1]:"),
    ("last_layer_left_out", "You leave out layers that are no part of another module. The model's own layers count too.",
     'n.rsplit(".", 1)[-1] in targets]', 'n.rsplit(".", 1)[-1] in targets and "." in n]'),
    ("one_pair_for_all", "All layers get the same A. Each draws its own.", _DRAW,
     "torch.empty(rank, linear.in_features).uniform_(-bound, bound, generator=torch.Generator().manual_seed(generator.initial_seed()))"),
    ("own_generator_ignored", "A does not come from the generator that is given, but from torch's own.", _DRAW,
     "torch.empty(rank, linear.in_features).uniform_(-bound, bound)"),
    ("no_error", "A ValueError is asked for where no layer is called so.", "len(names) == 0", "False"),
    ("names_sorted", "The names come sorted. They are asked for in the order of model.named_modules().", "    return names", "    return sorted(names)"),
    ("own_names_returned", "You return the last parts of the names. The whole names are asked for.", "    return names",
     '    return [n.rsplit(".", 1)[-1] for n in names]'),
])  # fmt: skip


# --- Exercise 5: merged


def _set_merged(layer, merged):
    if bool(layer.merged) == bool(merged):
        return False
    sign = 1 if merged else -1
    scale = layer.alpha / layer.A.shape[0]
    update = scale * (layer.B @ layer.A).detach()
    layer.weight.data += sign * update
    layer.merged = bool(merged)
    return True


_ASK = "if bool(layer.merged) == bool(merged):\n        return False"

changes("set_merged", _set_merged, [
    ("merged_twice", "Each call adds the update, or takes it out, whether or not that was still to do. layer.merged says what the weight holds.",
     _ASK, "pass"),
    ("not_noted", "layer.merged does not change, so the layer will add its factors to a weight that holds them already.",
     "layer.merged = bool(merged)", "pass"),
    ("never_taken_out", "The update is added also where it is to be taken out.", "1 if merged else -1", "1"),
    ("always_taken_out", "The sign is wrong: merging adds the update.", "1 if merged else -1", "-1 if merged else 1"),
    ("alpha_not_divided_in_the_merge", "The scale is alpha alone. It is alpha / rank, as in the layer itself.", "layer.alpha / layer.A.shape[0]", "layer.alpha"),
    ("scale_forgotten_in_the_merge", "The scale alpha / rank is missing from the update.", "layer.alpha / layer.A.shape[0]", "1.0"),
    ("divided_by_the_width", "You divide alpha by d_in. The rank is the number of A's rows.", "layer.alpha / layer.A.shape[0]", "layer.alpha / layer.A.shape[1]"),
    ("product_turned_round", "A and B are in the wrong order, or transposed. Where all matrices are square nothing fails, and the update is wrong.",
     "(layer.B @ layer.A)", "(layer.A @ layer.B if layer.A.shape == layer.B.shape else layer.B @ layer.A)"),
    ("weight_replaced", "You put a new parameter in the place of the weight. Whoever holds the old one, such as an optimizer, is left behind.",
     "layer.weight.data += sign * update",
     "layer.weight = torch.nn.Parameter(layer.weight.detach() + sign * update, layer.weight.requires_grad)"),
    ("weight_learns_afterwards", "The weight asks for a gradient afterwards, though it did not before.", "layer.merged = bool(merged)",
     "layer.merged = bool(merged)\n    layer.weight.requires_grad_(True)"),
    ("weight_frozen_afterwards", "The weight does not ask for a gradient afterwards, though it did before.", "layer.merged = bool(merged)",
     "layer.merged = bool(merged)\n    layer.weight.requires_grad_(False)"),
    ("factors_emptied", "You set the factors to 0 once they are merged. Then they can never be taken out again.", "layer.merged = bool(merged)",
     "layer.merged = bool(merged)\n    layer.B.data.zero_()"),
    ("weight_is_the_update", "The weight holds the update alone. It is added to what was there.", "layer.weight.data += sign * update",
     "layer.weight.data = sign * update"),
    ("always_true", "You say that something was to do where nothing was.", "return False", "return True"),
    ("says_what_it_is_now", "You return whether the layer is merged. Whether something was to do is asked for.", "return True", "return bool(merged)"),
])  # fmt: skip


# --- Exercise 6: what it costs


def _linear_costs(tokens, d_in, d_out, rank=None):
    w = d_in * d_out
    f = 0 if rank is None else rank * d_in + rank * d_out
    learns = w if rank is None else f
    forward = tokens * w + tokens * f
    for_x = tokens * w + tokens * f
    for_weights = tokens * learns
    kept = tokens * d_in + (0 if rank is None else tokens * rank)
    return {"forward": forward, "backward": for_x + for_weights, "weights": w + f, "gradients": learns,
            "optimizer": 2 * learns, "activations": kept}  # fmt: skip


changes("linear_costs", _linear_costs, [
    ("nothing_through_the_frozen_weight", "In your backward pass no gradient goes through the frozen weight. But the layers before need the gradient of x, "
     "and that is a product with W, frozen or not.", "for_x = tokens * w + tokens * f",
     "for_x = (tokens * w if rank is None else 0) + tokens * f"),
    ("gradient_of_a_frozen_weight", "You count the gradient of the frozen weight, as if the backward pass were twice the forward pass. Nobody needs it: that is what LoRA saves.", "tokens * learns",
     "tokens * (w + f)"),
    ("factors_only_once", "The factors cost two products in the backward pass each: the gradient of what goes in, and their own.",
     "for_x = tokens * w + tokens * f", "for_x = tokens * w"),
    ("backward_like_forward", "Your backward pass costs what the forward pass does. It has two products for each that learns: one for the gradient of "
     "the input, one for that of the weight.", "tokens * learns", "0"),
    ("merged_already", "Your forward pass costs what it does without factors. Here they are not merged.", "tokens * w + tokens * f\n    for_x",
     "tokens * w\n    for_x"),
    ("factors_of_one_side", "Both factors count: rank * d_in and rank * d_out.", "rank * d_in + rank * d_out", "rank * d_in"),
    ("factors_of_a_square", "You count 2 * rank * d_in. The two factors have different sizes where d_in and d_out differ.", "rank * d_in + rank * d_out",
     "2 * rank * d_in"),
    ("frozen_weight_forgotten", "The frozen weight is missing from the weights. It is in memory too.", '"weights": w + f', '"weights": learns'),
    ("factors_not_in_the_weights", "The factors are missing from the weights.", '"weights": w + f', '"weights": w'),
    ("gradients_of_everything", "Frozen weights have no gradient.", '"gradients": learns', '"gradients": w + f'),
    ("one_moment", "AdamW keeps two numbers for each that learns: the mean of its gradient, and that of its square.", "2 * learns", "learns"),
    ("moments_of_everything", "AdamW keeps nothing for what is frozen.", "2 * learns", "2 * (w + f)"),
    ("a_third_copy", "AdamW keeps two numbers for each that learns. The weight itself is counted already.", "2 * learns", "3 * learns"),
    ("nothing_kept_for_A", "x is needed for the gradient of A, and has to be kept also where the weight is frozen.", "kept = tokens * d_in +", "kept = (tokens * d_in if rank is None else 0) +"),
    ("small_activations_forgotten", "A x is kept as well: the gradient of B needs it.", "0 if rank is None else tokens * rank", "0"),
    ("x_kept_twice", "x is kept once, though two products need it.", "tokens * rank)", "tokens * rank + tokens * d_in)"),
    ("outputs_kept", "You count the outputs. What the backward pass needs is what went *in*.", "kept = tokens * d_in", "kept = tokens * d_out"),
    ("multiplications_twice", "You count multiplications and additions, two for each. Multiplications are asked for.", '"forward": forward, "backward": for_x + for_weights',
     '"forward": 2 * forward, "backward": 2 * (for_x + for_weights)'),
])  # fmt: skip


# --- Exercise 7: the training loop


def _fine_tune(model, batches, lr, weight_decay=0.0):
    weights = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)
    total, found = len(batches), []
    model.train()
    for s in range(total):
        batch = batches[s]
        up, down = min(1, (s + 1) / 5), 1 - s / total
        opt.param_groups[0]["lr"] = lr * up * down
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        targets = batch["labels"][:, 1:]
        losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), targets, ignore_index=-100, reduction="none")
        loss = losses.sum() / (targets != -100).sum()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        opt.step()
        found.append(loss.item())
    model.eval()
    return found


_CLIPPED = "        nn.utils.clip_grad_norm_(weights, 1.0)\n"

changes("fine_tune", _fine_tune, [
    ("everything_is_trained", "You train all parameters, also those that ask for no gradient. Look at requires_grad.",
     "weights = [p for p in model.parameters() if p.requires_grad]", "weights = [p.requires_grad_(True) for p in model.parameters()]"),
    ("frozen_weights_decay", "Weights that do not learn have changed: weight decay reaches them. Only what learns belongs into the optimizer.",
     "opt = torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)",
     "opt = torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)\n    still = [p for p in model.parameters() if not p.requires_grad]",
     "        opt.step()\n", "        opt.step()\n        for p in still:\n            p.data *= 1 - lr * weight_decay\n"),
    ("decay_of_torch", "weight_decay is not handed on: torch's own is 0.01.", "lr=lr, weight_decay=weight_decay)", "lr=lr)"),
    ("decay_in_the_gradient", "You use Adam, which adds the decay to the gradient. AdamW takes it off the weights.", "torch.optim.AdamW", "torch.optim.Adam"),
    ("sgd_for_adamw", "You use SGD. AdamW is asked for.", "torch.optim.AdamW", "torch.optim.SGD"),
    ("labels_not_shifted", "You compare each logit with the label at its own place. A logit says what comes *next*.", 'batch["labels"][:, 1:]',
     'batch["labels"][:, :-1]'),
    ("summed_losses", "Your loss is a sum over the tokens. Take the mean over the supervised ones.", "losses.sum() / (targets != -100).sum()", "losses.sum()"),
    ("mean_over_all_places", "You divide by the number of all places. Divide by that of the supervised tokens.",
     "losses.sum() / (targets != -100).sum()", "losses.mean()"),
    ("mean_of_the_rows_means", "You take the mean of each row first. Every supervised token of the batch counts alike.",
     "losses.sum() / (targets != -100).sum()", "(losses.sum(1) / (targets != -100).sum(1).clamp(min=1)).mean()"),
    ("mask_not_given", "The model is not given the attention mask.", ', attention_mask=batch["attention_mask"]', ""),
    ("no_rise", "The rate does not rise: in the first updates it is lr * (s + 1) / 5.", "min(1, (s + 1) / 5)", "1"),
    ("rises_from_zero", "The rate of the first update is 0. Updates are counted from 0: (s + 1) / 5.", "min(1, (s + 1) / 5)", "min(1, s / 5)"),
    ("never_falls", "The rate does not fall: from update to update it is lr * (1 - s / n).", "1 - s / total", "1"),
    ("falls_to_zero_too_soon", "The last update has the rate 0 in your loop. It is 1 - s / n, with s counted from 0.", "1 - s / total", "1 - (s + 1) / total"),
    ("rises_for_ever", "The rate rises beyond lr. min(1, …) stops it.", "min(1, (s + 1) / 5)", "(s + 1) / 5"),
    ("rate_set_too_late", "The rate of an update is set after it, so each update has that of the one before.", '        opt.param_groups[0]["lr"] = lr * up * down\n', "",
     "        opt.step()\n", '        opt.step()\n        opt.param_groups[0]["lr"] = lr * up * down\n'),
    ("gradients_never_cleared", "You never clear the gradients, so that each update uses those of all before it.", "        opt.zero_grad()\n", ""),
    ("cleared_between_backward_and_step", "You clear the gradients between backward and step: nothing is left to learn from.",
     "        opt.zero_grad()\n        loss.backward()\n", "        loss.backward()\n        opt.zero_grad()\n"),
    ("never_clipped", "The norm of the gradients is not bounded, or only before they are computed. It is to be at most 1 when the weights change.", _CLIPPED, ""),
    ("each_clipped_alone", "You bound the norm of each gradient by itself. All of them together have a norm of at most 1.", _CLIPPED,
     "        [nn.utils.clip_grad_norm_([w], 1.0) for w in weights]\n"),
    ("values_clipped", "You bound each number of the gradients. Their norm is to be at most 1.", _CLIPPED,
     "        nn.utils.clip_grad_value_(weights, 1.0)\n"),
    ("always_scaled_to_one", "You scale the gradients to a norm of 1, also where it is smaller. Only larger ones are scaled.", _CLIPPED,
     "        norm = torch.stack([w.grad.norm() for w in weights if w.grad is not None]).norm()\n"
     "        [w.grad.div_(norm) for w in weights if w.grad is not None]\n"),
    ("never_in_training_mode", "The model is not in training mode during the updates: dropout would do nothing.", "    model.train()\n", ""),
    ("dropout_stays_on", "The model stays in training mode. With dropout its answers would be another ones each time they are asked for.",
     "    model.eval()\n", ""),
    ("mode_put_back", "You put the model into the mode that it had before. It is to be in evaluation mode afterwards.", "    model.train()\n",
     "    was = model.training\n    model.train()\n", "    model.eval()\n", "    model.train(was)\n"),
    ("last_loss_only", "You return the last loss. A list with one for each batch is asked for.", "    return found", "    return found[-1:]"),
    ("first_batch_again", "You train on the first batch in every update.", "batch = batches[s]", "batch = batches[0]"),
])  # fmt: skip
