"""One question to every service of a run, before hours of work depend on the answer.

The reward API gives one reward, the chat model that judges one verdict, a reward model in a folder
one score; a server that samples, if it is there already, tells whether it samples as the profile
says. The hub is asked for each model's configuration and tokenizer and for each data set's first
row, which must fit the study's schema. Finished stages need nothing more.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from time import monotonic

from lib.data.cells import SchemaError
from lib.data.hub import HubError
from lib.data.sources import check_sources
from lib.inference.api.capabilities import models_of
from lib.inference.api.server import ServerSamplingError, connect_for
from lib.inference.api.transport import ApiStoppedError, EndpointGoneError, Transport
from lib.inference.engine.load_check import sampler_of
from lib.inference.judges.questions import Question
from lib.inference.judges.settings import LLM
from lib.inference.rewards import conversation
from lib.inference.rewards.classifier import load_classifier
from lib.inference.rewards.remote.nemotron import NemotronRewardModel
from lib.modeling.loading import (
    check_model,
    is_here,
    load_model,
    load_tokenizer,
    named_revision,
)
from lib.modeling.lora import check_lora
from lib.modeling.saving import ModelError, try_saving
from lib.runtime.files import FileError
from lib.runtime.progress import say
from lib.study.planning.named import MADE_HERE, named_models
from lib.study.planning.preflight import uses_api
from lib.study.policies import POLICIES
from lib.study.pools.sampled import server_of
from lib.study.profiles import Profile, ProfileError
from lib.study.reward_models.api import api_settings, cached_api_scores
from lib.study.reward_models.chat_judge import chat_judge
from lib.study.run import Study

PATIENCE = 20.0  # seconds for the call to the API, and as many for all questions to the hub

Check = tuple[str, Callable[[], None]]


def check_access(study: Study) -> None:
    """Ask the API, then the hub, for what this run will fetch.

    Raises ProfileError, one sentence, for a wrong key or address, a gated repository, a revision
    that does not exist, a data set with other columns.
    """
    check_api(study.profile, cached_api_scores(study))
    check_chat_judge(study)
    check_sampling_server(study)
    started, answers = monotonic(), [(name, _begun(check)) for name, check in _checks(study)]
    for name, answer in answers:
        try:
            answer.result(max(0.0, PATIENCE - (monotonic() - started)))
        except TimeoutError:
            say(f"{name} did not answer within {PATIENCE:.0f} s; the run starts without this check")
        except (ModelError, HubError, SchemaError, FileError) as error:
            raise ProfileError(str(error)) from error


def check_api(profile: Profile, cached: int = 0) -> None:
    """Make one call with the run's key and address; print a line if the endpoint is gone.

    cached: scores of this API that the run already has. Without any, a key or an address with which
    no call can succeed raises ProfileError; with some, the run may need no more.
    """
    if not uses_api(profile):
        return
    quick = replace(api_settings(profile.rewards), timeout=PATIENCE, attempts=1)
    try:
        NemotronRewardModel(quick).probe()
    except EndpointGoneError as error:
        say(f"{error}; {profile.rewards.fallback} will take its place")
    except ApiStoppedError as error:
        if not cached:
            raise ProfileError(str(error)) from error
        say(f"{error}; the run uses {cached} cached scores")


def check_chat_judge(study: Study) -> None:
    """Have the chat model that judges give a verdict, unless the run's are there.

    Raises ProfileError for a server that cannot be reached, a missing key, an unknown model, a
    request that the server refuses, replies without a verdict. With verdicts in the cache, the run
    may need no more.
    """
    finished = study.path("verdicts", "manifest.json").exists() and not study.force
    if study.profile.rewards.judge != LLM or finished:
        return
    judge, sampling = chat_judge(study), study.profile.sampling
    answer = "word " * sampling.max_new_tokens
    try:
        judge.probe(Question("word " * sampling.max_prompt_tokens, answer, answer))
    except ApiStoppedError as error:
        if not (kept := judge.cache.count(judge.identity)):
            raise ProfileError(str(error)) from error
        say(f"{error}; the run uses {kept} cached verdicts")


def check_sampling_server(study: Study) -> None:
    """Test each server that samples with whatever it serves now; say which is not there yet.

    The models of a run are served after their training. Raises ProfileError for a server that does
    not sample as the profile says, or that cannot be used.
    """
    settings = study.profile.sampling
    if settings.server is None or (not study.force
                                   and study.path("responses", "manifest.json").exists()):
        return
    servers = {server.base_url: replace(server, timeout=PATIENCE, attempts=1)
               for server in (server_of(settings, policy) for policy in POLICIES)}
    for address, server in servers.items():
        names, _ = models_of(Transport(server))
        if not names:
            say(f"sampling.server: no list of models at {address} yet; the run stops where it "
                "needs its answers and goes on from there")
            continue
        say(f"sampling.server: {address} serves {', '.join(names[:5])}; this run will ask for "
            f"{', '.join(POLICIES)}")
        try:
            connect_for(settings, replace(server, model=names[0]))
        except (ApiStoppedError, ServerSamplingError) as error:
            raise ProfileError(str(error)) from error


def _checks(study: Study) -> Iterator[Check]:
    """What the run still has to fetch, by name."""
    profile = study.profile
    if study.force or not study.path("data", "manifest.json").exists():
        yield "the data", lambda: check_sources(profile.data)
    if not study.force and study.path("responses", "manifest.json").exists():
        return
    names, rewards = dict(named_models(profile)), profile.rewards
    policies = {profile.model.name: profile.model.revision}
    policies.setdefault(names.get("rewards.backbone", profile.model.name), None)
    for name, revision in policies.items():
        if name not in MADE_HERE:
            engine = profile.sampling.engine if name == profile.model.name else "own"
            yield name, partial(try_model, name, revision, engine)
    for stage in (profile.sft, profile.dpo, profile.warning):
        if stage.lora_rank and profile.model.name not in MADE_HERE:
            yield f"LoRA of {profile.model.name}", partial(
                check_lora, profile.model.name, profile.model.revision, stage.lora_rank,
                stage.lora_targets)
    for name in dict.fromkeys((rewards.selector, rewards.scoring.judge)):
        if name not in MADE_HERE:
            yield name, partial(_try_reward_model, name)


def _try_reward_model(name: str) -> None:
    check_reward_model(*named_revision(name))


def try_model(name: str, revision: str | None, engine: str = "own") -> None:
    """Compare every computation with the model's own forward, once its weights are here.

    The weights of a hub's model are fetched by the first stage that trains, which tries it before
    its first step. Raises ModelError.
    """
    check_model(name, revision)
    if is_here(name, revision):
        model = load_model(name, revision=revision)
        sampler_of(model)  # of the answers while it trains
        if engine != "own":
            sampler_of(model, engine)
        try_saving(model, load_tokenizer(name, revision))


def check_reward_model(name: str, revision: str | None) -> None:
    """Have a folder's reward model score an answer, or ask a hub what it is; raises ModelError."""
    if Path(name).is_dir():
        _, result = next(load_classifier(name).stream([conversation("What is 1 + 1?", "2")]))
        if result.score is None:
            raise ModelError(f"the reward model {name} gives a test answer no score "
                             f"({result.reason}); name another reward model")
        return
    kinds = getattr(check_model(name, revision), "architectures", None) or []
    if any(kind.endswith("ForCausalLM") for kind in kinds):
        raise ModelError(f"{name} is a language model ({kinds[0]}), whose scores would be random; "
                         "give a reward model, a sequence classifier with one output")


def _begun(check: Callable[[], None]) -> Future[None]:
    """The check in a daemon thread, which ends with the process even without an answer."""
    answer: Future[None] = Future()

    def work() -> None:
        """Put the outcome or the error into the future."""
        try:
            check()
            answer.set_result(None)
        except Exception as error:  # noqa: BLE001 - `result` raises it in the caller's thread
            answer.set_exception(error)
    Thread(target=work, daemon=True).start()
    return answer
