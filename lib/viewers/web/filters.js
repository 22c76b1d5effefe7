// Search, filters, presets, orders, and the slice in numbers: the page's side of filters.py.

const FLAGS = {
  "judge and selector disagree": (pair, data) => {
    const winners = data.models.map((model) => winnerOf(pair, model));
    return winners.includes("a") && winners.includes("b");
  },
  "won but shorter": (pair, data) => {
    const winner = winnerOf(pair, data.models[0]);
    return (
      (winner === "a" && pair.a.tokens < pair.b.tokens) ||
      (winner === "b" && pair.b.tokens < pair.a.tokens)
    );
  },
  identical: (pair) => pair.a.text === pair.b.text,
  "hit the limit": (pair) => pair.a.cutOff || pair.b.cutOff,
  loops: (pair) => Math.max(pair.a.loop, pair.b.loop) > 0,
  "breaks a constraint": (pair) =>
    [pair.a, pair.b].some((answer) => Object.values(answer.checks).includes(false)),
};

const ORDERS = ["as given", "score gap", "length gap", "loop", "random"];

const PRESETS = {
  everything: [[], "as given"],
  "largest gap": [[], "score gap"],
  "judge and selector disagree": [["judge and selector disagree"], "score gap"],
  "won but shorter": [["won but shorter"], "length gap"],
  identical: [["identical"], "as given"],
  "hit the limit": [["hit the limit"], "as given"],
  "longest loop": [["loops"], "loop"],
  random: [[], "random"],
};

function selectPairs(pairs, wanted, data) {
  return ordered(
    pairs.filter((pair) => passes(pair, wanted, data)),
    wanted,
  );
}

function passes(pair, wanted, data) {
  const gap = gapOf(pair, wanted.score);
  const length = Math.max(pair.a.tokens, pair.b.tokens);
  const search = wanted.search.toLowerCase();
  const texts = () => [pair.prompt.id, pair.prompt.text, pair.a.text, pair.b.text];
  return (
    (!wanted.sources.length || wanted.sources.includes(pair.prompt.source)) &&
    (wanted.winner === "any" || winnerOf(pair, wanted.score) === wanted.winner) &&
    (!wanted.gap || (gap != null && wanted.gap[0] <= gap && gap < wanted.gap[1])) &&
    wanted.tokens[0] <= length &&
    length <= wanted.tokens[1] &&
    wanted.flags.every((flag) => FLAGS[flag](pair, data)) &&
    (!search || texts().some((text) => text.toLowerCase().includes(search)))
  );
}

function ordered(pairs, wanted) {
  if (wanted.order === "random") {
    const byPrompt = new Map(pairs.map((pair) => [pair.prompt.id, pair]));
    return shuffled([...byPrompt.keys()], wanted.seed).map((id) => byPrompt.get(id));
  }
  const size = {
    "as given": () => 0,
    "score gap": (pair) => {
      const gap = gapOf(pair, wanted.score);
      return gap == null ? -1 : Math.abs(gap);
    },
    "length gap": (pair) => Math.abs(pair.a.tokens - pair.b.tokens),
    loop: (pair) => Math.max(pair.a.loop, pair.b.loop),
  }[wanted.order];
  return [...pairs].sort((one, other) => size(other) - size(one));
}

function summaryOf(pairs, score) {
  const winners = pairs.map((pair) => winnerOf(pair, score));
  const [wins, ties, losses] = ["a", "tie", "b"].map(
    (who) => winners.filter((w) => w === who).length,
  );
  const mean = (side) => pairs.reduce((sum, pair) => sum + pair[side].tokens, 0) / pairs.length;
  return {
    wins,
    ties,
    losses,
    ...winRate(wins, ties, losses),
    tokensA: mean("a"),
    tokensB: mean("b"),
  };
}

// A tie counts half; Wilson's interval (1927) at 95 %.
function winRate(wins, ties, losses) {
  const n = wins + ties + losses;
  const rate = (wins + ties / 2) / n;
  const z = 1.959963984540054;
  const middle = (rate + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((rate * (1 - rate)) / n + (z * z) / (4 * n * n));
  return { n, rate, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

function histogramOf(pairs, score, bars = 13) {
  const gaps = pairs.map((pair) => gapOf(pair, score)).filter((gap) => gap != null);
  const reach = (Math.max(0, ...gaps.map(Math.abs)) || 1) * (1 + Number.EPSILON);
  const width = (2 * reach) / bars;
  const found = Array.from({ length: bars }, (_, place) => ({
    low: -reach + place * width,
    high: -reach + (place + 1) * width,
    count: 0,
  }));
  for (const gap of gaps) found[Math.min(bars - 1, Math.floor((gap + reach) / width))].count++;
  return found;
}
