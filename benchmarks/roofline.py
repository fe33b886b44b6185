"""The roofline picture of a model on this machine: what the machine allows, what is reached.

    motet bench model MODEL --json > figures.json
    python benchmarks/roofline.py figures.json docs/roofline.svg

Across: operations for each byte that a step has to read from memory. Up: operations a second. The
roof rises with the memory's speed and ends at the peak of 8-bit arithmetic. Both axes are
logarithmic.
"""

import argparse
import json
import math
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, MARGIN = 760, 460, 70


class Axes:
    """Where a point of the diagram lies on the page."""

    def __init__(self, xs: list[float], ys: list[float]) -> None:
        self.left, self.right = math.log2(min(xs)) - 1, math.log2(max(xs)) + 1
        self.bottom, self.top = math.log2(min(ys)) - 1, math.log2(max(ys)) + 0.5

    def at(self, x: float, y: float) -> tuple[float, float]:
        """In pixels."""
        across = (math.log2(x) - self.left) / (self.right - self.left)
        up = (math.log2(y) - self.bottom) / (self.top - self.bottom)
        return MARGIN + across * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - up * (HEIGHT - 2 * MARGIN)


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """One line of writing."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(begin: tuple[float, float], end: tuple[float, float], style: str) -> str:
    """A straight line."""
    (x1, y1), (x2, y2) = begin, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def picture(report: dict[str, Any]) -> Iterator[str]:
    """The lines of the SVG."""
    machine = report["machine"]
    peak, bandwidth = machine["int8_operations"] / 1e9, machine["read_bytes"] / 1e9
    points = [
        (each["name"], each["operations"] / each["bytes"], each["operations_per_second"] / 1e9)
        for each in report["phases"]
    ]
    ridge = peak / bandwidth
    xs, ys = [x for _, x, _ in points], [y for _, _, y in points]
    axes = Axes([*xs, ridge], [*ys, peak])
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    left, right = 2**axes.left, 2**axes.right
    roof = 'stroke="#444" stroke-width="2"'
    yield line(axes.at(left, left * bandwidth), axes.at(ridge, peak), roof)
    yield line(axes.at(ridge, peak), axes.at(right, peak), roof)
    x, y = axes.at(right, peak)
    yield text(x, y - 8, f"8-bit arithmetic, {peak:.0f} GOPS", "end")
    middle = math.sqrt(left * peak / bandwidth)  # of the slope
    x, y = axes.at(middle, middle * bandwidth)
    yield text(x - 8, y - 4, f"memory, {bandwidth:.1f} GB/s", "end")
    for name, across, reached in points:
        x, y = axes.at(across, reached)
        yield line((x, y), axes.at(across, min(peak, across * bandwidth)), 'stroke="#bbb"')
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#0b62a4"/>'
        side, anchor = (7, "start") if x < WIDTH * 2 / 3 else (-7, "end")
        yield text(x + side, y + 4, f"{name}: {reached:.0f} GOPS", anchor)
    base = HEIGHT - MARGIN
    yield line((MARGIN, base), (WIDTH - MARGIN, base), 'stroke="black"')
    for power in range(math.ceil(axes.left), math.floor(axes.right) + 1):
        x, _ = axes.at(2.0**power, 2**axes.bottom)
        yield text(x, base + 16, f"{2**power:g}", "middle")
    yield text(WIDTH / 2, HEIGHT - 24, "operations per byte read from memory", "middle")
    threads, isa = machine["threads"], machine["instruction_set"]
    yield text(WIDTH / 2, 28, f"{threads} threads, {isa}, {report['precision']} mode", "middle")
    yield "</svg>"


def main() -> None:
    """Read the figures, write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, help="what motet bench model --json printed")
    parser.add_argument("picture", type=Path, help="the SVG file to write")
    options = parser.parse_args()
    report = json.loads(options.figures.read_text(encoding="utf-8"))
    options.picture.write_text("\n".join(picture(report)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
