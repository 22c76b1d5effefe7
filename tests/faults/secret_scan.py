"""Search every line that a commit ever added for keys, tokens and passwords.

    pip install detect-secrets==1.5.0
    python -m tests.faults.secret_scan

All detectors of detect-secrets for a kind of key look at each line once, and two of ours for the
services of this project. Its detectors of high entropy are left out: they take every checksum of a
run for a secret. A key that a test plants is no finding; it says that it is planted, or is the
user:word of an address.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from lib import ROOT

OURS = {"NVIDIA API key": re.compile(r"nvapi-[\w-]{40,}"),
        "Hugging Face token": re.compile(r"hf_[A-Za-z0-9]{30,}")}
LEFT_OUT = {"Base64HighEntropyString", "HexHighEntropyString"}
HARMLESS = re.compile(r"planted|//user:word@|^def test_\w+\(", re.IGNORECASE)  # names of tests


def main() -> int:
    """Print the findings; the exit status is 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revisions", nargs="*", default=["--all"], help="as of git log")
    lines = added_lines(parser.parse_args().revisions)
    found = findings(lines)
    print("\n".join(f"{kind}: {line[:160]}" for kind, line in found))
    print(f"{len(lines):,} different lines, {len(found)} findings")
    return 1 if found else 0


def added_lines(revisions: list[str], root: Path = ROOT) -> set[str]:
    """Every different line that these commits added, whatever file it stood in."""
    shown = subprocess.run(["git", "-C", str(root), "log", "-p", "--unified=0", "--no-color",
                            "--text", "--no-ext-diff", *revisions], capture_output=True,
                           check=True).stdout.decode("utf-8", "replace")
    return {line[1:].strip() for line in shown.split("\n")
            if line.startswith("+") and not line.startswith("+++")}


def findings(lines: Iterable[str]) -> list[tuple[str, str]]:
    """The kind and the line of each seeming secret that is not planted."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import transient_settings

    names = {kind.__name__ for kind in get_mapping_from_secret_type_to_class().values()} - LEFT_OUT
    with transient_settings({"plugins_used": [{"name": name} for name in sorted(names)]}):
        return [(kind, line) for line in sorted(lines) if not HARMLESS.search(line)
                for kind in sorted({found.type for found in scan_line(line)} | of_ours(line))]


def of_ours(line: str) -> set[str]:
    return {name for name, form in OURS.items() if form.search(line)}


if __name__ == "__main__":
    sys.exit(main())
