// What the words of the page mean, so that a file that was handed on explains itself.

function drawLegend(data) {
  const named = (rule) => [...data.parsed].find(([, system]) => system.rule === rule);
  const plain = [...data.parsed].filter(([, system]) => !system.rule).map(([name]) => name);
  const [best, random, soft, mbr, kl] = ["bon", "random", "softbon", "mbr", "klbon"].map(named);
  const pool = ([, { n, temperature }]) => `${n} answers drawn at temperature ${temperature}`;
  const judges = data.judges.filter((judge) => judge !== READER);
  const entries = [
    plain.length && [plain.join(", "), "a policy (a language model) and its single answer."],
    best && [best[0], `the best of ${pool(best)}: the selector picked it.`],
    random && [
      random[0],
      `one of ${pool(random)}, picked at random: what picking well adds is measured against it.`,
    ],
    soft && [soft[0], `one of ${pool(soft)}, drawn by chance: the higher its score, the likelier.`],
    mbr && [mbr[0], `of ${pool(mbr)}, one that scores high and resembles the others.`],
    kl && [kl[0], `of ${pool(kl)}, one that scores high and that the policy finds likely.`],
    judges.length && [
      judges.join(", "),
      "a judge: a reward model that scores every answer and picked none of them.",
    ],
    data.judges.includes(READER) && [
      READER,
      "a blind reader: a person or a large language model that scored answers without seeing " +
        "whose they are.",
    ],
    selectorsOf(data).length && [
      selectorsOf(data).join(", "),
      "a selector: the reward model that picks for Best-of-N. It favours what it picked: " +
        "it is no fair judge of it.",
    ],
    [
      "wins",
      "the share of scored prompts that a system wins, a tie counts half; in brackets the 95 % " +
        "interval. Equal texts tie.",
    ],
    ["gap", "the left answer's score minus the right one's."],
    [
      "text",
      "answers stand as the model wrote them: Markdown such as **bold** is not rendered, and " +
        "characters that hide or reorder text are shown by their code.",
    ],
  ].filter(Boolean);
  return h(
    "details",
    { class: "words" },
    h("summary", {}, "What the words mean"),
    h("dl", {}, entries.map(([term, words]) => [h("dt", {}, term), h("dd", {}, words)])),
  );
}
