"""What the demo prints: headings, lines of time, tables. Colour is for terminals only, and never says anything that
the words do not."""

import os
import shutil
import sys
import textwrap

WIDTH = min(100, max(60, shutil.get_terminal_size((100, 25)).columns))
COLOURED = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"

STATE_COLOURS = {
    "UP": GREEN,
    "RUNNING": GREEN,
    "DRAIN": YELLOW,
    "MAINT": YELLOW,
    "STARTING": YELLOW,
    "STOPPING": YELLOW,
    "STOPPED": YELLOW,
    "DOWN": RED,
    "EXITED": RED,
    "FATAL": RED,
}
SOURCE_COLOURS = {"demo": BOLD, "HAProxy": CYAN}


def paint(text, colour):
    return f"\033[{colour}m{text}\033[0m" if COLOURED and colour else text


def say(text=""):
    print(text, flush=True)


def paragraph(text, colour=None, indent="   "):
    for line in textwrap.wrap(text, WIDTH - len(indent)):
        say(indent + paint(line, colour))


def heading(number, title):
    say()
    say(paint(f"{number}  {title}", BOLD))


def event(milliseconds, source, text):
    say(f"{milliseconds:9} ms  {paint(f'{source:<12}', SOURCE_COLOURS.get(source))} {text}")


def states(names, rows):
    """A table of states: `rows` is a list of (who says so, {name: state})."""
    say(f"   {'':<13}" + columns(names, dict.fromkeys(names, DIM)))
    for who, known in rows:
        say(f"   {who:<13}" + columns([known.get(name, "-") for name in names], STATE_COLOURS))


def columns(cells, colours):
    # Padded before it is painted: the codes of a colour have no width.
    return "".join(paint(cell, colours.get(cell)) + " " * max(1, 10 - len(cell)) for cell in cells).rstrip()


def table(header, rows):
    """Words in the first column, figures in the others."""
    widths = [max(len(str(row[column])) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        cells = [f"{row[0]:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:]))]
        say(paint("   " + "  ".join(cells), DIM if row is header else None))


def findings(rows):
    """The summary: (number, step, what, milliseconds) in columns; `number` and `step` only where they change."""
    widths = [max(len(str(row[column])) for row in rows) for column in range(3)]
    last = None
    say(paint(f"   {'step':<{widths[0] + widths[1] + 2}}  {'what happened':<{widths[2]}}  {'ms':>6}", DIM))
    for number, step, what, milliseconds in rows:
        shown = (number, step) if number != last else ("", "")
        last = number
        say(f"   {shown[0]:>{widths[0]}}  {shown[1]:<{widths[1]}}  {what:<{widths[2]}}  {milliseconds:6}")
