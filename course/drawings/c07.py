"""Chapter 07's drawings: where the learned numbers stand, factors beside a weight, what a backward pass needs, length and
direction, a prefix before the text, and which numbers an orthogonal matrix mixes."""

from collections.abc import Mapping, Sequence

from course.drawing import Drawing
from course.plots import BLUE, GREEN, GREY, ORANGE, VERMILION


def where_it_is_learned() -> Drawing:
    """The same weight six times: what is learned is coloured."""
    picture = Drawing(
        600, 250,
        alt="Six ways to change a layer. Full fine-tuning colours the whole weight W. The last layers: only the uppermost of "
        "three weights is coloured. LoRA: W is grey, with two thin coloured matrices B and A beside it. DoRA: the same, and a "
        "coloured column of lengths. Prefix: coloured keys and values stand before the text. OFT, BOFT, GSOFT: a square matrix "
        "Q with coloured blocks stands before a grey W.",
    )  # fmt: skip
    names = ("full fine-tuning", "the last layers", "LoRA", "DoRA", "prefix", "OFT, BOFT, GSOFT")
    for i, name in enumerate(names):
        x, y = 10 + 200 * (i % 3), 8 + 125 * (i // 3)
        picture.text(x + 90, y + 8, name, 13, "middle", bold=True)
        if i == 0:
            picture.box(x + 55, y + 24, 70, 70, "W", BLUE)
        elif i == 1:
            for k, color in enumerate((BLUE, GREY, GREY)):
                picture.box(x + 45, y + 24 + 25 * k, 90, 20, f"layer {3 - k}", color, size=12)
        elif i in (2, 3):
            picture.box(x + 12, y + 24, 70, 70, "W", GREY)
            picture.text(x + 93, y + 59, "+", 15, "middle")
            picture.box(x + 105, y + 24, 18, 70, "B", ORANGE, size=12)
            picture.box(x + 127, y + 24, 55, 18, "A", ORANGE, size=12)
            if i == 3:
                picture.box(x - 8, y + 24, 14, 70, "m", VERMILION, size=12)
        elif i == 4:
            picture.tokens(x - 5, y + 42, ["k v", "k v", "the", "fox"], [GREEN, GREEN, None, None], size=12)
            picture.text(x + 90, y + 84, "in each layer", 12, "middle")
        else:
            picture.box(x + 12, y + 24, 70, 70, "", None)
            for k in range(4):
                picture.cell(x + 14 + 16.5 * k, y + 26 + 16.5 * k, 16.5, 16.5, VERMILION, opacity=0.4)
            picture.text(x + 47, y + 104, "Q", 13, "middle")
            picture.text(x + 91, y + 59, "·", 15, "middle")
            picture.box(x + 100, y + 24, 70, 70, "W", GREY)
    return picture


def beside_the_weight(d_out: int, d_in: int, rank: int) -> Drawing:
    """W and its two factors, drawn to scale, with how many numbers each holds."""
    scale = 130 / max(d_out, d_in)
    height, width, thin = d_out * scale, d_in * scale, max(rank * scale, 7)
    factors = rank * (d_in + d_out)
    picture = Drawing(
        600, height + 92,
        alt=f"A grey weight of {d_out} rows and {d_in} columns, {d_out * d_in} numbers, plus a scale times a thin matrix B of "
        f"{rank} columns times a flat matrix A of {rank} rows, together {factors} numbers.",
    )  # fmt: skip
    top = 40
    picture.box(60, top, width, height, "W₀", GREY, size=15)
    picture.text(60 + width / 2, 22, f"{d_out} × {d_in}", 12, "middle")
    picture.text(60 + width / 2, top + height + 20, f"{d_out * d_in:,} numbers, frozen", 12, "middle", color=GREY)
    x = 60 + width + 55
    picture.text(x, top + height / 2, "+   α / r ·", 15, "middle")
    x += 60
    picture.box(x, top, thin, height, "", ORANGE)
    picture.text(x + thin / 2, 22, f"B: {d_out} × {rank}", 12, "middle")
    picture.box(x + thin + 40, top, width, thin, "", ORANGE)
    picture.text(x + thin + 40 + width / 2, 22, f"A: {rank} × {d_in}", 12, "middle")
    share = factors / (d_out * d_in)
    picture.text(x + 80, top + height + 20, f"{factors:,} numbers, {share:.1%} of W₀", 12, "middle", color=ORANGE)
    picture.text(60, top + height + 42, "B is 0 at the start, and A is random: so the sum begins as W₀.", 12)
    return picture


def what_backward_needs() -> Drawing:
    """The products of a linear layer, forward and backward, with a learned weight and with a frozen one."""
    picture = Drawing(
        600, 190,
        alt="Three products of a linear layer of one training step. Forward: W times x. Backward: W transposed times the "
        "gradient of the output, for the layers before, and the gradient times x, for the weight itself. With a frozen weight "
        "only the last one is not needed.",
    )  # fmt: skip
    rows = (("forward", "y = W x", "needed", "needed"),
            ("backward, for the layers before", "∂x = Wᵀ ∂y", "needed", "needed"),
            ("backward, for the weight", "∂W = ∂y xᵀ", "needed", "not needed"))  # fmt: skip
    for x, words in ((318, "product"), (440, "W learns"), (540, "W is frozen")):
        picture.text(x, 16, words, 12, "middle", bold=True)
    for i, (when, product, learned, frozen) in enumerate(rows):
        y = 32 + 50 * i
        picture.text(4, y + 19, when, 13)
        picture.box(250, y, 136, 38, product, BLUE)
        for x, says in ((440, learned), (540, frozen)):
            picture.text(x, y + 19, says, 13, "middle", color=GREEN if says == "needed" else VERMILION)
    return picture


def length_and_direction(before: Sequence[float], after: Sequence[float], length: float) -> Drawing:
    """A row of two numbers: the frozen one, LoRA's, and DoRA's, which has the direction of LoRA's and a length of its own."""
    size = max(length, *(sum(v * v for v in row) ** 0.5 for row in (before, after)))
    norm = sum(v * v for v in after) ** 0.5
    dora = [v / norm * length for v in after]
    picture = Drawing(
        600, 186,
        alt="Three arrows. The first is a row of the frozen weight. The second is the row that LoRA gives, turned "
        "and of another length. The third, beside them, has the direction of the second and a length that was learned.",
    )  # fmt: skip
    at = lambda row, x: (x + 150 * row[0] / size, 170 - 150 * row[1] / size)  # noqa: E731
    shown = (("row of W₀", before, GREY), ("row of W₀ + s B A", after, ORANGE), (f"DoRA: length {length:.2f}", dora, BLUE))
    for i, (words, row, color) in enumerate(shown):
        x = 60 if i < 2 else 200
        picture.arrow(x, 170, *at(row, x), color=color)
        picture.circle(x, 170)
        picture.line(380, 60 + 34 * i, 410, 60 + 34 * i, color, width=3)
        picture.text(420, 60 + 34 * i, words, 13)
    return picture


def before_the_text(places: int, tokens: Sequence[str]) -> Drawing:
    """Which key each token attends to, with a prefix before the text."""
    many, cell = len(tokens), 26
    picture = Drawing(
        600, 74 + cell * many,
        alt=f"A grid with a row for each of {many} tokens and a column for each key. All rows are coloured in the first "
        f"{places} columns, the prefix. Behind them each row is coloured up to its own token.",
    )  # fmt: skip
    left = 130
    for row, token in enumerate(tokens):
        picture.text(left - 10, 55 + cell * (row + 0.5), token, 12, "end", mono=True)
        for column in range(places + many):
            color = GREEN if column < places else BLUE if column - places <= row else None
            picture.cell(left + cell * column, 55 + cell * row, cell, cell, color, opacity=0.4)
    picture.text(left + cell * places / 2, 16, "learned", 12, "middle", color=GREEN)
    picture.text(left + cell * (places + many / 2), 16, "keys of the text", 12, "middle", color=BLUE)
    for column in range(places + many):
        picture.text(left + cell * (column + 0.5), 40, str(column), 12, "middle", mono=True)
    picture.text(left - 10, 40, "position", 12, "end")
    picture.text(left, 66 + cell * many, "a row: what this token attends to", 12)
    return picture


def what_is_mixed(matrices: Mapping[str, object]) -> Drawing:
    """Which numbers of a matrix are not zero, one grid for each name. matrices: (d, d) tensors."""
    side = 560 / len(matrices) - 22
    there = {name: matrix.abs() > 1e-7 for name, matrix in matrices.items()}
    shares = {name: f"{float(filled.float().mean()):.0%}" for name, filled in there.items()}
    picture = Drawing(
        600, side + 56,
        alt="One grid for each matrix; coloured where it is not zero. "
        + " ".join(f"{name}: {share} coloured." for name, share in shares.items()),
    )  # fmt: skip
    for i, (name, filled) in enumerate(there.items()):
        x, cell = 12 + i * (side + 22), side / len(filled)
        picture.text(x + side / 2, 12, name, 13, "middle", bold=True)
        picture.box(x, 26, side, side)
        for r, c in filled.nonzero().tolist():
            picture.bar(x + c * cell, 26 + r * cell, cell, cell, VERMILION)
        picture.text(x + side / 2, side + 42, f"{shares[name]} not zero", 12, "middle")
    return picture
