// The pieces of every view: a prompt, an answer with its scores, what marks them.

function drawPrompt(prompt, search, flags = []) {
  const text = (words) => drawText(words, [], "", search);
  const id = h("span", { class: "id" }, prompt.id);
  const flagged = flags.map((flag) => tag(flag, "warn"));
  const folded = [h("summary", {}, "Reference answer"), text(prompt.reference || "")];
  return h(
    "section",
    { class: "prompt" },
    h("header", {}, id, tag(prompt.source), flagged),
    text(prompt.text),
    prompt.reference ? h("details", { class: "reference" }, folded) : null,
  );
}

// The name of whoever read the run's answers, who is no reward model.
const READER = "reader";

function roleOf(model, data) {
  if (model === READER) return "";
  const role = data.judges.includes(model) ? "judge" : "selector";
  return model.includes(role) ? "" : role;
}

const CUT_OFF = "cut off at the limit";

function factsOf(answer) {
  const ended = answer.cutOff ? CUT_OFF : "stopped by itself";
  return `${count(answer.tokens, "token")}, ${ended}`;
}

function drawCard(name, answer, side, data, text, badges = []) {
  const tags = answer.loop ? [tag(`repeats itself for ${answer.loop} words`, "warn")] : [];
  const checks = Object.entries(answer.checks).map(([check, kept]) =>
    kept ? tag(`keeps ${check}`, "kept") : tag(`breaks ${check}`, "broken"),
  );
  const scores = data.models.map((model) =>
    drawScore(model, answer.rewards[model], data.reach[model] || [0, 0], side),
  );
  return drawFrame(name, side, badges, factsOf(answer), scores, text, [...tags, ...checks]);
}

function drawFrame(name, side, badges, facts, scores, text, footer = []) {
  return h(
    "article",
    { class: `answer ${side}`, "aria-label": `Answer: ${name}` },
    h(
      "header",
      {},
      h("strong", { class: "name" }, name),
      badges.map((badge) => tag(badge.label, badge.kind)),
      facts ? h("span", { class: "facts" }, facts) : null,
    ),
    scores.length ? h("dl", { class: "scores" }, scores) : null,
    text,
    footer.length ? h("footer", {}, footer) : null,
  );
}

function drawScore(model, score, [low, high], side) {
  const width = score == null || high <= low ? 0 : (100 * (score - low)) / (high - low);
  const shape = { x: 0, y: 0, height: 6, rx: 3 };
  const bar = { viewBox: "0 0 100 6", height: 6, preserveAspectRatio: "none" };
  const drawn = svg(
    "svg",
    { ...bar, "aria-hidden": "true" },
    svg("rect", { ...shape, class: "track", width: 100 }),
    svg("rect", { ...shape, class: side, width }),
  );
  const value = h("dd", {}, number(score));
  return h("div", {}, h("dt", {}, model), value, h("dd", { class: "bar" }, drawn));
}
