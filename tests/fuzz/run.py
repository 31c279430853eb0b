"""Runs the fuzzer: `python tests/fuzz/run.py --cases 1000 --seed 0 --kind program`.

Seeds count up from the first one. A failing case is reduced, saved with its files, and read again by `--replay FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded; a process with threads cannot be forked
if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2**30:  # quicker than a disk
    os.environ["TMPDIR"] = "/dev/shm"
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

from kinds import HOMES, make_kind  # noqa: E402

_MAX_FAILURES = 5


def main() -> int:
    """Return 1 where a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500, help="of each kind")
    parser.add_argument("--seed", type=int, default=None, help="of the first case; drawn by the clock without")
    parser.add_argument("--kind", action="append", choices=sorted(HOMES), help="all kinds without; may be repeated")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="where failing cases are saved")
    parser.add_argument("--replay", type=Path, metavar="FOLDER", help="read a saved case again")
    parser.add_argument(
        "--serve", action="store_true", help="take lines KIND CASES SEED, answer each by a line of JSON"
    )
    options = parser.parse_args()
    if options.replay:
        return _replay(options.replay)
    if options.serve:
        return _serve(options.failures)
    seed = time.time_ns() // 10**9 % 10**6 * 1000 if options.seed is None else options.seed
    print(f"{options.cases} cases of each kind, seeds {seed} to {seed + options.cases - 1}", flush=True)
    failed = 0
    for name in options.kind or HOMES:
        summary = run_kind(name, options.cases, seed, options.failures)
        print(summary["text"], flush=True)
        failed += summary["failed"]
    return 1 if failed else 0


def run_kind(name: str, cases: int, seed: int, folder: Path) -> dict:
    """Run cases of a kind; return counts and a text that names every failure."""
    from failures import reduce, save
    from fuzzing import Case, run_cases

    kind, start = make_kind(name), _processor_seconds()
    counts, slowest, found = Counter(), (0.0, seed), {}
    for outcome in run_cases(kind, [Case(seed + number) for number in range(cases)]):
        counts[outcome.state] += 1
        slowest = max(slowest, (outcome.seconds, outcome.case.seed))
        if outcome.state == "failed":
            found.setdefault(outcome.signature, []).append(outcome)
    lines = [
        f"{name:<16} {cases:>6} cases: {counts['accepted']:>5} accepted, {counts['refused']:>5} refused, "
        f"{counts['failed']:>3} failed; {_processor_seconds() - start:6.1f} s, slowest {slowest[0]:.2f} s "
        f"(seed {slowest[1]})"
    ]
    for failures in list(found.values())[:_MAX_FAILURES]:
        reduced = reduce(kind, failures[0])
        place = save(kind, reduced, folder)
        others = ", ".join(str(failure.case.seed) for failure in failures[1:20])
        changes = "; ".join(reduced.descriptions) or "nothing changed"
        lines.append(f"  seed {reduced.case.seed}: {changes!r:.400}; saved in {place}")
        lines += [f"    {line[:400]!r}" for line in reduced.error.strip().splitlines()[-4:]]
        lines += [f"    {len(failures) - 1} more alike, seeds {others}"] if others else []
    if len(found) > _MAX_FAILURES:
        lines.append(f"  and {len(found) - _MAX_FAILURES} other kinds of failure")
    return {**{key: counts[key] for key in ("accepted", "refused", "failed")}, "text": "\n".join(lines)}


def _processor_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _replay(folder: Path) -> int:
    from failures import Replayed
    from fuzzing import Case, run_cases

    content = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    kind = Replayed(make_kind(content["kind"]), folder)
    (outcome,) = run_cases(kind, [Case(content["case"]["seed"])])
    print(f"{outcome.state} in {outcome.seconds:.2f} s\n{outcome.error}")
    return 1 if outcome.state == "failed" else 0


def _serve(folder: Path) -> int:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        name, cases, seed = line.split()
        answers.write(json.dumps(run_kind(name, int(cases), int(seed), folder)) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
