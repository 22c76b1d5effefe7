"""Templates and tokenizers as models bring them: ends of inner turns, prefix spaces, dates."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lib.data.chat import (
    ChatError,
    encode_conversation,
    encode_prompt,
    encode_response,
    joining_fault,
    stop_token_ids,
)

TEXT = ["hello world the user says hi [INST] hello [/INST] good day to you",
        "User: The Assistant:"] * 9
SPECIAL = ["<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>", "<|eot|>"]
ROLES = "{% for m in messages %}{% if m['role'] == 'user' %}USER{% else %}ANSWER{% endif %}"
END = "{% endfor %}{% if add_generation_prompt %}OPEN{% endif %}"


def template(user: str, answer: str, opening: str) -> str:
    """A template of expressions for a user's turn and an answer, and of an answer's opening."""
    return (ROLES.replace("USER", user).replace("ANSWER", answer)
            + END.replace("OPEN", opening))


LAST = "{% if loop.last %}END{% else %}INNER{% endif %}"
PLAIN = template("User: {{ m['content'] }}\n", "Assistant: {{ m['content'] }}"
                 + LAST.replace("END", "</s>").replace("INNER", "\n"), "Assistant: ")
TWO_ENDS = template("<|user|>{{ m['content'] }}<|end|>", "<|assistant|>{{ m['content'] }}"
                    + LAST.replace("END", "<|eot|>").replace("INNER", "<|end|>"),
                    "<|assistant|>")
NO_INNER_END = template("<|user|>{{ m['content'] }}", "<|assistant|>{{ m['content'] }}"
                        + LAST.replace("END", "</s>").replace("INNER", ""), "<|assistant|>")
MISTRAL = "<s>" + template("[INST] {{ m['content'] }} [/INST]", " {{ m['content'] }}</s>", "")
CHANNELS = template("<|user|>{{ m['content'] }}<|end|>",
                    "<|assistant|><|unk2|>{{ m['content'] }}<|end|>", "<|assistant|>")
THINKS = template("<|user|>{{ m['content'] }}<|end|>", "<|assistant|>"
                  + LAST.replace("END", "<s></s> {{ m['content'] }}")
                  .replace("INNER", "{{ m['content'] }}") + "<|end|>", "<|assistant|>")
TRIMS = template("<|user|>{{ m['content'] | trim }}", "<|assistant|>{{ m['content'] | trim }}"
                 + " </s>", "<|assistant|>")
BETWEEN = template("<s>User: {{ m['content'] }}\n", "<s>Assistant: {{ m['content'] }}<s>",
                   "<s>Assistant: ")
DROPS = template("<|user|>{{ m['content'] }}<|end|>", "<|assistant|>"
                 + LAST.replace("END", "{{ m['content'] }}").replace("INNER", "...") + "<|end|>",
                 "<|assistant|>")
SHOUTS = template("<|user|>{{ m['content'] }}<|end|>",
                  "<|assistant|>{{ m['content'] | upper }}<|end|>", "<|assistant|>")


def tokenizer_of(chat: str, spaces: str = "byte") -> PreTrainedTokenizerFast:
    """Byte-level, byte-level with a prefix space, or SentencePiece's spaces: first or always."""
    if spaces in ("byte", "prefixed"):
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaces == "prefixed")
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        backend = Tokenizer(models.BPE(unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=spaces)
        backend.decoder = decoders.Metaspace(prepend_scheme=spaces)
        alphabet = [*"abcdefghijklmnopqrstuvwxyz:[]/\n.?ABINSTU\u2581"]
    backend.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=420, special_tokens=[*SPECIAL, "<|unk2|>"], initial_alphabet=alphabet,
        show_progress=False))
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", bos_token="<s>", unk_token="<unk>",
        extra_special_tokens=[*SPECIAL[3:], "<|unk2|>"])
    made.chat_template = chat
    return made


def turns(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text}
            for i, text in enumerate(contents)]


def responses(tokenizer: PreTrainedTokenizerFast, *contents: str) -> str:
    encoded = encode_conversation(tokenizer, turns(*contents), None)
    return "|".join(tokenizer.decode([token]) if bit else ""
                    for token, bit in zip(encoded.input_ids, encoded.response_mask, strict=True)
                    ).replace("|", "")


@pytest.mark.parametrize(("chat", "learned", "stops"), [
    (PLAIN, "good dayhi</s>", ["</s>"]),
    (TWO_ENDS, "good day<end>hi<eot>", ["<|eot|>", "<|end|>", "</s>"]),
    (NO_INNER_END, "good dayhi</s>", ["</s>"]),
    (MISTRAL, " good day</s> hi</s>", ["</s>"]),
    (THINKS, "good day<end><s></s> hi<end>", ["<|end|>", "</s>"]),
    (TRIMS, "good day </s>hi </s>", ["</s>"]),
    (BETWEEN, "good day<s>hi<s>", ["<s>", "</s>"]),
    (CHANNELS, "<unk2>good day<end><unk2>hi<end>", ["<|end|>", "</s>"]),
])
def test_answers_alone_are_learned_and_every_end_of_a_turn_stops(
        chat: str, learned: str, stops: list[str]) -> None:
    tokenizer = tokenizer_of(chat)
    assert responses(tokenizer, "hello", "good day", "to you", "hi") == learned
    assert tokenizer.convert_ids_to_tokens(stop_token_ids(tokenizer)) == stops


@pytest.mark.parametrize("answer", ["good day", " good day", "good day \n", "  good\n\nday  "])
@pytest.mark.parametrize("chat", [PLAIN, TWO_ENDS, THINKS, TRIMS, MISTRAL])
def test_answers_that_the_template_trims_end_where_their_text_ends(chat: str, answer: str) -> None:
    tokenizer = tokenizer_of(chat)
    conversation = turns("good day", answer, answer.strip(), answer)
    encoded = encode_conversation(tokenizer, conversation, None)
    assert not any(encoded.response_mask[:len(encode_prompt(tokenizer, conversation[:1]))])
    learned = tokenizer.decode([token for token, bit in zip(
        encoded.input_ids, encoded.response_mask, strict=True) if bit])
    assert learned.count("day") == 2
    assert "user" not in learned


@pytest.mark.parametrize("chat", [DROPS, SHOUTS])
def test_a_row_whose_answers_the_template_changes_is_refused(chat: str) -> None:
    tokenizer = tokenizer_of(chat)
    with pytest.raises(ChatError, match="the text of an answer"):
        encode_conversation(tokenizer, turns("hello", "good day", "to you", "hi"), None)


@pytest.mark.parametrize("spaces", ["byte", "prefixed", "first", "always", "never"])
@pytest.mark.parametrize("chat", [MISTRAL, TWO_ENDS, NO_INNER_END])
@pytest.mark.parametrize("answers", [("good day", "hi"), ("hi\n\ngood", "[INST]"), ("a", "b")])
def test_pieces_are_the_tokens_of_the_whole(spaces: str, chat: str,
                                            answers: tuple[str, str]) -> None:
    tokenizer, conversation = tokenizer_of(chat, spaces), turns("hello", answers[0], "you?",
                                                               answers[1])
    ids = encode_conversation(tokenizer, conversation, None).input_ids
    text = tokenizer.apply_chat_template(conversation, tokenize=False)
    assert ids == tokenizer.encode(text, add_special_tokens=False)[:len(ids)]
    assert encode_prompt(tokenizer, conversation[:3]) + encode_response(
        tokenizer, conversation[:3], answers[1]) == ids
    assert joining_fault(tokenizer) == ""


@pytest.mark.parametrize("chat", [
    "{% for tool in tools %}{% endfor %}" + TWO_ENDS, "{{ messages[0].content + 1 }}",
    "{{ raise_exception('no') }}", "{{ messages[7].role.name }}", "{{ 1 / 0 }}"])
def test_a_template_that_raises_anything_is_refused_in_one_sentence(chat: str) -> None:
    with pytest.raises(ChatError, match=r"the chat template refuses turns in the order user.*\Z"):
        encode_prompt(tokenizer_of(chat), turns("hello"))


def test_of_several_named_templates_the_default_one_is_used() -> None:
    tokenizer = tokenizer_of(TWO_ENDS)
    stops = stop_token_ids(tokenizer)
    tokenizer.chat_template = {"default": TWO_ENDS, "rag": SHOUTS}
    assert stop_token_ids(tokenizer) == stops
    tokenizer.chat_template = {"rag": SHOUTS}
    with pytest.raises(ChatError, match="the chat template refuses turns"):
        stop_token_ids(tokenizer)


def test_a_prompt_that_ends_in_a_space_is_told_because_its_tokens_are_not_the_wholes() -> None:
    assert "tokenised otherwise where an answer begins" in joining_fault(tokenizer_of(PLAIN))


@pytest.mark.parametrize("date", [
    "{{ strftime_now('%d %b %Y') }}", "{{ strftime_now('%Y-%m-%d') }}",
    "{{ strftime_now('%B %d, %Y') }}", "{% set now = strftime_now %}{{ now('%A %d/%m/%y') }}",
    "{% if strftime_now is defined %}{{ strftime_now('%H:%M') }}{% endif %}",
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}"
    "{% endif %}{{ date_string }}",
    "{% macro head() %}{{ strftime_now('%Y') }}{% endmacro %}{{ head() }}"])
def test_a_template_that_writes_the_date_gives_the_same_tokens_every_day(
        date: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokenizer_of(date + TWO_ENDS)
    ids = encode_prompt(tokenizer, turns("hello"))

    class Later:
        """A clock of another day."""

        @staticmethod
        def now() -> object:
            import datetime
            return datetime.datetime(2031, 3, 4, 5, 6)
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Later)
    tokenizer.chat_template = "\n" + date + TWO_ENDS  # another key in the cache of templates
    text = tokenizer.decode(encode_prompt(tokenizer, turns("hello")))
    assert text == "\n" + tokenizer.decode(ids)
    assert any(part in text for part in ("2024", "24", "00:00"))
