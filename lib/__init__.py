"""The study's own code; `ROOT` is the folder that holds `lib`, `data` and `notebooks`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
