"""Which pool of candidates to look at: by policy and temperature, as systems are named.

`dpo+bon4@0.6` is policy `dpo` at temperature 0.6. A bare `dpo` that shares a pool with it takes
that pool's temperature. `web/candidates.js` reads the names in the same way.
"""

import re
from collections.abc import Sequence

from lib.inference.best_of_n import best_of_n_curve
from lib.viewers.rows import Collection, Pool, Prompt

NAME = re.compile(r"^(?P<policy>[^+@]+)(?:\+(?P<rule>[^@]*))?(?:@(?P<temperature>.+))?$")
AS_SAMPLED = "as sampled"  # the temperature of a pool that no name tells


def policy_of(system: str) -> str:
    """`dpo` of `dpo+bon4@0.6`; a name of another form is its own policy."""
    match = NAME.match(system)
    return match["policy"] if match else system


def temperature_of(pool: Pool) -> str:
    """The temperature that the names of the pool's systems tell."""
    matches = (NAME.match(system) for system in pool.chosen)
    return next((match["temperature"] for match in matches if match and match["temperature"]),
                AS_SAMPLED)


def choice_of(system: str) -> str:
    """How this system takes an answer from its pool: `chosen`, `random pick` or `first draw`."""
    match = NAME.match(system)
    rule = match["rule"] if match else None
    return "first draw" if not rule else "random pick" if rule.startswith("random") else "chosen"


def policies(systems: Sequence[str]) -> list[str]:
    """Every policy once, in the order of the systems."""
    return list(dict.fromkeys(map(policy_of, systems)))


def pools_of(prompt: Prompt, policy: str) -> dict[str, Pool]:
    """Temperature -> pool of this policy, coldest first; of two pools at one, the larger.

    A lone answer is left out where there is a pool to choose from.
    """
    own = [pool for pool in prompt.pools if policy in map(policy_of, pool.chosen)]
    choices = [pool for pool in own if len(pool.answers) > 1]
    by_size = sorted(choices or own, key=lambda pool: len(pool.answers))
    found = {temperature_of(pool): pool for pool in by_size}
    return dict(sorted(found.items(), key=lambda item: (item[0] == AS_SAMPLED, item[0])))


def temperatures(collection: Collection, policy: str) -> list[str]:
    """Every temperature at which the policy was sampled, coldest first."""
    found = {name for prompt in collection.prompts for name in pools_of(prompt, policy)}
    return sorted(found, key=lambda name: (name == AS_SAMPLED, name))


def ranking_model(collection: Collection) -> str | None:
    """The model that ranks candidates: the first selector, else the first judge."""
    return next(iter((*collection.selectors, *collection.models)), None)


def pool_curve(pool: Pool, collection: Collection) -> list[list[float]] | None:
    """Expected score of the best of n = 1..N by the ranking model: a row for each model.

    None where there is nothing to choose from or a score is missing.
    """
    scores = [[answer.rewards[model] for answer in pool.answers] for model in collection.models]
    ranked_by = ranking_model(collection)
    if len(pool.answers) < 2 or ranked_by is None or any(None in row for row in scores):
        return None
    proxy = scores[collection.models.index(ranked_by)]
    return [[round(float(value), 4) for value in best_of_n_curve(proxy, gold)] for gold in scores]
