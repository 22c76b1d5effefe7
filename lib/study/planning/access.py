"""Whether everything that a run fetches lets it in, asked once before hours of work depend on it.

The reward API gets one call; of each model the configuration and the tokenizer are fetched, of each
data set the first row, which must have the schema that the study reads. What a finished stage has
used up is not asked for again.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from threading import Thread
from time import monotonic

from lib.data.cells import SchemaError
from lib.data.hub import HubError
from lib.data.sources import check_sources
from lib.inference.api.transport import ApiStoppedError, EndpointGoneError
from lib.inference.rewards.remote.nemotron import NemotronRewardModel
from lib.modeling.loading import ModelError, check_model, named_revision
from lib.runtime.files import FileError
from lib.runtime.progress import say
from lib.study.profiles import Profile, ProfileError
from lib.study.reward_models.remote import api_settings, cached_api_scores
from lib.study.run import Study

PATIENCE = 20.0  # seconds that the checks before a run may take, each kind of them
MADE_HERE = ("packaged", "smoke", "embedded", "nemotron")  # names that no hub is asked for

Check = tuple[str, Callable[[], None]]


def check_access(study: Study) -> None:
    """Ask the API, then the hub, for what this run will fetch; says what takes another's place.

    Raises ProfileError, one sentence, for what cannot be had: a key, an address, a gated
    repository, a revision that is not there, a data set with other columns.
    """
    check_api(study.profile, cached_api_scores(study))
    started, answers = monotonic(), [(name, _begun(check)) for name, check in _checks(study)]
    for name, answer in answers:
        try:
            answer.result(max(0.0, PATIENCE - (monotonic() - started)))
        except TimeoutError:
            say(f"{name} did not answer within {PATIENCE:.0f} s and is not checked; going on")
        except (ModelError, HubError, SchemaError, FileError) as error:
            raise ProfileError(str(error)) from error


def check_api(profile: Profile, cached: int = 0) -> None:
    """One call with the run's key and address; says so where the endpoint is gone.

    cached: scores of this API that the run has already. Raises ProfileError, one sentence, for a
    key or an address with which no call can succeed, unless there are some: the run may need no
    more.
    """
    if "nemotron" not in (profile.rewards.selector, profile.rewards.judge):
        return
    quick = replace(api_settings(profile.rewards), timeout=PATIENCE, attempts=1)
    try:
        NemotronRewardModel(quick).probe()
    except EndpointGoneError as error:
        say(f"{error}; {profile.rewards.fallback} will take its place")
    except ApiStoppedError as error:
        if not cached:
            raise ProfileError(str(error)) from error
        say(f"{error}; going on with {cached} cached scores")


def _checks(study: Study) -> Iterator[Check]:
    """What is still to be fetched, by name."""
    profile = study.profile
    if study.force or not study.path("data", "manifest.json").exists():
        yield "the data", lambda: check_sources(profile.data)
    if not study.force and study.path("responses", "manifest.json").exists():
        return
    models = {profile.model.name: profile.model.revision} | dict(
        named_revision(name) for name in (profile.rewards.selector, profile.rewards.judge))
    for name, revision in models.items():
        if name not in MADE_HERE:
            yield name, lambda name=name, revision=revision: check_model(name, revision)


def _begun(check: Callable[[], None]) -> Future[None]:
    """The check, begun in a thread that does not outlive the process if nobody answers."""
    answer: Future[None] = Future()

    def work() -> None:
        """Hand the outcome, an error too, to the future."""
        try:
            answer.set_result(check())
        except Exception as error:  # noqa: BLE001 - handed on to who asked
            answer.set_exception(error)
    Thread(target=work, daemon=True).start()
    return answer
