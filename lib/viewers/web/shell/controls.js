// The filters beside the answers: they show the state and ask for changes of it.

const WINNERS = { any: "any", a: "left", tie: "tie", b: "right" };

function setUpControls(page) {
  const { data, byId, change } = page;
  const choices = (id, values, then = {}, label = (value) => value) => {
    byId(id).append(...values.map((value) => h("option", { value }, label(value))));
    byId(id).addEventListener("change", (event) => change({ [id]: event.target.value, ...then }));
  };
  choices("a", data.systems, { gap: null });
  choices("b", data.systems, { gap: null });
  choices("score", data.models, { gap: null });
  choices("order", Object.keys(ORDERS), { reverse: false });
  choices("winner", Object.keys(WINNERS), {}, (value) => WINNERS[value]);
  const on = (id, event, changes) =>
    byId(id).addEventListener(event, ({ target }) => change(changes(target)));
  on("swap", "click", () => ({ a: page.state.b, b: page.state.a, gap: null }));
  on("search", "input", (target) => ({ search: target.value.trim() }));
  on("diff", "change", (target) => ({ diff: target.checked }));
  on("seed", "change", (target) => ({ seed: Number(target.value) | 0 }));
  on("shortest", "change", (target) => ({ tokens: [Number(target.value), page.state.tokens[1]] }));
  on("longest", "change", (target) => ({ tokens: [page.state.tokens[0], Number(target.value)] }));
  setUpChecks(page, "flags", Object.keys(FLAGS));
  const sources = new Set(data.prompts.map((prompt) => prompt.source));
  setUpChecks(page, "sources", [...sources].filter(Boolean).sort());
}

function setUpChecks(page, id, labels) {
  const toggle = ({ target }) => {
    const others = page.state[id].filter((one) => one !== target.value);
    page.change({ [id]: target.checked ? [...others, target.value] : others });
  };
  const box = (value) => h("input", { type: "checkbox", value, onchange: toggle });
  page.byId(id).append(...labels.map((label) => h("label", {}, box(label), ` ${label}`)));
}

function showControls({ state, byId, root }) {
  for (const id of ["a", "b", "score", "order", "winner", "seed"]) byId(id).value = state[id];
  for (const option of byId("a").options) option.disabled = option.value === state.b;
  for (const option of byId("b").options) option.disabled = option.value === state.a;
  if (root.activeElement !== byId("search")) byId("search").value = state.search;
  byId("diff").checked = state.diff;
  [byId("shortest").value, byId("longest").value] = state.tokens;
  for (const id of ["flags", "sources"]) {
    for (const box of byId(id).querySelectorAll("input"))
      box.checked = state[id].includes(box.value);
  }
}

// Presets keep systems, scores, view and search; “everything” clears the search too.
function presetChange(name, { start, state }) {
  const [flags, order] = PRESETS[name];
  const search = name === "everything" ? "" : state.search;
  const cleared = { sources: [], winner: "any", gap: null, tokens: start.tokens, reverse: false };
  return { flags, order, search, ...cleared };
}

function drawPresets(page, pairs) {
  const { state, data, change } = page;
  return Object.keys(PRESETS).map((name) => {
    const wanted = { ...state, ...presetChange(name, page) };
    const pressed = JSON.stringify(wanted) === JSON.stringify(state);
    return button(
      {
        class: "preset",
        "aria-pressed": `${pressed}`,
        onclick: () => change({ ...presetChange(name, page), id: "" }),
      },
      name,
      h("small", {}, ` ${selectPairs(pairs, wanted, data).length}`),
    );
  });
}

// A column is as tall as the chart, so that small bars can be clicked too; its count stands on top.
// The bars count what passes every other filter.
function drawHistogram(page, pairs) {
  const { state, data, byId, change } = page;
  const counted = selectPairs(pairs, { ...state, gap: null }, data);
  const bars = histogramOf(pairs, counted, state.score).reverse(); // left wins on the left
  const tallest = Math.max(1, ...bars.map((bar) => bar.count));
  byId("left-end").textContent = `left by ${number(bars[0].high)}`;
  byId("right-end").textContent = `right by ${number(bars[0].high)}`;
  return bars.map((bar) => {
    const chosen = Boolean(state.gap && state.gap[0] === bar.low && state.gap[1] === bar.high);
    const words = `Gap ${number(bar.low)} to ${number(bar.high)}: ${count(bar.count, "prompt")}`;
    const shape = h("i");
    shape.style.height = `${bar.count ? 3 + (55 * bar.count) / tallest : 1}px`;
    return button(
      {
        class: bar.low > 0 ? "a" : bar.high < 0 ? "b" : "even",
        "aria-pressed": `${chosen}`,
        "aria-label": words,
        title: words,
        disabled: !bar.count && !chosen,
        onclick: () => change({ gap: chosen ? null : [bar.low, bar.high] }),
      },
      h("small", {}, bar.count ? `${bar.count}` : ""),
      shape,
    );
  });
}

function drawSlice({ slice, state }) {
  const found = summaryOf(slice, state.score);
  if (!found.n) return [h("p", {}, "No scored pair in this slice.")];
  const rightWins = found.rate < 0.5;
  const [from, rate] = rightWins ? [1 - found.high, 1 - found.rate] : [found.low, found.rate];
  const width = 100 * (found.high - found.low);
  const bar = svg(
    "svg",
    { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", y: 5, width: 100, height: 2 }),
    svg("rect", { class: "half", x: 49.8, width: 0.4, height: 12 }),
    svg("rect", { class: rightWins ? "b" : "a", x: 100 * from, y: 3, width, height: 6 }),
    svg("rect", { class: "point", x: 100 * rate - 0.6, width: 1.2, height: 12 }),
  );
  return [
    h("p", {}, h("strong", {}, inWords(found, state.a, state.b)), ` by ${state.score}`),
    bar,
    legend(
      `n = ${found.n}: left wins ${found.wins}, right ${found.losses}, ` +
        `${count(found.ties, "tie")}; mean length ${number(found.tokensA, 0)} ` +
        `and ${number(found.tokensB, 0)} tokens`,
    ),
  ];
}
