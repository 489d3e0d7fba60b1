"""The drawings of chapter 04: a pair through one model, the constant that cancels, where the score is read, calibration."""

from collections.abc import Sequence

import torch

from course.drawing import Drawing
from course.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION


def pair_through_one_model(prompt: str, first: str, second: str, scores: Sequence[float], probability: float) -> Drawing:
    """Two answers to a prompt, one model with one head, two scores, one probability."""
    picture = Drawing(
        width=600, height=196,
        alt=f"Two answers to one prompt each go through the same model with a head for one number. The scores are "
        f"{scores[0]:.1f} and {scores[1]:.1f}; the sigmoid of their difference, {probability:.2f}, is the probability that "
        "the first is preferred.",
    )  # fmt: skip
    picture.text(8, 16, f"x: {prompt}", 12)
    for y, name, answer, score, color in ((34, "y₁", first, scores[0], GREEN), (112, "y₂", second, scores[1], ORANGE)):
        picture.box(8, y, 190, 50, "", color)
        picture.text(16, y + 14, f"{name}:", 12, bold=True)
        for i, line in enumerate(_lines(answer, 26)):
            picture.text(38, y + 14 + 16 * i, line, 12)
        picture.arrow(198, y + 25, 236, y + 25, color=color)
        picture.arrow(356, y + 25, 394, y + 25, color=color)
        picture.box(394, y + 9, 74, 32, f"r = {score:.1f}", color)
        picture.line(468, y + 25, 490, y + 25, color)
        picture.line(490, y + 25, 490, 98, color)
    picture.box(236, 34, 84, 128, "one\nlanguage\nmodel", BLUE)
    picture.box(320, 34, 36, 128, "one\nhead", PURPLE, size=12)
    picture.arrow(490, 98, 514, 98)
    picture.box(514, 74, 82, 48, f"σ(r₁ − r₂)\n= {probability:.2f}", BLUE, bold=True)
    picture.text(278, 182, "the same weights for both", 12, "middle")
    return picture


def constant_that_cancels(groups: Sequence[tuple[str, Sequence[float]]], constants: Sequence[float]) -> Drawing:
    """Rewards of answers by prompt, and the same with a constant added to each prompt: the distances stay."""
    values = [r + c for (_, rewards), c in zip(groups, constants) for r in rewards] + [r for _, rs in groups for r in rs]
    low, high = min(values), max(values)
    place = lambda r: 70 + 510 * (r - low) / max(high - low, 1e-6)  # noqa: E731
    picture = Drawing(
        width=600, height=24 + 92 * len(groups),
        alt="For each prompt a row of dots, the rewards of its answers, and below it the same dots moved sideways by a "
        "constant of that prompt: the distances between the dots are the same, and only they count.",
    )  # fmt: skip
    for k, ((prompt, rewards), constant) in enumerate(zip(groups, constants)):
        y, moved = 54 + 92 * k, f"r {'+' if constant > 0 else '−'} {abs(constant):.0f}"
        picture.text(8, y - 19, f"x: {prompt}", 12, bold=True)
        for row, shift, color, name in ((y, 0.0, BLUE, "r"), (y + 32, constant, VERMILION, moved)):
            picture.line(70, row, 580, row, GREY)
            picture.text(60, row, name, 12, "end", color)
            for r in rewards:
                picture.circle(place(r + shift), row, 5, color)
        for r in rewards:
            picture.line(place(r), y + 6, place(r + constant), y + 26, GREY, dashed=True)
    picture.text(8, 10, "only distances within a row decide who is preferred", 12)
    return picture


def where_the_score_is_read(rows: Sequence[Sequence[str]], masks: Sequence[Sequence[int]], names: Sequence[str]) -> Drawing:
    """Rows of words, some of them padding; an arrow at each row's last real token."""
    picture = Drawing(
        width=600, height=36 + 52 * len(rows),
        alt="The words of one answer in a row, padded on the right, on the left and on both sides. In each row the score is "
        "read at the last real token, the end mark, never on the padding.",
    )  # fmt: skip
    for k, (words, mask, name) in enumerate(zip(rows, masks, names)):
        x, y = 106.0, 30 + 52 * k
        last = max(i for i, real in enumerate(mask) if real)
        picture.text(98, y + 12, name, 12, "end")
        for i, (word, real) in enumerate(zip(words, mask)):
            width = 7.2 * len(word) + 10 if real else 26
            picture.cell(x, y, width, 24, VERMILION if i == last else BLUE if real else None, opacity=0.3 if real else 0)
            if real:
                picture.text(x + width / 2, y + 12, word, 12, "middle")
            if i == last:
                picture.arrow(x + width / 2, y - 14, x + width / 2, y - 1, color=VERMILION)
            x += width + 2
    picture.text(106, 8, "blue: real tokens; empty: padding; red: here the score is read", 12)
    return picture


def calibration_in_bins(predicted: torch.Tensor, observed: torch.Tensor, count: torch.Tensor) -> Drawing:
    """The bins of a reliability diagram: how many pairs each holds, the mean prediction, the share of wins."""
    bins = len(count)
    width, bottom, height = 540 / bins, 176, 140
    picture = Drawing(
        width=600, height=226,
        alt="Predictions from 0 to 1 in bins. In each bin a line shows the mean prediction and a bar the share of pairs that "
        "were won; the distance between the two, weighted by the number of pairs in the bin, is the calibration error.",
    )  # fmt: skip
    picture.text(30, 14, "bars: share of wins; lines: mean prediction; red: the distance that counts", 12)
    for b in range(bins):
        x = 30 + width * b
        picture.text(x, bottom + 14, f"{b / bins:g}", 12, "middle")
        picture.text(x + width / 2, bottom + 32, f"{int(count[b])} pairs", 12, "middle", GREY)
        if count[b] == 0:
            continue
        p, share = bottom - height * float(predicted[b]), bottom - height * float(observed[b])
        picture.bar(x + 6, bottom, width - 12, share - bottom, BLUE, opacity=0.35)
        picture.line(x + 6, p, x + width - 6, p, width=2.2)
        picture.line(x + width / 2, p, x + width / 2, share, VERMILION, width=3)
    picture.text(570, bottom + 14, "1", 12, "middle")
    picture.line(30, bottom, 570, bottom)
    return picture


def _lines(text: str, most: int) -> list[str]:
    """A text in lines of at most so many characters."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
