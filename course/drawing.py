"""Line drawings in one hand: boxes, arrows, tokens and bars as SVG, made by code.

The ink is the colour of the page's own text, so that a drawing is legible on white and in the dark. Every drawing has an
alt text: what somebody is told who cannot see it.

    picture = Drawing(width=600, height=80, alt="Two models; the policy's answer goes to the reward model.")
    picture.box(10, 20, 120, 40, "policy", plots.BLUE)
    picture.arrow(130, 40, 230, 40, "answer")
    picture  # as the last expression of a cell
"""

import math
from collections.abc import Sequence
from html import escape

MONO = "ui-monospace, Menlo, Consolas, monospace"
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
CHARACTER = 0.62  # width of a monospaced character, as a share of the size


class Drawing:
    """A drawing of width x height pixels; on a narrow page it shrinks. x goes right and y goes down, from the upper left.

    Raises ValueError when there is no alt text.
    """

    def __init__(self, width: int, height: int, alt: str):
        if not alt.strip():
            raise ValueError("A drawing needs an alt text: what it shows, in one or two sentences.")
        self.width, self.height, self.alt = width, height, alt
        self._shapes: list[str] = []

    def box(self, x, y, w, h, text: str = "", color: str | None = None, *, size: int = 13, dashed: bool = False, bold=False):
        """A rounded box with centred text; lines of text are separated by a newline. color: of the frame, and lightly inside."""
        fill = f'fill="{color}" fill-opacity=".16"' if color else 'fill="none"'
        self._add(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="5" {fill} stroke="{color or "currentColor"}" '
            f'stroke-width="1.3"{_dashes(dashed)}/>'
        )
        lines = text.split("\n") if text else []
        for i, line in enumerate(lines):
            self.text(x + w / 2, y + h / 2 + (i - (len(lines) - 1) / 2) * size * 1.25, line, size, "middle", bold=bold)

    def line(self, x1, y1, x2, y2, color: str | None = None, *, dashed: bool = False, width: float = 1.3):
        """A straight line."""
        self._add(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{color or "currentColor"}" '
            f'stroke-width="{width:g}"{_dashes(dashed)}/>'
        )

    def arrow(self, x1, y1, x2, y2, text: str = "", color: str | None = None, *, dashed: bool = False, size: int = 12):
        """A line with a head at its end, and a text above its middle."""
        self.line(x1, y1, x2, y2, color, dashed=dashed)
        angle = math.atan2(y2 - y1, x2 - x1)
        wings = [(x2 - 8 * math.cos(angle + turn), y2 - 8 * math.sin(angle + turn)) for turn in (0.42, -0.42)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(x2, y2), *wings])
        self._add(f'<polygon points="{points}" fill="{color or "currentColor"}"/>')
        if text:
            self.text((x1 + x2) / 2, (y1 + y2) / 2 - 9, text, size, "middle", color)

    def path(self, points: Sequence[tuple[float, float]], color: str | None = None, *, dashed: bool = False, width=1.8):
        """A line through several points, as of a curve."""
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._add(
            f'<polyline points="{joined}" fill="none" stroke="{color or "currentColor"}" stroke-width="{width:g}"'
            f"{_dashes(dashed)}/>"
        )

    def circle(self, x, y, radius: float = 3.5, color: str | None = None):
        """A filled dot."""
        self._add(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{color or "currentColor"}"/>')

    def text(
        self, x, y, text: str, size: int = 13, anchor: str = "start", color: str | None = None, *, bold=False, mono=False
    ):
        """One line of text, vertically centred at y. anchor: what of it stands at x: "start", "middle" or "end"."""
        weight = ' font-weight="600"' if bold else ""
        # An explicit baseline: dominant-baseline is not kept where a drawing is turned into another format.
        self._add(
            f'<text x="{x:g}" y="{y + 0.35 * size:g}" font-size="{size}" text-anchor="{anchor}" xml:space="preserve" '
            f'font-family="{MONO if mono else SANS}" fill="{color or "currentColor"}"{weight}>{escape(text)}</text>'
        )

    def bar(self, x, y, w, h, color: str, *, opacity: float = 0.75):
        """A filled bar whose upper left corner is (x, y); a negative height goes up from y."""
        top, height = (y, h) if h >= 0 else (y + h, -h)
        self._add(
            f'<rect x="{x:g}" y="{top:g}" width="{w:g}" height="{height:g}" fill="{color}" fill-opacity="{opacity:g}"/>'
        )

    def cell(self, x, y, w, h, color: str | None, *, opacity: float = 0.75):
        """A cell of a grid, such as of a mask: filled where it has a colour."""
        fill = f'fill="{color}" fill-opacity="{opacity:g}"' if color else 'fill="none"'
        self._add(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" {fill} stroke="currentColor" stroke-opacity=".35" '
            f'stroke-width=".7"/>'
        )

    def tokens(
        self,
        x,
        y,
        tokens: Sequence[str],
        colors: Sequence[str | None],
        notes: Sequence[str] | None = None,
        *,
        size: int = 13,
        gap: int = 3,
    ) -> list[tuple[float, float]]:
        """A row of tokens as boxes whose upper edge is y, with a small note under each. Returns (left, right) of each."""
        places = []
        for i, (token, color) in enumerate(zip(tokens, colors, strict=True)):
            letters = max(len(token), len(notes[i]) if notes else 0)
            w = letters * size * CHARACTER + 10
            self.cell(x, y, w, size * 1.8, color, opacity=0.22)
            self.text(x + w / 2, y + size * 0.9, token, size, "middle", mono=True)
            if notes:
                self.text(x + w / 2, y + size * 2.5, notes[i], 12, "middle", color, mono=True)
            places.append((x, x + w))
            x += w + gap
        return places

    def svg(self) -> str:
        """The drawing as an SVG element."""
        shapes = "\n".join(self._shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(self.alt)}" style="width:100%;max-width:{self.width}px;height:auto;color:inherit">'
            f"<title>{escape(self.alt)}</title>\n{shapes}\n</svg>"
        )

    def __repr__(self) -> str:
        return f"[drawing: {self.alt}]"

    def _repr_html_(self) -> str:
        # HTML and not image/svg+xml: an image does not know the colour of the text around it.
        return f'<div style="color:var(--jp-content-font-color1, inherit)">{self.svg()}</div>'

    def _add(self, shape: str) -> None:
        self._shapes.append(shape)


def _dashes(dashed: bool) -> str:
    return ' stroke-dasharray="5 4"' if dashed else ""
