// All answers in one pool, best first: the same elements as candidates.html.jinja.

// "dpo+bon4@0.6" -> policy "dpo", temperature "0.6"; a bare policy takes its pool's temperature.
function splitName(system) {
  const [, policy, temperature] = system.match(/^([^+@]+)(?:\+[^@]*)?(?:@(.+))?$/) || [
    null,
    system,
  ];
  return { policy, temperature: temperature || "" };
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
  return (choices.length ? choices : all).sort((one, other) => temperatureOf(one) - temperatureOf(other));
}

function drawPools(page, prompt) {
  const { data, state, picked } = page;
  const policies = policiesOf(data).filter((name) => poolsOf(prompt, name).length);
  const policy = policies.includes(picked.policy) ? picked.policy : splitName(state.a).policy;
  const pools = poolsOf(prompt, policy);
  const pool =
    pools.find((one) => temperatureOf(one) === picked.temperature) ||
    pools.find((one) => one.chosen.has(state.a)) ||
    pools.find((one) => one.chosen.has(state.b)) ||
    pools[0];
  const choose = (key) => (name) => {
    picked[key] = name;
    page.show();
  };
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
    h(
      "p",
      { class: "legend" },
      `${places.length} candidates, best by ${rankedBy || "no score"} first; ` +
        `${percent(pool.diversity)} of their word pairs are distinct.`,
    ),
    ...(pool.curve ? drawCurve(pool.curve, rankedBy, data) : []),
    h(
      "div",
      { class: "pool" },
      places.map((place) => drawCandidate(pool, place, data, search)),
    ),
  ];
}

function drawCandidate(pool, place, data, search) {
  const answer = pool.answers[place];
  const badges = [...pool.chosen].filter(([, chosen]) => chosen === place).map(([name]) => name);
  return drawCard(
    `#${place + 1}`,
    answer,
    badges.length ? "a" : "plain",
    data,
    drawText(answer.text, [], "", search),
    badges,
  );
}

function drawCurve(curve, rankedBy, data) {
  const cells = (values, cell) => values.map((value) => h(cell, {}, number(value)));
  return [
    h(
      "p",
      { class: "legend" },
      "Best of n for this prompt: the expected score of the answer that " +
        `${rankedBy} picks from n of them.`,
    ),
    h(
      "table",
      { class: "curve", "aria-label": "Best of n" },
      h(
        "tbody",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "row" }, "n"),
          curve[0].map((_, n) => h("td", {}, `${n + 1}`)),
        ),
        curve.map((values, place) =>
          h("tr", {}, h("th", { scope: "row" }, data.models[place]), cells(values, "td")),
        ),
      ),
    ),
  ];
}
