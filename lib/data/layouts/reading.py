"""How a part's rows are read, and what came of it: their layouts, and rows that cannot be used."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lib.data.layouts.recognise import NAMES, Format
from lib.runtime.files import Row
from lib.runtime.progress import counted, say


@dataclass
class Reading:
    """What the settings say of a part's columns, and counts that the readers fill."""

    layout: Format = "auto"
    score: str = ""  # dotted name of the score
    strict: bool = False  # the first row that cannot be used raises SchemaError
    layouts: Counter[str] = field(default_factory=Counter)  # by name: "ShareGPT"
    columns: dict[str, list[str]] = field(default_factory=dict)  # of the first row of a layout
    dropped: Counter[str] = field(default_factory=Counter)  # by reason
    examples: dict[str, str] = field(default_factory=dict)  # reason -> the first, with its place
    name: str = ""  # of the file or data set
    numbers: dict[str, int] = field(default_factory=dict)  # id of a row -> its number in the file
    unread: Counter[str] = field(default_factory=Counter)  # rows by what they hold beside texts
    ranked: int = 0  # rows with ranks in place of scores
    joined: int = 0  # rows that became the second answer of another row's pair
    without_pair: int = 0  # prompts whose scored answers are too close to each other

    def drop(self, reason: str, sentence: str) -> None:
        """Count a row that cannot be used; the sentence names its file and row."""
        self.dropped[reason] += 1
        self.examples.setdefault(reason, sentence)

    def saw(self, layout: Format, row: Row) -> None:
        """Count a row of a layout."""
        self.layouts[NAMES[layout]] += 1
        self.columns.setdefault(NAMES[layout], list(map(str, row)))

    def leaves(self, names: Iterable[str], place: str) -> None:
        """Count a row that holds more than is read; place: its file and row."""
        for name in names:
            self.unread[name] += 1
            self.examples.setdefault(f"unread {name}", place)

    def place_of(self, name: str) -> str:
        """File and row of an id; the id of a pair of scored answers begins with its row's."""
        number = self.numbers.get(name) or self.numbers.get(name.rpartition("/")[0])
        return f"{self.name}, row {number}" if number else f"id {name}"

    def say_dropped(self) -> None:
        """Print how many rows are left out, by reason, and the first of each."""
        for reason, count in self.dropped.items():
            say(f"left out ({reason}): {counted(count, 'row')}; the first: {self.examples[reason]}")
        for name, count in self.unread.items():
            say(f"{name} beside the texts is not read, in {counted(count, 'row')}; the first: "
                f"{self.examples[f'unread {name}']}")
        if self.ranked:
            say(f"ranks, not scores, in {counted(self.ranked, 'row')}: the lowest rank is the "
                "best, and a rank of 2 is a score of -2")

    def added_to(self, report: Row) -> Row:
        """A part's report with what curation never saw."""
        return report | {
            "rows": report["rows"] + self.joined + self.dropped.total(),
            "dropped": dict(self.dropped) | report["dropped"], "read_as": dict(self.layouts),
            "columns": self.columns, "examples": self.examples,
            "not_read": dict(self.unread), "ranked": self.ranked,
            "prompts_without_pair": self.without_pair}
