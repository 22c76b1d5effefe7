// All answers in one pool, best first: the same elements as candidates.html.jinja.

// "dpo+bon4@0.6" -> policy "dpo", rule "bon4", temperature "0.6"; a bare policy takes its pool's
// temperature.
function splitName(system) {
  const [, policy, rule, temperature] = system.match(/^([^+@]+)(?:\+([^@]*))?(?:@(.+))?$/) || [
    null,
    system,
  ];
  return { policy, rule: rule || "", temperature: temperature || "" };
}

function temperatureOf(pool) {
  return [...pool.chosen.keys()].map((name) => splitName(name).temperature).find(Boolean) || "";
}

function policiesOf(data) {
  return [...new Set(data.systems.map((system) => splitName(system).policy))];
}

// A lone answer is left out where there is a pool to choose from.
function poolsOf(prompt, policy) {
  const own = (pool) => [...pool.chosen.keys()].some((name) => splitName(name).policy === policy);
  const all = prompt.pools.filter(own);
  const choices = all.filter((pool) => pool.answers.length > 1);
  return (choices.length ? choices : all).sort(
    (one, other) => temperatureOf(one) - temperatureOf(other),
  );
}

function drawPools(page, prompt) {
  const { data, state } = page;
  const policies = policiesOf(data).filter((name) => poolsOf(prompt, name).length);
  const policy = policies.includes(state.policy) ? state.policy : splitName(state.a).policy;
  const pools = poolsOf(prompt, policy);
  const pool =
    pools.find((one) => temperatureOf(one) === state.temperature) ||
    pools.find((one) => one.chosen.has(state.a)) ||
    pools.find((one) => one.chosen.has(state.b)) ||
    pools[0];
  const choose = (key) => (name) => page.change({ [key]: name });
  return [
    h(
      "div",
      { class: "picks" },
      drawPicks("Policy", policies, policy, choose("policy")),
      drawPicks(
        "Temperature",
        pools.map(temperatureOf),
        temperatureOf(pool),
        choose("temperature"),
      ),
    ),
    ...drawCandidates(prompt, pool, data, state.search),
  ];
}

function drawPicks(label, names, chosen, choose) {
  return h(
    "div",
    { role: "group", "aria-label": label },
    h("span", {}, `${label} `),
    names.map((name) =>
      h(
        "button",
        { type: "button", "aria-pressed": String(name === chosen), onclick: () => choose(name) },
        name || "as sampled",
      ),
    ),
  );
}

function drawCandidates(prompt, pool, data, search) {
  const rankedBy = [...selectorsOf(data), ...data.models][0];
  const rank = (answer) => {
    const score = answer.rewards[rankedBy];
    return score == null ? Infinity : -score;
  };
  const places = pool.answers
    .map((_, place) => place)
    .sort((one, other) => rank(pool.answers[one]) - rank(pool.answers[other]) || one - other);
  return [
    drawPrompt(prompt, search),
    drawStrip(
      pool.curve ? drawCurve(pool.curve, rankedBy, data) : null,
      h(
        "p",
        { class: "legend" },
        `${places.length} candidates, best by ${rankedBy || "no score"} first; ` +
          `${percent(pool.diversity)} of their word pairs are distinct.`,
      ),
    ),
    h(
      "div",
      { class: "pool" },
      places.map((place) => drawCandidate(pool, place, data, search)),
    ),
  ];
}

function drawCandidate(pool, place, data, search) {
  const answer = pool.answers[place];
  const badges = [...pool.chosen]
    .filter(([, chosen]) => chosen === place)
    .map(([name]) => badgeOf(name));
  return drawCard(
    `#${place + 1}`,
    answer,
    badges.some((badge) => badge.kind === "chosen") ? "a" : "plain",
    data,
    drawText(answer.text, [], "", search),
    badges,
  );
}

// Who took this candidate, and how.
function badgeOf(system) {
  const { rule } = splitName(system);
  const how = !rule ? "first draw" : rule.startsWith("random") ? "random pick" : "chosen";
  return { kind: how.replace(" ", "-"), label: `${how} · ${system}` };
}

// Each model's curve: its values at powers of two and at N, and all of them as a line.
function drawCurve(curve, rankedBy, data) {
  const sizes = curve[0].map((_, place) => place + 1);
  const places = sizes.filter((n) => !(n & (n - 1)) || n === sizes.length);
  const row = (head, cells, last) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, head),
      cells.map((cell) => h("td", {}, `${cell}`)),
      h("td", {}, last),
    );
  return h(
    "table",
    { class: "curve" },
    h("caption", {}, `Expected score of the best of n by ${rankedBy}`),
    h(
      "tbody",
      {},
      row("n", places, null),
      curve.map((values, model) =>
        row(data.models[model], places.map((n) => number(values[n - 1])), drawLine(values)),
      ),
    ),
  );
}

const CURVE_WIDTH = 120;
const CURVE_HEIGHT = 26;

function drawLine(values) {
  const low = Math.min(...values);
  const reach = Math.max(...values) - low || 1;
  const step = CURVE_WIDTH / (values.length - 1);
  const points = values.map((value, place) => {
    const y = CURVE_HEIGHT * (1 - (value - low) / reach);
    return `${(place * step).toFixed(1)},${y.toFixed(1)}`;
  });
  return svg(
    "svg",
    { viewBox: "-3 -3 126 32", width: 126, height: 32, "aria-hidden": "true" },
    svg("polyline", { points: points.join(" ") }),
  );
}
