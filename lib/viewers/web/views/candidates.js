// All answers in one pool, best first; who took which, and how.

function temperatureOf(data, pool) {
  const known = [...pool.chosen.keys()].map((name) => data.parsed.get(name).temperature);
  return known.find((temperature) => temperature != null) ?? null;
}

const inDegrees = (temperature) => (temperature == null ? "as sampled" : `${temperature}`);

function policiesOf(data) {
  return [...new Set([...data.parsed.values()].map((system) => system.policy))];
}

// Coldest first, of two pools at one temperature the larger; a lone answer is left out where there
// is a pool to choose from.
function poolsOf(data, prompt, policy) {
  const own = prompt.pools.filter((pool) =>
    [...pool.chosen.keys()].some((name) => data.parsed.get(name).policy === policy),
  );
  const choices = own.filter((pool) => pool.answers.length > 1);
  const bySize = (choices.length ? choices : own).sort(
    (one, other) => one.answers.length - other.answers.length,
  );
  const found = new Map(bySize.map((pool) => [temperatureOf(data, pool), pool]));
  return [...found].sort(([one], [other]) => (one ?? Infinity) - (other ?? Infinity));
}

function drawPools(page, prompt) {
  const { data, state } = page;
  const policies = policiesOf(data).filter((name) => poolsOf(data, prompt, name).length);
  const policy = [state.policy, data.parsed.get(state.a).policy, policies[0]].find((name) =>
    policies.includes(name),
  );
  const pools = poolsOf(data, prompt, policy);
  const [temperature, pool] =
    pools.find(([one]) => inDegrees(one) === state.temperature) ||
    pools.find(([, one]) => one.chosen.has(state.a)) ||
    pools.find(([, one]) => one.chosen.has(state.b)) ||
    pools[0];
  const degrees = pools.map(([one]) => inDegrees(one));
  const choose = (name) => (value) => page.change({ [name]: value });
  return [
    div(
      "picks",
      drawPicks("Policy", policies, policy, choose("policy")),
      drawPicks("Temperature", degrees, inDegrees(temperature), choose("temperature")),
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
      button({ "aria-pressed": `${name === chosen}`, onclick: () => choose(name) }, name),
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
      legend(
        `${count(places.length, "candidate")}, best by ${rankedBy || "no score"} first` +
          (pool.diversity == null
            ? "."
            : `; ${percent(pool.diversity)} of their word pairs are distinct.`),
      ),
    ),
    div("pool", places.map((place) => drawCandidate(pool, place, data, search))),
  ];
}

function drawCandidate(pool, place, data, search) {
  const answer = pool.answers[place];
  const badges = [...pool.chosen]
    .filter(([, chosen]) => chosen === place)
    .map(([name]) => badgeOf(name, data.parsed.get(name).rule));
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
function badgeOf(system, rule) {
  const how = !rule ? "first draw" : rule === "random" ? "random pick" : "chosen";
  return { kind: how.replace(" ", "-"), label: `${how} · ${system}` };
}

// The sizes at which a curve is told: all of a small pool, else powers of two, and N itself.
function sizesOf(n) {
  const sizes = Array.from({ length: n }, (_, place) => place + 1);
  return n <= 6 ? sizes : sizes.filter((size) => !(size & (size - 1)) || size === n);
}

// Each model's curve as numbers, and as a line through the same numbers.
function drawCurve(curve, rankedBy, data) {
  const sizes = sizesOf(curve.find(Boolean).length);
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
      row("n", sizes, null),
      curve.map((values, model) => {
        if (!values) return null;
        const told = sizes.map((n) => values[n - 1]);
        return row(data.models[model], told.map((value) => number(value)), drawLine(told));
      }),
    ),
  );
}

const CURVE_WIDTH = 120;
const CURVE_HEIGHT = 26;

function drawLine(values) {
  const low = Math.min(...values);
  const reach = Math.max(...values) - low || 1;
  const step = CURVE_WIDTH / (values.length - 1);
  const points = values.map((value, place) => [
    (place * step).toFixed(1),
    (CURVE_HEIGHT * (1 - (value - low) / reach)).toFixed(1),
  ]);
  return svg(
    "svg",
    { viewBox: "-3 -3 126 32", width: 126, height: 32, "aria-hidden": "true" },
    svg("polyline", { points: points.join(" ") }),
    points.map(([cx, cy]) => svg("circle", { class: "a", cx, cy, r: 2.5 })),
  );
}
