// What the reader looks at, kept in the URL hash so that a view can be linked to and reloaded.

const MODES = ["read", "candidates", "vote", "list"];

function startingState(data) {
  const longest = Math.max(
    0,
    ...data.prompts.flatMap((prompt) =>
      prompt.pools.flatMap((pool) => pool.answers.map((answer) => answer.tokens)),
    ),
  );
  return {
    mode: "read",
    a: data.opened[0],
    b: data.opened[1],
    id: "",
    score: data.models[0] || "",
    search: "",
    sources: [],
    winner: "any",
    gap: null,
    tokens: [0, longest],
    flags: [],
    order: "as given",
    seed: 0,
    diff: true,
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
  for (const [name, text] of new URLSearchParams(hash.slice(1))) {
    if (!(name in start)) continue;
    const value = typeof start[name] === "string" ? text : parsed(text);
    if (allowed(name, value, data)) state[name] = value;
  }
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
    mode: () => MODES.includes(value),
    a: () => data.systems.includes(value),
    b: () => data.systems.includes(value),
    score: () => data.models.includes(value),
    winner: () => ["any", "a", "tie", "b"].includes(value),
    order: () => ORDERS.includes(value),
    flags: () => every(Object.keys(FLAGS)),
    sources: () => every(data.prompts.map((prompt) => prompt.source)),
    gap: () => value === null || isRange,
    tokens: () => isRange,
    seed: () => Number.isInteger(value),
    diff: () => typeof value === "boolean",
  };
  return fits[name] ? fits[name]() : typeof value === "string";
}

// A page inside a notebook has no address of its own; the view is then simply not linkable.
function writeHash(hash) {
  try {
    history.replaceState(null, "", hash);
  } catch (error) {
    if (error.name !== "SecurityError") throw error;
  }
}
