// What the reader looks at, kept in the page's address (in a panel: the widget's
// `view`), so that a view can be linked to, gone back to and reloaded.

function startingState(data) {
  const longest = Math.max(
    0,
    ...data.prompts.flatMap((prompt) =>
      prompt.pools.flatMap((pool) => pool.answers.map((answer) => answer.tokens)),
    ),
  );
  return {
    mode: data.opened.mode,
    a: data.opened.a,
    b: data.opened.b,
    id: "",
    score: data.models[0] || "",
    search: "",
    sources: [],
    winner: "any",
    gap: null,
    tokens: [0, longest],
    flags: [],
    order: "as given",
    reverse: false,
    seed: data.opened.seed,
    diff: true,
    full: false, // whole answers in the list
    policy: "", // of the candidates; none: that of the left system
    temperature: "",
  };
}

function toHash(state, start) {
  const changed = Object.entries(state)
    .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(start[name]))
    .map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]);
  return `#${new URLSearchParams(changed)}`;
}

// A hash is typed or pasted by people: whatever does not fit is left at its start.
function fromHash(hash, start, data) {
  const state = structuredClone(start);
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!Object.hasOwn(start, name)) continue;
    const value = typeof start[name] === "string" ? text : parsed(text);
    if (allowed(name, value, data)) state[name] = value;
  }
  if (state.a === state.b) state.b = [start.b, start.a].find((name) => name !== state.a) ?? state.b;
  return state;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function allowed(name, value, data) {
  const isRange = Array.isArray(value) && value.length === 2 && value.every(Number.isFinite);
  const every = (options) => Array.isArray(value) && value.every((one) => options.includes(one));
  const fits = {
    mode: () => data.modes.includes(value),
    a: () => data.systems.includes(value),
    b: () => data.systems.includes(value),
    score: () => data.models.includes(value),
    winner: () => ["any", "a", "tie", "b"].includes(value),
    order: () => Object.hasOwn(ORDERS, value),
    flags: () => every(Object.keys(FLAGS)),
    sources: () => every(data.prompts.map((prompt) => prompt.source)),
    gap: () => value === null || isRange,
    tokens: () => isRange,
    seed: () => Number.isInteger(value),
    diff: () => typeof value === "boolean",
    reverse: () => typeof value === "boolean",
    full: () => typeof value === "boolean",
  };
  return fits[name] ? fits[name]() : typeof value === "string";
}
