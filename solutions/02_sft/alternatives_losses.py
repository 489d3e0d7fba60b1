"""Correct answers to chapter 02 in other shapes: losses. Every check must accept them."""

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

# --- Exercise 5: the loss of the answer


@alternative("sft_loss")
def cross_entropy_of_transformers(logits, labels, num_tokens=None):
    """The loss function inside transformers' models; it divides by num_items_in_batch where that is given."""
    from transformers.loss.loss_utils import ForCausalLMLoss

    if num_tokens is None and not (labels[:, 1:] != -100).any():
        return logits.sum() * 0.0
    return ForCausalLMLoss(logits, labels, vocab_size=logits.shape[-1], num_items_in_batch=num_tokens)


@alternative("sft_loss")
def mean_and_number(logits, labels, num_tokens=None):
    """Cross-entropy's own mean where there is no num_tokens, the sum where there is."""
    predictions, targets = logits[:, :-1, :].transpose(1, 2), labels[:, 1:]
    if num_tokens is None:
        return F.cross_entropy(predictions, targets).nan_to_num()
    return F.cross_entropy(predictions, targets, reduction="sum") / num_tokens


@alternative("sft_loss")
def gathered_with_weights(logits, labels, num_tokens=None):
    """log_softmax, gather, and a mask of weights, in float64."""
    targets = labels[:, 1:]
    weights = (targets != -100).double()
    logps = logits[:, :-1].double().log_softmax(-1).gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(logps * weights).sum() / max(1, weights.sum() if num_tokens is None else num_tokens)


@alternative("sft_loss")
def labels_moved_to_the_left(logits, labels, num_tokens=None):
    """All logits, labels moved with -100 in the gap; a tensor with an axis of length one comes back."""
    moved = torch.full_like(labels, -100)
    moved[:, :-1] = labels[:, 1:]
    kept = moved != -100
    losses = logits[kept].logsumexp(-1) - logits[kept].gather(-1, moved[kept][:, None])[:, 0]
    return losses.sum().reshape(1) / (num_tokens or max(kept.sum(), 1))


@alternative("sft_loss")
def token_by_token(logits, labels, num_tokens=None):
    """Two loops, and zero times the logits where nothing is supervised."""
    losses = [
        -row[t].log_softmax(0)[wanted[t + 1]]
        for row, wanted in zip(logits, labels)
        for t in range(len(wanted) - 1)
        if wanted[t + 1] >= 0
    ]
    return sum(losses) / (num_tokens or len(losses)) if losses else 0.0 * logits.sum()


@alternative("sft_loss")
def nll_of_one_hot(logits, labels, num_tokens=None):
    """einsum with one-hot targets, whose rows are zero where nothing is supervised."""
    targets = labels[:, 1:]
    supervised = targets != -100
    one_hot = F.one_hot(targets.clamp(min=0), logits.shape[-1]) * supervised[..., None]
    total = -torch.einsum("bsv,bsv->", logits[:, :-1].log_softmax(-1), one_hot.to(logits.dtype))
    return total / (supervised.sum().clamp_min(1) if num_tokens is None else torch.tensor(num_tokens))


@alternative("sft_loss")
def losses_times_weights(logits, labels, num_tokens=None):
    """Cross-entropy without reduction, times weights that are 0 or 1; an integer tensor as divisor."""
    targets = labels[:, 1:].clone()
    weights = (targets != -100).to(logits.dtype)
    losses = F.cross_entropy(logits[:, :-1].permute(0, 2, 1), targets.clamp(min=0), reduction="none")
    return (losses * weights).sum().div(weights.sum().long().clamp(min=1) if num_tokens is None else num_tokens)


@alternative("sft_loss")
def a_leaf_where_nothing_is_supervised(logits, labels, num_tokens=None):
    """A new tensor that asks for a gradient where nothing is supervised: backward works, and nothing is learned."""
    targets = labels[:, 1:].flatten()
    if (targets == -100).all():
        return torch.zeros((), requires_grad=True)
    total = F.nll_loss(logits[:, :-1].flatten(0, 1).log_softmax(-1), targets, reduction="sum")
    return total / (num_tokens or (targets != -100).sum())


@alternative("sft_loss")
def through_sequence_logprob(logits, labels, num_tokens=None):
    """Minus the sum over the rows of the next exercise's number."""
    total = -summed_over_unmasked_places(logits, labels).sum()
    return total / (num_tokens or max(1, int((labels[:, 1:] != -100).sum())))


# --- Exercise 6: how likely is an answer


@alternative("sequence_logprob")
def selective_log_softmax_of_trl(logits, labels):
    """The function that trl's trainers use."""
    from trl.trainer.utils import selective_log_softmax

    targets = labels[:, 1:]
    logps = selective_log_softmax(logits[:, :-1], targets.clamp(min=0))
    return (logps * (targets != -100)).sum(-1)


@alternative("sequence_logprob")
def cross_entropy_summed_by_row(logits, labels):
    """Minus cross-entropy without reduction, whose ignored places are 0 already."""
    return -F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none").sum(dim=1)


@alternative("sequence_logprob")
def row_after_row(logits, labels):
    """A loop over rows that picks the supervised places; an empty sum is 0."""
    result = []
    for row, wanted in zip(logits, labels):
        places = (wanted[1:] != -100).nonzero()[:, 0]
        result.append(row[places].log_softmax(-1)[torch.arange(len(places)), wanted[places + 1]].sum())
    return torch.stack(result)


@alternative("sequence_logprob")
def in_float64_by_hand(logits, labels):
    """In float64, with the largest logit subtracted by hand."""
    x, targets = logits.double()[:, :-1], labels[:, 1:]
    x = x - x.amax(-1, keepdim=True)
    x = x - x.exp().sum(-1, keepdim=True).log()
    chosen = torch.take_along_dim(x, targets.clamp(min=0)[..., None], -1)[..., 0]
    return torch.where(targets == -100, 0.0, chosen).sum(-1)


@alternative("sequence_logprob")
def logit_minus_logsumexp(logits, labels):
    """The chosen logit less the logsumexp; whole rows, with labels moved to the left."""
    moved = F.pad(labels[:, 1:], (0, 1), value=-100)
    supervised = moved.ne(-100)
    chosen = logits.gather(2, moved.where(supervised, 0).unsqueeze(2)).squeeze(2)
    return torch.where(supervised, chosen - logits.logsumexp(2), 0.0).sum(1)


@alternative("sequence_logprob")
def one_term_for_each_token(logits, labels):
    """A term for each token, added up as one would on paper."""
    result = []
    for row, wanted in zip(logits, labels.tolist()):
        total = 0.0 * row[0, 0]
        for t, token in enumerate(wanted[1:]):
            if token != -100:
                total = total + row[t, token] - torch.logsumexp(row[t], 0)
        result.append(total)
    return torch.stack(result)


@alternative("sequence_logprob")
def summed_over_unmasked_places(logits, labels):
    """index_add of each supervised token's log p into its row."""
    rows, places = (labels[:, 1:] != -100).nonzero(as_tuple=True)
    logps = logits[rows, places].log_softmax(-1)[torch.arange(len(rows)), labels[rows, places + 1]]
    return torch.zeros(len(labels), dtype=logps.dtype).index_add(0, rows, logps)


@alternative("sequence_logprob")
def one_hot_products(logits, labels):
    """einsum of log-probabilities with one-hot labels, float64."""
    kept = labels[:, 1:] >= 0
    one_hot = F.one_hot(labels[:, 1:].where(kept, 0), logits.shape[-1]).double() * kept.unsqueeze(-1)
    return torch.einsum("btv,btv->b", logits[:, :-1].double().log_softmax(-1), one_hot)
