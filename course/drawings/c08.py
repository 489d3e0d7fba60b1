"""Drawings of chapter 08: prompts, the tokens of a label, a row of pairs and its table, beliefs, a head that looks back."""

from collections.abc import Sequence

from course.drawing import Drawing
from course.plots import BLUE, GREEN, GREY, ORANGE, VERMILION


def three_prompts(prompts: Sequence[str]) -> Drawing:
    """Prompts with no, one and several examples, one under the other: each block in a frame, the last one open."""
    names = ("zero-shot", "one-shot", "few-shot")
    blocks = [prompt.split("\n\n") for prompt in prompts]
    height = sum(30 + 42 * len(some) for some in blocks) + 6
    told = "; ".join(f"{name}: {len(some) - 1} examples and the question" for name, some in zip(names, blocks))
    picture = Drawing(600, height, alt=f"Three prompts as blocks of two lines. {told}. The last block of each ends with a colon.")
    y = 4
    for name, some in zip(names, blocks):
        picture.text(6, y + 12, name, 13, bold=True)
        for i, block in enumerate(some):
            last = i == len(some) - 1
            top = y + 24 + 42 * i
            picture.box(6, top, 588, 38, color=ORANGE if last else BLUE, dashed=last)
            for j, line in enumerate(block.split("\n")):
                picture.text(14, top + 11 + 17 * j, line if len(line) < 76 else line[:74] + "…", 12, mono=True)
            if last:
                picture.text(586, top + 28, "the label has to follow here", 12, "end", color=ORANGE)
        y += 30 + 42 * len(some)
    return picture


def label_tokens(whole: Sequence[str], first: int, apart: Sequence[str], equal: bool) -> Drawing:
    """The last tokens of a prompt and its label, encoded as one text, and the same with the label encoded alone."""
    shown = 6
    rows = [("encoded as one text", list(whole), first), ("the label encoded alone", list(apart), first)]
    same = "the same" if equal else "not the same"
    picture = Drawing(
        600, 128,
        alt=f"Two rows of tokens. As one text, the label is {''.join(whole[first:])}. Encoded alone it is "
        f"{''.join(apart[first:])}: the ids are {same}.",
    )  # fmt: skip
    for i, (name, tokens, start) in enumerate(rows):
        y = 6 + 62 * i
        picture.text(6, y + 8, name, 13, bold=True)
        some = tokens[max(0, start - shown) :]
        own = [max(0, start - shown) + j >= start for j in range(len(some))]
        colors = [(GREEN if i == 0 else VERMILION) if mine else GREY for mine in own]
        picture.text(6, y + 32, "…", 13)
        picture.tokens(24, y + 20, some, colors)
    return picture


def _pairs(picture: Drawing, xs: Sequence[int], ys: Sequence[int], y: float, step: float, left: float) -> list[float]:
    """Pairs as two boxes each; returns where each pair begins."""
    starts = []
    for i, (a, b) in enumerate(zip(xs, ys)):
        x = left + step * i
        picture.box(x, y, step * 0.42, 26, f"x{a}", BLUE, size=12)
        picture.box(x + step * 0.46, y, step * 0.42, 26, f"y{b}", GREEN, size=12)
        starts.append(x)
    return starts


def row_of_pairs(xs: Sequence[int], ys: Sequence[int], table: Sequence[int]) -> Drawing:
    """The hidden table of a row, and the pairs that were drawn from it; labels that are noise are marked."""
    noisy = [i for i, (a, b) in enumerate(zip(xs, ys)) if table[a] != b]
    picture = Drawing(
        600, 176,
        alt=f"A table that gives each of {len(table)} inputs a label, and under it a row of {len(xs)} pairs drawn from it; "
        f"{len(noisy)} of their labels are noise.",
    )  # fmt: skip
    picture.text(6, 12, "the table, which nobody shows", 13, bold=True)
    width = 588 / len(table)
    for a, b in enumerate(table):
        used = a in xs
        picture.cell(6 + width * a, 26, width, 22, BLUE if used else None, opacity=0.2)
        picture.cell(6 + width * a, 48, width, 22, GREEN if used else None, opacity=0.2)
        picture.text(6 + width * (a + 0.5), 37, f"x{a}", 12, "middle")
        picture.text(6 + width * (a + 0.5), 59, f"y{b}", 12, "middle")
    picture.text(6, 96, "the row, which is read", 13, bold=True)
    starts = _pairs(picture, xs, ys, 112, 588 / len(xs), 6)
    for i, x in enumerate(starts):
        if i in noisy:
            picture.text(x + 588 / len(xs) * 0.67, 148, "noise", 12, "middle", color=VERMILION)
    picture.text(594, 166, "at each x: what comes next?", 12, "end", color=GREY)
    return picture


def beliefs(xs: Sequence[int], ys: Sequence[int], found: Sequence[Sequence[float]], true: int) -> Drawing:
    """What exact inference believes of each table before every pair of a row; the table that the row is from is coloured."""
    count = len(found[0])
    told = ", ".join(f"{row[true]:.2f}" for row in found)
    picture = Drawing(600, 150, alt=f"Bars of the belief in each of {count} tables before each pair. In the true one: {told}.")
    step = 588 / len(xs)
    starts = _pairs(picture, xs, ys, 112, step, 6)
    width = step * 0.88 / count
    for x, row in zip(starts, found):
        picture.line(x, 100, x + step * 0.88, 100, GREY)
        for z, belief in enumerate(row):
            picture.bar(x + z * width, 100, width * 0.8, -66 * belief - 0.5, ORANGE if z == true else GREY)
        picture.text(x + step * 0.44, 24, f"{row[true]:.2f}", 12, "middle", color=ORANGE)
    picture.text(6, 10, "belief in each table before the pair; the true one in colour", 12)
    return picture


def looking_back(xs: Sequence[int], ys: Sequence[int], weights: Sequence[Sequence[float]], name: str) -> Drawing:
    """From each input that comes again, where one head looks: lines as wide as the attention. weights: (2 pairs, 2 pairs)."""
    again = [i for i in range(len(xs)) if xs[i] in list(xs)[:i]]
    hits = {i: sum(weights[2 * i][2 * j + 1] for j in range(i) if xs[j] == xs[i]) for i in again}
    told = ", ".join(f"pair {i + 1}: {hit:.2f}" for i, hit in hits.items())
    picture = Drawing(
        600, 176,
        alt=f"A row of pairs, and lines from inputs that come again to where {name} looks. Attention to the labels that the same "
        f"input had before, {told}.",
    )  # fmt: skip
    step = 588 / len(xs)
    _pairs(picture, xs, ys, 120, step, 6)
    center = lambda place: 6 + step * (place // 2) + step * (0.21 if place % 2 == 0 else 0.67)  # noqa: E731
    for i in again:
        for place, weight in enumerate(weights[2 * i][: 2 * i + 1]):
            if weight < 0.08:
                continue
            start, end = center(2 * i), center(place)
            top = 112 - 22 - 62 * (start - end) / 588
            points = [(start + (end - start) * t / 12, 116 - (116 - top) * 4 * (t / 12) * (1 - t / 12)) for t in range(13)]
            right = place % 2 == 1 and xs[place // 2] == xs[i]
            picture.path(points, ORANGE if right else GREY, width=0.6 + 3 * weight)
    picture.text(6, 12, f"{name}: where the inputs that come again look", 13, bold=True)
    picture.text(6, 164, "orange: at a label that the same input had before", 12, color=ORANGE)
    return picture
