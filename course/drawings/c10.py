"""Drawings of chapter 10: who pays whom, what a group compares, what each normalisation weighs, and where the clip begins."""

from collections.abc import Callable, Mapping, Sequence

from course.drawing import Drawing
from course.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION


def recipes() -> Drawing:
    """How R1-Zero and R1 were trained, as two rows of boxes."""
    picture = Drawing(
        600, 190,
        alt="Two rows. R1-Zero: from the base model straight to reinforcement learning with verifiable rewards. R1: from the "
        "base model to a small cold-start fine-tuning, then reinforcement learning with verifiable rewards, then fine-tuning "
        "on answers chosen by rejection sampling, then reinforcement learning once more, with learned rewards too.",
    )  # fmt: skip
    picture.text(8, 14, "R1-Zero", 13, bold=True)
    picture.box(8, 28, 96, 44, "base model", GREY)
    picture.arrow(104, 50, 150, 50)
    picture.box(152, 28, 190, 44, "RL, rewards that\na rule can check", BLUE)
    picture.text(8, 100, "R1", 13, bold=True)
    boxes = [(8, 84, "base model", GREY), (112, 84, "cold start:\nsmall SFT", ORANGE)]
    boxes += [(216, 120, "RL, rewards that\na rule can check", BLUE), (356, 112, "SFT on answers\nthat were right", ORANGE)]
    boxes += [(488, 104, "RL, learned\nrewards too", PURPLE)]
    for i, (x, width, text, color) in enumerate(boxes):
        picture.box(x, 114, width, 48, text, color, size=12)
        if i:
            before = boxes[i - 1]
            picture.arrow(before[0] + before[1], 138, x - 2, 138)
    picture.text(8, 180, "SFT: supervised fine-tuning", 12, color=GREY)
    return picture


def group(texts: Sequence[str], rewards: Sequence[float], advantages: Sequence[float], alone: Sequence[float]) -> Drawing:
    """The answers to one puzzle with their rewards, and two ways to compare them: with the group, and leave-one-out."""
    told = "; ".join(f"{t}: reward {r:g}, {a:+.2f}" for t, r, a in zip(texts, rewards, advantages, strict=True))
    picture = Drawing(600, 44 + 24 * len(texts), alt=f"Answers to one puzzle, their rewards and their advantages. {told}")
    heads = ((8, "answer", None), (358, "reward", ORANGE), (416, "in its group", PURPLE), (506, "leave one out", BLUE))
    for x, text, color in heads:
        picture.text(x, 14, text, 12, color=color, bold=True)
    picture.line(8, 26, 592, 26)
    for i, (text, r, a, b) in enumerate(zip(texts, rewards, advantages, alone, strict=True)):
        y = 42 + 24 * i
        short = text if len(text) < 48 else text[:46] + "…"
        picture.text(8, y, short, 12, mono=True)
        picture.circle(370, y, 4, GREEN if r > 0 else VERMILION)
        picture.text(382, y, f"{r:g}", 12)
        picture.text(430, y, f"{a:+.2f}".replace("-", "−"), 12, color=PURPLE)
        picture.text(524, y, f"{b:+.2f}".replace("-", "−"), 12, color=BLUE)
    return picture


def weights(lengths: Sequence[int], weight_of: Mapping[str, Sequence[float]]) -> Drawing:
    """Answers as rows of tokens, and what one token weighs in each normalisation. weight_of: for each, one number an answer."""
    told = "; ".join(f"{name}: " + ", ".join(f"{w:.3f}" for w in row) for name, row in weight_of.items())
    height = 60 + 34 * len(lengths)
    sizes = ", ".join(map(str, lengths))
    picture = Drawing(600, height, alt=f"{len(lengths)} answers of {sizes} tokens. Weight of one token, {told}.")
    step = 190 / max(lengths)
    picture.text(8, 14, "answers and their tokens", 12, bold=True)
    columns = {name: 230 + 125 * i for i, name in enumerate(weight_of)}
    colors = dict(zip(weight_of, (VERMILION, ORANGE, BLUE), strict=False))
    top = max(max(row) for row in weight_of.values())
    for name, x in columns.items():
        picture.text(x, 14, f"per “{name}”", 12, color=colors[name], bold=True)
    for i, length in enumerate(lengths):
        y = 34 + 34 * i
        for j in range(length):
            picture.cell(8 + j * step, y, step, 20, GREY, opacity=0.3)
        for name, x in columns.items():
            picture.bar(x, y + 4, 62 * weight_of[name][i] / top, 12, colors[name])
            picture.text(x + 66, y + 10, f"{weight_of[name][i]:.3f}", 12)
    picture.text(8, height - 12, "bars: how much one token of that answer counts in the loss", 12, color=GREY)
    return picture


def two_ends(objective: Callable[[float, float], float], clip_low: float, clip_high: float) -> Drawing:
    """The objective of a token of each kind against the ratio, with two ends that differ. objective(ratio, advantage)."""
    picture = Drawing(
        600, 210,
        alt=f"Two curves against the ratio. For a good token the objective rises and is flat above 1 + {clip_high:g}. For a bad "
        f"token it is flat below 1 - {clip_low:g} and falls from there on.",
    )  # fmt: skip
    low, high = 0.4, 1.7
    for left, a, color in ((20, 1.0, BLUE), (315, -1.0, VERMILION)):
        at = lambda ratio, value, left=left, a=a: (left + (ratio - low) / (high - low) * 260, 100 - 72 * (value - a))  # noqa: E731
        start, end = at(1 - clip_low, a)[0], at(1 + clip_high, a)[0]
        picture.bar(start, 26, end - start, 152, GREY, opacity=0.12)
        ratios = [low + (high - low) * i / 80 for i in range(81)]
        picture.path([at(r, objective(r, a)) for r in ratios], color, width=2.4)
        picture.line(left, 178, left + 260, 178, GREY)
        for ratio, text in ((1 - clip_low, f"{1 - clip_low:g}"), (1.0, "1"), (1 + clip_high, f"{1 + clip_high:g}")):
            picture.text(at(ratio, a)[0], 190, text, 12, "middle")
        picture.text(left, 12, "A > 0: a good token" if a > 0 else "A < 0: a bad token", 13, color=color, bold=True)
        picture.text(left + 260, 204, "ratio", 12, "end", color=GREY)
        picture.text(left, 36, "objective", 12, color=GREY)
    return picture
