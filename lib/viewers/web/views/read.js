// One pair side by side.

function drawComparison(pair, names, data, search, diff) {
  const marks = diff
    ? wordDiff(pair.a.text, pair.b.text)
    : { kind: "shared", share: 0, a: [], b: [] };
  const flags = Object.keys(FLAGS).filter((flag) => FLAGS[flag](pair, data));
  const text = (side) => drawText(pair[side].text, marks[side], marks.kind, search);
  return [
    drawPrompt(pair.prompt, search, flags),
    drawStrip(drawVerdicts(pair, names, data), diff ? legend(legendOf(marks, pair)) : null),
    div(
      "pair",
      drawCard(names[0], pair.a, "a", data, text("a")),
      drawCard(names[1], pair.b, "b", data, text("b")),
    ),
  ];
}

// What stands between the prompt and the answers: figures on the left, a remark on the right.
function drawStrip(figures, remark) {
  return figures || remark ? div("strip", figures, remark) : null;
}

function legendOf(marks, pair) {
  if (pair.identical) return "The two answers are identical.";
  if (marks.kind === "too long") {
    return "These answers are too long and repetitive to compare word by word.";
  }
  const common = `${percent(marks.share)} of the words are in both`;
  if (marks.kind === "changed") return `${common}; words of only one answer are marked.`;
  return marks.a.length ? `${common}; phrases of both are underlined.` : `${common}.`;
}

function drawVerdicts(pair, names, data) {
  if (!data.models.length) return null;
  return h(
    "table",
    { class: "verdicts", "aria-label": "Verdicts" },
    h("tbody", {}, data.models.map((model) => drawVerdict(pair, names, model, data))),
  );
}

function drawVerdict(pair, names, model, data) {
  const gap = gapOf(pair, model);
  const winner = winnerOf(pair, model);
  const [low, high] = data.reach[model] || [0, 0];
  const width = gap == null || high <= low ? 0 : (100 * Math.abs(gap)) / (high - low);
  const words =
    {
      a: `${names[0]} by ${number(Math.abs(gap))}`,
      tie: gap === 0 ? "a tie" : "a tie: equal texts",
      b: `${names[1]} by ${number(Math.abs(gap))}`,
    }[winner] || "not scored";
  const shape = { class: winner || "tie", x: winner === "a" ? -width : 0, y: 0, width };
  const bar = svg(
    "svg",
    { viewBox: "-100 0 200 10", width: 200, height: 10, "aria-hidden": "true" },
    svg("rect", { class: "track", x: -100, y: 4, width: 200, height: 2 }),
    svg("rect", { ...shape, height: 10, rx: 2 }),
  );
  const head = h("th", { scope: "row" }, model, " ", h("small", {}, roleOf(model, data)));
  return h("tr", {}, head, h("td", {}, bar), h("td", {}, words));
}
