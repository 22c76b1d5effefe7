// The inlined data as prompts, pools, answers and pairs: the reader of page_data.py.

function readCollection(text) {
  const data = JSON.parse(text);
  const system = ([name, policy, rule, n, temperature]) => [name, { policy, rule, n, temperature }];
  data.parsed = new Map(data.systems.map(system));
  data.systems = [...data.parsed.keys()];
  data.prompts = data.prompts.map((row) => readPrompt(row, data));
  data.byId = new Map(data.prompts.map((prompt) => [prompt.id, prompt]));
  return data;
}

const unbase64 = (text) => Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));

function unzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function readPrompt([id, text, source, reference, pools], data) {
  const prompt = {
    id,
    text,
    source,
    reference,
    pools: pools.map(([answers, chosen, ...rest]) => ({
      answers: answers.map((answer) => readAnswer(answer, data.models)),
      chosen: new Map(chosen.map(([system, index]) => [data.systems[system], index])),
      picked: new Set(chosen.filter((row) => row[2]).map(([system]) => data.systems[system])),
      diversity: rest[0],
      curve: rest[1],
    })),
  };
  prompt.pool = (system) => prompt.pools.find((pool) => pool.chosen.has(system));
  prompt.answer = (system) => {
    const pool = prompt.pool(system);
    return pool && pool.answers[pool.chosen.get(system)];
  };
  return prompt;
}

function readAnswer([text, tokens, cutOff, scores, loop, checks, textId], models) {
  const rewards = Object.fromEntries(models.map((model, place) => [model, scores[place]]));
  return { text, tokens, cutOff: Boolean(cutOff), rewards, loop, checks: checks || {}, textId };
}

function pairsOf(data, a, b) {
  return data.prompts.map((prompt) => pairOf(prompt, a, b)).filter((pair) => pair.a && pair.b);
}

function pairOf(prompt, a, b) {
  const pair = { prompt, a: prompt.answer(a), b: prompt.answer(b) };
  pair.identical = Boolean(pair.a && pair.b) && pair.a.textId === pair.b.textId;
  pair.picked = [a, b].every((system) => prompt.pool(system)?.picked.has(system));
  return pair;
}

function gapOf(pair, model) {
  const [a, b] = [pair.a.rewards[model], pair.b.rewards[model]];
  return a == null || b == null ? null : a - b;
}

// The rule of lib/analysis/comparisons/scoreboard.py, which results.json is counted by: equal texts
// tie whatever the scores say, unless one was never picked; scores are compared exactly. What a
// reader did not read is no tie.
function winnerOf(pair, model) {
  const gap = gapOf(pair, model);
  if (pair.identical && pair.picked && (gap != null || model !== "reader")) return "tie";
  if (gap == null) return null;
  return gap === 0 ? "tie" : gap > 0 ? "a" : "b";
}

const selectorsOf = (data) => data.models.filter((model) => !data.judges.includes(model));
