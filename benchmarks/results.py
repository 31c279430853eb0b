"""Results in one place: each table of figures in the docs is rendered from a record of the command that made it.

    python benchmarks/results.py                          # list the records: command, date, version
    python benchmarks/results.py --run paper --write      # run commands anew, then render the pages
    python benchmarks/results.py --run NAME --with CIFAR10=/data/cifar10
    python benchmarks/results.py --check paper            # run, and end with 1 where figures differ from the record

A record is a file of `benchmarks/records`: the command, when, with which version and on which processor it ran, what
its figures vary over, columns and rows. `rules` find the rows in the command's output: a line that matches `line`, a
regular expression with named groups, gives the cells of `row`, in which {group} is replaced; a rule without `row`
keeps its groups for the lines below it, such as a title; groups of `fill` keep what stood above where they are empty.
`names` replaces words such as names of networks. A record without rules was written by hand from the output.

A page shows a record between the lines

    <!-- results: NAME -->
    <!-- end of results -->

and the headlines of several between `<!-- summary: NAME NAME ... -->` and the same end. A headline is the record's
`summary`: `what` and `measured`, in which {row | column} is a cell. What stands between the lines is rendered: change
the record instead.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mho.version import __version__

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "benchmarks" / "records"
END = "<!-- end of results -->"
_BLOCK = re.compile(rf"^<!-- (results|summary): ([\w -]+) -->\n.*?^{END}$", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"\{([^|{}]+) \| ([^|{}]+)\}")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]+(\.\w+)?")


@dataclass(frozen=True)
class Record:
    """One table of figures and where they come from.

    Attributes:
        command: that prints the figures; words in capitals (CIFAR10, WEIGHTS) are files of the user's. Empty: there is
            none any more, as `not_rerun` says.
        date: of the run, year-month-day.
        spread: what the figures vary over (seeds, chips, processors), or that they are counts.
        columns, rows: the table, as Markdown.
        version: of mho, with the commit; empty: not recorded.
        processor: on which it ran; empty: not recorded.
        not_rerun: why `--run` is not expected to repeat it here in minutes; empty: it can be.
        rules: how rows are found in the output: each with `line`, and `row` but for titles.
        names: words of the output and what the table calls them.
        summary: `what` and `measured` of the headline, where the record has one.
    """

    name: str
    command: str
    date: str
    spread: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    version: str = ""
    processor: str = ""
    not_rerun: str = ""
    rules: tuple[dict[str, Any], ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    summary: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str) -> Record:
        content = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
        content["columns"] = tuple(content["columns"])
        content["rows"] = tuple(map(tuple, content["rows"]))
        content["rules"] = tuple(content.get("rules", ()))
        record = cls(name=name, **content)
        if any(len(row) != len(record.columns) for row in record.rows):
            raise SystemExit(f"{name}: a row has more or fewer cells than there are columns")
        return record

    def save(self) -> None:
        (RECORDS / f"{self.name}.json").write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        """Return the file's text: a line for each row, so that a change of one figure is a change of one line."""
        content = {key: value for key, value in vars(self).items() if key != "name" and (value or key == "command")}
        lines = []
        for key, value in content.items():
            if key in ("rows", "rules"):
                rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in value)
                lines.append(f' "{key}": [\n{rows}\n ]')
            else:
                lines.append(f' "{key}": {json.dumps(value, ensure_ascii=False)}')
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def parse(self, output: str) -> tuple[tuple[str, ...], ...]:
        """Return the rows that the rules find in the output of the command."""
        rows, words = [], dict[str, str]()
        for line in output.splitlines():
            for rule in self.rules:
                if found := re.search(rule["line"], line):
                    new = {key: self.names.get(value, value) for key, value in found.groupdict(default="").items()}
                    words |= {key: value for key, value in new.items() if value or key not in rule.get("fill", ())}
                    if "row" in rule:
                        rows.append(tuple(cell.format(**words) for cell in rule["row"]))
                    break
        return tuple(rows)

    def cell(self, row: str, column: str) -> str:
        """Return the cell of the first row that begins with `row`."""
        cells = [cells for cells in self.rows if cells[0] == row]
        if not cells or column not in self.columns:
            raise SystemExit(f"{self.name}: there is no cell {row} | {column}")
        return cells[0][self.columns.index(column)]

    def render(self) -> str:
        """Return the table, and below it the line that says where it comes from."""
        lines = [_row(self.columns), "|---" * len(self.columns) + "|", *map(_row, self.rows)]
        made = ", ".join(filter(None, [self.date, f"mho {self.version}" if self.version else "", self.processor]))
        if self.not_rerun:
            made = f"recorded {made}, not rerun: {self.not_rerun}"
        source = f"`{self.command}` ({made})" if self.command else made[0].upper() + made[1:]
        return "\n".join([*lines, "", f"{source}. {self.spread}"])

    def headline(self) -> str:
        """Return the row of the record in a table of headlines."""
        if not self.summary:
            raise SystemExit(f"{self.name}: the record has no summary")
        measured = _CELL.sub(lambda found: self.cell(found[1], found[2]), self.summary["measured"])
        return _row((self.summary["what"], measured, f"`{self.command}`"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="+", default=[], metavar="RECORD", help="run the command and write the record")
    parser.add_argument("--check", nargs="+", default=[], metavar="RECORD", help="run the command and compare")
    parser.add_argument("--with", nargs="+", default=[], metavar="WORD=PATH", dest="files", help="files of the user's")
    parser.add_argument("--timeout-s", type=float, default=3600.0, help="of each command (3600)")
    parser.add_argument("--write", action="store_true", help="render the pages")
    options = parser.parse_args()
    files = dict(pair.split("=", 1) for pair in options.files)
    for name in options.run:
        rerun(Record.load(name), files, options.timeout_s).save()
        print(f"{name}: written")
    differ = [name for name in options.check if not is_same(name, files, options.timeout_s)]
    if options.write:
        for page in pages():
            page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
    if not (options.run or options.check or options.write):
        for record in map(Record.load, record_names()):
            print(f"{record.name:28} {record.date}  {record.version or '-':16} {record.command or record.not_rerun}")
    if differ:
        raise SystemExit(f"figures differ from the records: {', '.join(differ)}")


def record_names() -> list[str]:
    return sorted(path.stem for path in RECORDS.glob("*.json"))


def pages() -> list[Path]:
    """Return the pages that show records."""
    candidates = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in candidates if END in page.read_text(encoding="utf-8")]


def render(text: str) -> str:
    """Return a page with all that stands between its markers rendered from the records."""

    def fill(found: re.Match[str]) -> str:
        records = [Record.load(name) for name in found[2].split()]
        if found[1] == "summary":
            body = "\n".join(["| what | measured | command |", "|---|---|---|", *(one.headline() for one in records)])
        else:
            body = "\n\n".join(one.render() for one in records)
        return f"<!-- {found[1]}: {found[2]} -->\n\n{body}\n\n{END}"

    return _BLOCK.sub(fill, text)


def shown_on(text: str) -> set[str]:
    """Return the names of all records that a page shows in full."""
    return {name for kind, names in _BLOCK.findall(text) if kind == "results" for name in names.split()}


def rerun(record: Record, files: dict[str, str], timeout_s: float) -> Record:
    """Run the command of a record; return it with the figures that it prints."""
    if not record.rules:
        raise SystemExit(f"{record.name}: written by hand, as it has no rules that find its figures in an output")
    rows = record.parse(run(record.command, files, timeout_s))
    if len(rows) != len(record.rows):
        raise SystemExit(f"{record.name}: {len(rows)} rows in the output, {len(record.rows)} in the record")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return replace(record, rows=rows, date=today, version=version(), processor=processor(), not_rerun="")


def is_same(name: str, files: dict[str, str], timeout_s: float) -> bool:
    record = Record.load(name)
    found = rerun(record, files, timeout_s)
    for old, new in zip(record.rows, found.rows, strict=True):
        if old != new:
            print(f"{name}: {_row(old)} is now {_row(new)}")
    return record.rows == found.rows


def run(command: str, files: dict[str, str], timeout_s: float) -> str:
    """Return what a command prints. Raises `SystemExit` where it fails, takes too long, or a file is not given."""
    words = [files.get(word, word) for word in shlex.split(command)]
    if missing := [word for word in words if _PLACEHOLDER.fullmatch(word)]:
        raise SystemExit(f"{command}: say where it lies, as --with {missing[0]}=PATH")
    if words[0] in ("python", "mho"):
        words[:1] = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "mho"]
    try:
        done = subprocess.run(
            words,
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "250"},
            stdout=subprocess.PIPE,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"{command}: not finished after {timeout_s:g} s") from error
    if done.returncode:
        raise SystemExit(f"{command}: exit code {done.returncode}")
    return done.stdout


def version() -> str:
    """Return the version with the commit, and a + where sources differ from it."""
    commit = _git("rev-parse", "--short=7", "HEAD")
    return f"{__version__} {commit}{'+' if _git('status', '--porcelain', 'src') else ''}".rstrip()


def processor() -> str:
    """Return the processor's name and the instruction set that decides speed and last bits."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "unknown processor"
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = text.split()
    sets = (("avx512_vnni", "AVX-512 VNNI"), ("avx512f", "AVX-512"), ("avx2", "AVX2"))
    name = re.sub(r"\((R|TM)\)", "", model[1]) if model else "unknown processor"
    return f"{name} ({next((text for flag, text in sets if flag in flags), 'no AVX2')})"


def _git(*arguments: str) -> str:
    """Return what git prints; nothing where there is no git or no repository."""
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
