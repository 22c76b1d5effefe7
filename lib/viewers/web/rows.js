// The inlined data as prompts, pools, answers and pairs: the page's side of page_data.py.

const EQUAL_SCORES = 1e-9;

async function readCollection() {
  const element = byId("data");
  const text =
    element.type === "application/gzip" ? await unzip(element.textContent) : element.textContent;
  const data = JSON.parse(text);
  data.prompts = data.prompts.map((row) => readPrompt(row, data));
  data.byId = new Map(data.prompts.map((prompt) => [prompt.id, prompt]));
  return data;
}

function unzip(base64) {
  const bytes = Uint8Array.from(atob(base64.trim()), (letter) => letter.charCodeAt(0));
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

function readAnswer([text, tokens, cutOff, scores, loop, checks], models) {
  const rewards = Object.fromEntries(models.map((model, place) => [model, scores[place]]));
  return { text, tokens, cutOff: Boolean(cutOff), rewards, loop, checks: checks || {} };
}

function pairsOf(data, a, b) {
  return data.prompts
    .map((prompt) => ({ prompt, a: prompt.answer(a), b: prompt.answer(b) }))
    .filter((pair) => pair.a && pair.b);
}

function gapOf(pair, model) {
  const [a, b] = [pair.a.rewards[model], pair.b.rewards[model]];
  return a == null || b == null ? null : a - b;
}

function winnerOf(pair, model) {
  const gap = gapOf(pair, model);
  if (gap == null) return null;
  return Math.abs(gap) <= EQUAL_SCORES ? "tie" : gap > 0 ? "a" : "b";
}

const selectorsOf = (data) => data.models.filter((model) => !data.judges.includes(model));
