// The filters beside the answers: they show the state and ask for changes of it.

function setUpControls(data, state, change) {
  const options = (id, values, key) => {
    byId(id).append(...values.map((value) => h("option", { value }, value)));
    byId(id).addEventListener("change", (event) => change({ [key]: event.target.value }));
  };
  options("a", data.systems, "a");
  options("b", data.systems, "b");
  options("score", data.models, "score");
  options("order", ORDERS, "order");
  byId("a").addEventListener("change", () => change({ gap: null }));
  byId("b").addEventListener("change", () => change({ gap: null }));
  byId("score").addEventListener("change", () => change({ gap: null }));
  byId("swap").addEventListener("click", () => change({ a: state().b, b: state().a, gap: null }));
  byId("search").addEventListener("input", (event) =>
    change({ search: event.target.value.trim() }),
  );
  byId("diff").addEventListener("change", (event) => change({ diff: event.target.checked }));
  byId("winner").addEventListener("change", (event) => change({ winner: event.target.value }));
  byId("seed").addEventListener("change", (event) =>
    change({ seed: Number(event.target.value) | 0 }),
  );
  for (const [id, place] of [
    ["shortest", 0],
    ["longest", 1],
  ]) {
    byId(id).addEventListener("change", (event) => {
      const tokens = [...state().tokens];
      tokens[place] = Number(event.target.value);
      change({ tokens });
    });
  }
  setUpChecks("flags", Object.keys(FLAGS), "flags", state, change);
  setUpChecks(
    "sources",
    [...new Set(data.prompts.map((prompt) => prompt.source))].filter(Boolean).sort(),
    "sources",
    state,
    change,
  );
}

function setUpChecks(id, labels, key, state, change) {
  byId(id).append(
    ...labels.map((label) =>
      h(
        "label",
        {},
        h("input", {
          type: "checkbox",
          value: label,
          onchange: (event) => {
            const others = state()[key].filter((one) => one !== label);
            change({ [key]: event.target.checked ? [...others, label] : others });
          },
        }),
        ` ${label}`,
      ),
    ),
  );
}

function showControls(state) {
  for (const key of ["a", "b", "score", "order", "winner", "seed"]) byId(key).value = state[key];
  if (document.activeElement !== byId("search")) byId("search").value = state.search;
  byId("diff").checked = state.diff;
  [byId("shortest").value, byId("longest").value] = state.tokens;
  for (const key of ["flags", "sources"]) {
    for (const box of byId(key).querySelectorAll("input"))
      box.checked = state[key].includes(box.value);
  }
}

// Presets keep the two systems, the scores and the view; they replace every filter and the order.
function presetChange(name, start) {
  const [flags, order] = PRESETS[name];
  return { flags, order, search: "", sources: [], winner: "any", gap: null, tokens: start.tokens };
}

function drawPresets(data, pairs, state, start, change) {
  return Object.keys(PRESETS).map((name) => {
    const wanted = { ...state, ...presetChange(name, start) };
    const count = selectPairs(pairs, wanted, data).length;
    const pressed = JSON.stringify([wanted, name]) === JSON.stringify([state, name]);
    return h(
      "button",
      {
        type: "button",
        class: "preset",
        "aria-pressed": String(pressed),
        onclick: () => change({ ...presetChange(name, start), id: "" }),
      },
      name,
      h("small", {}, ` ${count}`),
    );
  });
}

// A column is as tall as the chart, so that small bars can be clicked too; its count stands on top.
function drawHistogram(pairs, state, change) {
  const bars = histogramOf(pairs, state.score).reverse(); // as on screen: left wins on the left
  const tallest = Math.max(1, ...bars.map((bar) => bar.count));
  byId("left-end").textContent = `left by ${number(bars[0].high)}`;
  byId("right-end").textContent = `right by ${number(bars[0].high)}`;
  return bars.map((bar) => {
    const chosen = state.gap && state.gap[0] === bar.low && state.gap[1] === bar.high;
    const words = `Gap ${number(bar.low)} to ${number(bar.high)}: ${bar.count} prompts`;
    const shape = h("i");
    shape.style.height = `${bar.count ? 3 + (55 * bar.count) / tallest : 1}px`;
    return h(
      "button",
      {
        type: "button",
        class: bar.low > 0 ? "a" : bar.high < 0 ? "b" : "even",
        "aria-pressed": String(Boolean(chosen)),
        "aria-label": words,
        title: words,
        disabled: !bar.count,
        onclick: () => change({ gap: chosen ? null : [bar.low, bar.high] }),
      },
      h("small", {}, bar.count ? `${bar.count}` : ""),
      shape,
    );
  });
}

function drawSlice(pairs, state) {
  const found = summaryOf(pairs, state.score);
  if (!found.n) return [h("p", {}, "No scored pair in this slice.")];
  const bar = svg(
    "svg",
    { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", y: 5, width: 100, height: 2 }),
    svg("rect", { class: "half", x: 49.8, width: 0.4, height: 12 }),
    svg("rect", {
      class: "a",
      x: 100 * found.low,
      y: 3,
      width: 100 * (found.high - found.low),
      height: 6,
    }),
    svg("rect", { class: "point", x: 100 * found.rate - 0.6, width: 1.2, height: 12 }),
  );
  return [
    h(
      "p",
      {},
      h("strong", {}, state.a),
      ` wins ${number(found.rate, 3)} `,
      `[${number(found.low, 3)}, ${number(found.high, 3)}] against `,
      h("strong", {}, state.b),
      ` by ${state.score}`,
    ),
    bar,
    h(
      "p",
      { class: "legend" },
      `n = ${found.n}: ${found.wins} wins, ${found.ties} ties, ` +
        `${found.losses} losses; mean length ${number(found.tokensA, 0)} ` +
        `and ${number(found.tokensB, 0)} tokens`,
    ),
  ];
}
