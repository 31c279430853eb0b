"""Check the links of the documentation that lead out of it.

    python tools/check_links.py            # offline: https, a host of the list below, and nothing that no address has
    python tools/check_links.py --fetch    # fetch each address as well; not for CI, which should not depend on others

Links within the documentation are checked by mkdocs and the tests.
"""

from __future__ import annotations

import argparse
import re
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
HOSTS = frozenset(
    {
        "arxiv.org",
        "docs.ray.io",
        "optuna.org",
        "ui.perfetto.dev",
    }
)
"""Where links may lead. A new host is added here, so that a mistyped one is found."""

_ADDRESS = re.compile(r"\bhttps?://[^\s)>\]`\"'|]+")
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Check all links; end with 1 where one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fetch", action="store_true", help="fetch each address")
    parser.add_argument("--timeout-s", type=float, default=20.0, help="of each fetch (20)")
    options = parser.parse_args()
    found = find_links()
    wrong = [f"{page}: {address}: {reason}" for page, address in found if (reason := fault(address))]
    if options.fetch:
        for address in sorted({address for _, address in found}):
            if reason := fetch_fault(address, options.timeout_s):
                wrong.append(f"{address}: {reason}")
    print("\n".join([*wrong, f"{len(found)} links, {len(wrong)} wrong"]))
    raise SystemExit(1 if wrong else 0)


def find_links() -> list[tuple[str, str]]:
    """Return page and address of each link of README, CONTRIBUTING and the documentation, fenced code left out."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = []
    for page in pages:
        text = _CODE.sub("", page.read_text(encoding="utf-8"))
        found += [(page.relative_to(ROOT).as_posix(), address.rstrip(".,;:")) for address in _ADDRESS.findall(text)]
    return found


def fault(address: str) -> str:
    """Return what is wrong with an address without asking anybody, or an empty string."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme != "https":
        return "not https"
    if parts.hostname not in HOSTS or port or parts.username:
        return f"{parts.netloc} is not among the hosts of tools/check_links.py"
    return ""


def fetch_fault(address: str, timeout_s: float) -> str:
    """Return why an address cannot be fetched, or an empty string."""
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "mho-check-links"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s):
            return ""
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        return str(error)


if __name__ == "__main__":
    main()
