// One pair side by side: the same elements as comparison.html.jinja.

function drawPrompt(prompt, search, flags = []) {
  const reference =
    prompt.reference &&
    h(
      "details",
      { class: "reference" },
      h("summary", {}, "Reference answer"),
      drawText(prompt.reference, [], "", search),
    );
  return h(
    "section",
    { class: "prompt" },
    h(
      "header",
      {},
      h("span", { class: "id" }, prompt.id),
      tag(prompt.source),
      flags.map((flag) => tag(flag, "warn")),
    ),
    drawText(prompt.text, [], "", search),
    reference || null,
  );
}

function drawComparison(pair, names, data, search, diff) {
  const marks = diff
    ? wordDiff(pair.a.text, pair.b.text)
    : { kind: "shared", share: 0, a: [], b: [] };
  const flags = Object.keys(FLAGS).filter((flag) => FLAGS[flag](pair, data));
  const text = (side) => drawText(pair[side].text, marks[side], marks.kind, search);
  return [
    drawPrompt(pair.prompt, search, flags),
    drawStrip(
      drawVerdicts(pair, names, data),
      diff ? h("p", { class: "legend" }, legendOf(marks, pair)) : null,
    ),
    h(
      "div",
      { class: "pair" },
      drawCard(names[0], pair.a, "a", data, text("a")),
      drawCard(names[1], pair.b, "b", data, text("b")),
    ),
  ];
}

// What stands between the prompt and the answers: figures on the left, a remark on the right.
function drawStrip(figures, remark) {
  return figures || remark ? h("div", { class: "strip" }, figures, remark) : null;
}

function legendOf(marks, pair) {
  if (pair.a.text === pair.b.text) return "The two answers are identical.";
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
    h(
      "tbody",
      {},
      data.models.map((model) => drawVerdict(pair, names, model, data)),
    ),
  );
}

function drawVerdict(pair, names, model, data) {
  const gap = gapOf(pair, model);
  const winner = winnerOf(pair, model);
  const width = gap == null ? 0 : 100 * shareOfReach(Math.abs(gap), 0, model, data);
  const words =
    {
      a: `${names[0]} by ${number(Math.abs(gap))}`,
      tie: "a tie",
      b: `${names[1]} by ${number(Math.abs(gap))}`,
    }[winner] || "not scored";
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, model, " ", h("small", {}, roleOf(model, data))),
    h(
      "td",
      {},
      svg(
        "svg",
        { viewBox: "-100 0 200 10", width: 200, height: 10, "aria-hidden": "true" },
        svg("rect", { class: "track", x: -100, y: 4, width: 200, height: 2 }),
        svg("rect", {
          class: winner || "tie",
          x: winner === "a" ? -width : 0,
          y: 0,
          width,
          height: 10,
          rx: 2,
        }),
      ),
    ),
    h("td", {}, words),
  );
}

function roleOf(model, data) {
  const role = data.judges.includes(model) ? "judge" : "selector";
  return model.includes(role) ? "" : role;
}

function shareOfReach(score, from, model, data) {
  const [low, high] = data.reach[model] || [0, 0];
  return high > low ? (score - from) / (high - low) : 0;
}

function factsOf(answer) {
  const ended = answer.cutOff ? "cut off at the limit" : "stopped by itself";
  return `${answer.tokens} token${answer.tokens === 1 ? "" : "s"}, ${ended}`;
}

function drawCard(name, answer, side, data, text, badges = []) {
  const tags = answer.loop ? [tag(`repeats itself for ${answer.loop} words`, "warn")] : [];
  const checks = Object.entries(answer.checks).map(([check, kept]) =>
    tag(`${kept ? "keeps" : "breaks"} ${check}`, kept ? "kept" : "broken"),
  );
  return h(
    "article",
    { class: `answer ${side}`, "aria-label": `Answer of ${name}` },
    h(
      "header",
      {},
      h("strong", { class: "name" }, name),
      badges.map((badge) => tag(badge.label, badge.kind)),
      h("span", { class: "facts" }, factsOf(answer)),
    ),
    data.models.length
      ? h(
          "dl",
          { class: "scores" },
          data.models.map((model) => drawScore(answer, model, side, data)),
        )
      : null,
    text,
    tags.length + checks.length ? h("footer", {}, tags, checks) : null,
  );
}

function drawScore(answer, model, side, data) {
  const score = answer.rewards[model];
  const low = (data.reach[model] || [0])[0];
  const width = score == null ? 0 : 100 * shareOfReach(score, low, model, data);
  return h(
    "div",
    {},
    h("dt", {}, model),
    h("dd", {}, number(score)),
    h(
      "dd",
      { class: "bar" },
      svg(
        "svg",
        {
          viewBox: "0 0 100 6",
          width: 100,
          height: 6,
          "aria-hidden": "true",
          preserveAspectRatio: "none",
        },
        svg("rect", { class: "track", x: 0, y: 0, width: 100, height: 6, rx: 3 }),
        svg("rect", { class: side, x: 0, y: 0, width, height: 6, rx: 3 }),
      ),
    ),
  );
}
