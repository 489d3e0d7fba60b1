"""How the course's pictures look, and the few that every chapter draws: curves against known levels, tokens in colour.

Colours are the Okabe–Ito palette, which readers with any colour vision can tell apart.
"""

from collections.abc import Mapping, Sequence
from html import escape
from statistics import median

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8a8f98"
)  # fmt: skip
CYCLE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)


def use_style() -> None:
    """Set matplotlib's defaults for the notebook: quiet axes, our colours, sharp enough for a projector."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "figure.figsize": (8.0, 4.0),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": plt.cycler(color=CYCLE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.titlesize": 11,
            "legend.frameon": False,
            "lines.linewidth": 2.0,
        }
    )


def mark_levels(axes, levels: Mapping[str, float], color: str = GREY) -> None:
    """Draw horizontal lines at known levels, each named at its right end.

    Names that would collide are pushed apart; the lines stay where they belong.
    """
    low, high = axes.get_ylim()
    room = 0.055 * (high - low)
    at = -float("inf")
    for name, level in sorted(levels.items(), key=lambda item: item[1]):
        axes.axhline(level, color=color, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        at = max(level, at + room)
        axes.annotate(
            f"{name} {level:.2f}",
            xy=(1.0, level),
            xytext=(1.015, at),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color=color,
            annotation_clip=False,
        )


def band(axes, runs: Sequence[Sequence[Mapping]], name: str, color: str, label: str | None = None, spare: int = 0) -> None:
    """The median of several runs of equal length, and the band between the lowest and the highest.

    runs: each a list of what was measured at every update; spare: how many runs to leave out of the band at either end.
    """
    columns = [sorted(run[i][name] for run in runs) for i in range(len(runs[0]))]
    spare = min(spare, (len(runs) - 1) // 2)
    axes.plot([median(column) for column in columns], color=color, label=label)
    low, high = [column[spare] for column in columns], [column[-1 - spare] for column in columns]
    axes.fill_between(range(len(columns)), low, high, color=color, alpha=0.18, linewidth=0)


def name_lines(axes) -> None:
    """Write each labelled line's name at its last point, in its colour, instead of a legend. Call after plotting."""
    lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    low, high = axes.get_ylim()
    height = axes.get_window_extent().height / axes.figure.dpi * 72  # of the axes, in points
    room, at = 11 / height * (high - low), -float("inf")  # letters of 9 points, and a gap
    for line in sorted(lines, key=lambda line: line.get_ydata()[-1]):
        at = max(line.get_ydata()[-1], at + room)
        axes.annotate(
            f" {line.get_label()}", xy=(line.get_xdata()[-1], at), va="center", fontsize=9, color=line.get_color(),
            annotation_clip=False,
        )  # fmt: skip


def tokens_html(tokens: Sequence[str], colors: Sequence[str | None], notes: Sequence[str] | None = None) -> str:
    """Tokens as coloured chips; a token whose colour is None stays plain. notes: a small line under each token."""
    chips = []
    for i, (token, color) in enumerate(zip(tokens, colors, strict=True)):
        fill = f"background:{color}33;box-shadow:inset 0 -2px 0 {color}" if color else "opacity:.6"
        note = f"<div style='font-size:10px;opacity:.75'>{escape(notes[i])}</div>" if notes else ""
        chips.append(
            f"<span style='display:inline-block;text-align:center;padding:1px 5px;margin:2px 1px;border-radius:4px;"
            f"font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px;{fill}'>{escape(token)}{note}</span>"
        )
    return "<div style='line-height:1.9;max-width:60em'>" + "".join(chips) + "</div>"


def show_tokens(tokens: Sequence[str], colors: Sequence[str | None], notes: Sequence[str] | None = None) -> None:
    """Display tokens as coloured chips, see `tokens_html`."""
    from IPython.display import HTML, display

    display(HTML(tokens_html(tokens, colors, notes)))


def show_table(rows: Sequence[Mapping[str, object]], caption: str = "") -> None:
    """Display rows as a plain table. A key is a column; where a row lacks it, the place stays empty."""
    from IPython.display import HTML, display

    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th style='text-align:left'>{escape(str(name))}</th>" for name in names)
    cells = [[f"<td style='text-align:left'>{escape(_shown(row.get(name, '')))}</td>" for name in names] for row in rows]
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    title = f"<caption style='text-align:left;font-weight:600'>{escape(caption)}</caption>" if caption else ""
    display(HTML(f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"))


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def last_words(text: str, count: int = 9) -> str:
    """The end of a text, for a table: its last words, behind an ellipsis where there are more."""
    words = text.split()
    return text if len(words) <= count else "… " + " ".join(words[-count:])
