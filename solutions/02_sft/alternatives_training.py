"""Correct answers to chapter 02 in other shapes: training. Every check must accept them."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.judging.catalogue import alternative

# --- Exercise 7: the training loop


def _loss_sum(model, batch):
    """The sum of -log p over the supervised tokens of a batch."""
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="sum")


def _count(batch):
    return int((batch["labels"][:, 1:] != -100).sum())


@alternative("train_sft")
def gradients_divided_at_the_end(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """Sums are accumulated, and the gradient is divided by the number of tokens before it is clipped; a tuple
    returns."""
    model.train()
    losses = ()
    for step, batches in enumerate(updates):
        optimizer.zero_grad(set_to_none=False)
        total, tokens = 0.0, 0
        for batch in batches:
            loss = _loss_sum(model, batch)
            loss.backward()
            total, tokens = total + loss.item(), tokens + _count(batch)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(tokens)
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        losses = (*losses, total / tokens)
        if after_step:
            after_step(step, total / tokens)
    return losses


@alternative("train_sft")
def weighted_means(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """Each batch's mean, weighted by its share of the tokens; batches without tokens skipped; cleared after the
    step."""
    model.train()
    history = []
    for step, update in zip(range(10**9), updates):
        numbers = [_count(batch) for batch in update]
        loss_of_update = torch.zeros(())
        for batch, n in zip(update, numbers):
            if n == 0:
                continue
            loss = _loss_sum(model, batch) / n * (n / sum(numbers))
            loss.backward()
            loss_of_update += loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for group in optimizer.param_groups:
            group.update(lr=lr_at(step))
        optimizer.step()
        model.zero_grad()
        history.append(loss_of_update.item())
        if after_step is not None:
            after_step(step, loss_of_update)
    return history


@alternative("train_sft")
def one_backward_for_the_update(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """All losses added up, one backward pass; clipping written out over the optimizer's parameters."""
    losses = []
    for step, batches in enumerate(updates):
        model.train()
        loss = sum(_loss_sum(model, batch) for batch in batches) / sum(map(_count, batches))
        optimizer.zero_grad()
        loss.backward()
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        if norm > max_norm:
            for parameter in parameters:
                parameter.grad *= max_norm / norm
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        losses.append(float(loss.detach()))
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@alternative("train_sft")
def loss_of_the_model_itself(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """transformers' own loss: labels and num_items_in_batch go into the model."""
    model.train()
    losses = []
    for step, batches in enumerate(updates):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        num_items = sum((batch["labels"][..., 1:] != -100).sum() for batch in batches)
        optimizer.zero_grad()
        parts = []
        for batch in batches:
            loss = model(**batch, num_items_in_batch=num_items, use_cache=False).loss
            loss.backward()
            parts.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(sum(parts))
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@alternative("train_sft")
def batches_padded_into_one(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """The batches of an update are padded to one width and go through the model together, which costs memory."""
    model.train()
    losses = []
    for step, batches in enumerate(updates):
        width = max(batch["labels"].shape[1] for batch in batches)
        joined = {
            name: torch.cat([F.pad(b[name], (0, width - b[name].shape[1]), value=fill) for b in batches])
            for name, fill in (("input_ids", 0), ("attention_mask", 0), ("labels", -100))
        }
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.zero_grad()
        loss = _loss_sum(model, joined) / _count(joined)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=max_norm)
        optimizer.step()
        losses.append(loss.item())
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@alternative("train_sft")
def gradients_by_autograd(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """torch.autograd.grad and a running sum of gradients; positions are passed to the model; a closure does the
    step."""
    model = model.train()
    parameters, losses = list(model.parameters()), []
    for step, batches in enumerate(updates):
        tokens = sum(_count(batch) for batch in batches)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)

        def closure(batches=batches, tokens=tokens):
            total, sums = 0.0, [torch.zeros_like(p) for p in parameters]
            for batch in batches:
                mask = batch["attention_mask"]
                positions = (mask.cumsum(-1) - 1).clamp(min=0)
                logits = model(input_ids=batch["input_ids"], attention_mask=mask, position_ids=positions).logits
                targets = batch["labels"][:, 1:]
                logps = logits[:, :-1].log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
                loss = -logps[targets != -100].sum() / tokens
                sums = [s + g for s, g in zip(sums, torch.autograd.grad(loss, parameters))]
                total += loss.item()
            for parameter, gradient in zip(parameters, sums):
                parameter.grad = gradient
            torch.nn.utils.clip_grad_norm_(parameters, max_norm)
            return total

        losses.append(optimizer.step(closure))
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@alternative("train_sft")
def losses_of_numpy(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    """A while loop over an iterator; what is clipped are the optimizer's parameters; numbers of NumPy come back."""
    model.train(True)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    iterator, losses = iter(updates), []
    while (batches := next(iterator, None)) is not None:
        tokens = sum(map(_count, batches))
        model.zero_grad()
        shares = []
        for batch in batches:
            share = _loss_sum(model, batch) / tokens
            share.backward()
            shares.append(np.float64(share.detach().numpy()))
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(len(losses))
        optimizer.step()
        losses.append(np.sum(shares))
        if after_step is not None:
            after_step(len(losses) - 1, losses[-1])
    return losses
