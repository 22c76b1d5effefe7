"""What reading a file found: the layouts of its rows, and every row that could not be used."""

from collections import Counter
from dataclasses import dataclass, field

from lib.data.layouts.recognise import NAMES
from lib.runtime.progress import say


@dataclass
class Reading:
    """Counts of one part's rows as they were read; the readers fill it."""

    layouts: Counter[str] = field(default_factory=Counter)  # by name: "ShareGPT"
    dropped: dict[str, list[str]] = field(default_factory=dict)  # reason -> sentences, with place

    without_pair: int = 0  # prompts whose scored answers are too close to each other

    def drop(self, reason: str, sentence: str, rows: int = 1) -> None:
        """Count rows that cannot be used; the sentence names file and row of the first."""
        self.dropped.setdefault(reason, []).extend([sentence] * rows)

    def saw(self, layout: str) -> None:
        """Count a row of a layout."""
        self.layouts[NAMES.get(layout, "unknown columns")] += 1

    def added_to(self, report: dict) -> dict:
        """A part's report with the rows that curation never saw, which it prints by reason."""
        for reason, sentences in self.dropped.items():
            say(f"{len(sentences):,} rows are left out ({reason}); the first: {sentences[0]}")
        counts = {reason: len(sentences) for reason, sentences in self.dropped.items()}
        return report | {
            "rows": report["rows"] + sum(counts.values()), "dropped": counts | report["dropped"],
            "read_as": dict(self.layouts), "prompts_without_pair": self.without_pair,
            "examples": {reason: sentences[0] for reason, sentences in self.dropped.items()}}
