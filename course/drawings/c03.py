"""Drawings of chapter 03: learning from a reward."""

from collections.abc import Sequence

import torch

from course.drawing import Drawing
from course.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION


def loop() -> Drawing:
    """What goes round in this chapter."""
    picture = Drawing(
        width=600,
        height=196,
        alt="The loop of this chapter: the policy writes several answers to a prompt, a rule gives each answer a reward, each "
        "reward is compared with those of the other answers, and the gradient of log p, weighted by the advantages, changes "
        "the policy. A frozen reference: to move away from it has a price.",
    )
    picture.box(8, 40, 118, 50, "policy p_θ\nis trained", BLUE)
    picture.arrow(126, 65, 196, 65, "draws k")
    picture.box(198, 40, 104, 50, "answers\ny₁ … y_k")
    picture.arrow(302, 65, 368, 65, "are judged")
    picture.box(370, 40, 96, 50, "rewards\nr(x, y_i)", ORANGE)
    picture.arrow(466, 65, 500, 65)
    picture.box(502, 40, 90, 50, "advantages\nA_i", GREEN)
    picture.line(547, 90, 547, 164, GREEN)
    picture.line(547, 164, 67, 164, GREEN)
    picture.arrow(67, 164, 67, 92, color=GREEN)
    picture.text(330, 150, "gradient: the mean of A_i ∇ log p_θ(y_i | x)", 13, "middle", GREEN)
    picture.box(198, 100, 104, 32, "reference p₀", GREY, size=12, dashed=True)
    picture.arrow(302, 116, 412, 92, color=GREY, dashed=True)
    picture.text(372, 118, "price of moving away", 12, "start", GREY)
    picture.text(250, 22, "no gradient flows through these", 12, "start")
    picture.line(198, 32, 592, 32)
    return picture


def two_pulls(before: torch.Tensor, minus: torch.Tensor, plus: torch.Tensor) -> Drawing:
    """Three distributions over the same answers, (answers,) each; the last answer is the overrated one."""
    order, shown = [*before[:-1].argsort(descending=True).tolist(), len(before) - 1], len(before)
    picture = Drawing(
        width=600,
        height=206,
        alt=f"Bars of probability over the same {shown} answers. Under p₀ the overrated answer has {before[-1]:.1%}; with minus "
        f"beta KL the policy is spread over many answers and gives it {minus[-1]:.1%}; with plus beta KL it gives it "
        f"{plus[-1]:.1%}.",
    )
    for place, (title, probs) in enumerate((("p₀, the start", before), ("− β KL", minus), ("+ β KL", plus))):
        left = 12 + 198 * place
        picture.text(left + 90, 14, title, 13, "middle", bold=True)
        picture.line(left, 170, left + 180, 170)
        for i, answer in enumerate(order):
            height = 132 * probs[answer].item()
            color = VERMILION if answer == len(before) - 1 else BLUE
            picture.bar(left + 2 + i * 176 / shown, 170, 176 / shown - 1, -max(height, 0.8), color, opacity=0.9)
        picture.text(left + 2, 200, f"the overrated one {probs[-1].item():.1%}", 12, color=VERMILION)
        picture.text(left + 2, 184, f"the likeliest {probs.max().item():.1%}", 12)
    return picture


def update(probs: torch.Tensor, drawn: Sequence[int], rewards: Sequence[float], step: float = 0.8) -> Drawing:
    """One REINFORCE step on a small distribution, (answers,): what the rewards of the drawn answers do to all of them."""
    onehot = torch.nn.functional.one_hot(torch.tensor(drawn), len(probs)).float()
    gradient = (torch.tensor(rewards)[:, None] * (onehot - probs)).mean(0)
    after = (probs.log() + step * gradient).softmax(-1)
    names = ", ".join(f"{'abcdefghij'[i]} is paid {r:+g}" for i, r in zip(drawn, rewards, strict=True))
    picture = Drawing(
        width=600,
        height=206,
        alt=f"One update of {len(probs)} answers. Drawn were: {names}. Left, how far each logit is pushed; right, the "
        "probabilities before and after: answers that were not drawn move too.",
    )
    width, high = 260 / len(probs), max(gradient.abs().max().item(), 1e-6)
    picture.text(8, 14, "push on each logit", 13, bold=True)
    picture.text(320, 14, "probability, before and after", 13, bold=True)
    picture.line(8, 100, 272, 100)
    picture.line(320, 172, 592, 172)
    for i, name in enumerate("abcdefghij"[: len(probs)]):
        x = 10 + i * width
        push = gradient[i].item()
        picture.bar(x + 8, 100, width - 16, -62 * push / high, GREEN if push > 0 else VERMILION)
        paid = [r for j, r in zip(drawn, rewards, strict=True) if j == i]
        picture.text(x + width / 2, 184, name, 13, "middle", bold=bool(paid), mono=True)
        picture.text(x + width / 2, 198, " ".join(f"{r:+g}" for r in paid), 12, "middle", ORANGE)
        x = 322 + i * width
        picture.bar(x + 6, 172, (width - 14) / 2, -250 * probs[i].item(), GREY)
        picture.bar(x + 6 + (width - 14) / 2, 172, (width - 14) / 2, -250 * after[i].item(), BLUE)
        picture.text(x + width / 2 - 1, 184, name, 13, "middle", bold=bool(paid), mono=True)
    picture.text(592, 198, "drawn answers in bold, with their rewards", 12, "end", GREY)
    return picture


def advantages(rewards: torch.Tensor, compared: torch.Tensor) -> Drawing:
    """Rewards (k,) of the answers to one prompt, and for each the mean of the others, from which its advantage is counted."""
    k, low, high = len(rewards), min(rewards.min().item(), 0), rewards.max().item()
    place = lambda value: 150 - 112 * (value - low) / max(high - low, 1e-6)  # noqa: E731
    told = ", ".join(f"{r:.1f} becomes {a:+.1f}" for r, a in zip(rewards.tolist(), compared.tolist(), strict=True))
    picture = Drawing(
        width=600,
        height=190,
        alt=f"Rewards of {k} answers to the same prompt as dots, the mean of the others as a short line beside each, and the "
        f"advantage as the arrow from that line to the dot: {told}.",
    )
    picture.text(8, 14, "● reward", 13, color=ORANGE)
    picture.text(100, 14, "━ mean of the other rewards", 13, color=GREY)
    picture.text(310, 14, "→ advantage", 13, color=PURPLE)
    picture.line(8, place(low), 592, place(low))
    for i, (reward, advantage) in enumerate(zip(rewards.tolist(), compared.tolist(), strict=True)):
        x = 20 + (i + 0.5) * 560 / k
        others = place(reward - advantage)
        picture.line(x - 34, others, x + 34, others, GREY, width=2.2)
        if abs(others - place(reward)) > 10:
            picture.arrow(x, others, x, place(reward) + (6 if reward > reward - advantage else -6), color=PURPLE)
        picture.circle(x, place(reward), 4.5, ORANGE)
        middle = (others + place(reward)) / 2 - 14 * (abs(others - place(reward)) < 24)
        picture.text(x + 10, middle, f"{advantage:+.2f}", 12, color=PURPLE)
        picture.text(x, 172, f"y{'₁₂₃₄₅₆₇₈₉'[i]}: r = {reward:.1f}", 12, "middle")
    return picture
