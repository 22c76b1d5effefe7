"""All candidates for one prompt in a notebook: who chose which, at which temperature.

Comes in: a collection. The pager walks the prompts, two rows of buttons choose the pool.
"""

import ipywidgets as widgets

from lib.viewers import render
from lib.viewers.controls import Pager, Panel, choice, row, search_field
from lib.viewers.pools import policies, pools_of, temperatures
from lib.viewers.rows import Collection, Prompt


class CandidatesPanel(Panel):
    """Shows every candidate of a prompt; `body.value` is what is shown."""

    def __init__(self, collection: Collection) -> None:
        self.collection, self.prompts = collection, list(collection.prompts)
        names = policies(collection.systems)
        self.policy = choice("Policy", names, self._new_policy, names[-1])
        self.temperature = choice("Temperature", temperatures(collection, names[-1]), self.show)
        self.search = search_field(self._search)
        self.pager, self.body = Pager(self.show), widgets.HTML()
        super().__init__(row(self.policy, self.temperature), row(self.pager, self.search),
                         self.body)
        self._search()

    def _new_policy(self) -> None:
        kept = self.temperature.value
        self.temperature.options = temperatures(self.collection, self.policy.value)
        if kept in self.temperature.options:
            self.temperature.value = kept
        self.show()

    def _search(self) -> None:
        wanted = self.search.value.strip().lower()
        self.prompts = [prompt for prompt in self.collection.prompts if _found(prompt, wanted)]
        self.pager.resize(len(self.prompts), len(self.collection.prompts))
        self.show()

    def show(self) -> None:
        """Show the pool of the current prompt, policy and temperature."""
        if not self.prompts:
            self.body.value = render.note("No prompt has this text. Clear the search.")
            return
        prompt = self.prompts[self.pager.place - 1]
        pool = pools_of(prompt, self.policy.value).get(self.temperature.value)
        self.body.value = render.note(
            f"{self.policy.value} has no answer to {prompt.id} at this temperature."
        ) if pool is None else render.candidates(
            prompt, pool, self.collection, self.search.value.strip())


def _found(prompt: Prompt, wanted: str) -> bool:
    answers = (answer.text for pool in prompt.pools for answer in pool.answers)
    return any(wanted in text.lower() for text in (prompt.id, prompt.text, *answers))
