// Search, filters, presets, orders, and the slice in numbers.

const FLAGS = {
  "judge and selector disagree": (pair, data) => {
    const models = [...data.models.slice(0, 1), ...selectorsOf(data)];
    const winners = models.map((model) => winnerOf(pair, model));
    return winners.includes("a") && winners.includes("b");
  },
  "won but shorter": (pair, data) => {
    const winner = winnerOf(pair, data.models[0]);
    return (
      (winner === "a" && pair.a.tokens < pair.b.tokens) ||
      (winner === "b" && pair.b.tokens < pair.a.tokens)
    );
  },
  identical: (pair) => pair.identical,
  "hit the limit": (pair) => pair.a.cutOff || pair.b.cutOff,
  loops: (pair) => Math.max(pair.a.loop, pair.b.loop) > 0,
  "breaks a constraint": (pair) =>
    [pair.a, pair.b].some((answer) => Object.values(answer.checks).includes(false)),
};

// Largest first, but texts from a to z; `wanted.reverse` turns it. Pairs without a score come last.
const scored = (value) => (value == null ? -Infinity : value);
const ORDERS = {
  "as given": () => 0,
  "score gap": (pair, wanted) => {
    const gap = gapOf(pair, wanted.score);
    return gap == null ? -1 : Math.abs(gap);
  },
  "length gap": (pair) => Math.abs(pair.a.tokens - pair.b.tokens),
  loop: (pair) => Math.max(pair.a.loop, pair.b.loop),
  random: null,
  prompt: (pair) => pair.prompt.text,
  source: (pair) => pair.prompt.source,
  "tokens left": (pair) => pair.a.tokens,
  "tokens right": (pair) => pair.b.tokens,
  "left minus right": (pair, wanted) => scored(gapOf(pair, wanted.score)),
};

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
  return ordered(pairs.filter((pair) => passes(pair, wanted, data)), wanted);
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
  const size = ORDERS[wanted.order];
  const compare = (one, other) => {
    const [x, y] = [size(one, wanted), size(other, wanted)];
    if (typeof x === "string") return x.localeCompare(y);
    return x === y ? 0 : y - x;
  };
  const sign = wanted.reverse ? -1 : 1;
  return [...pairs].sort((one, other) => sign * compare(one, other));
}

function summaryOf(pairs, score) {
  const winners = pairs.map((pair) => winnerOf(pair, score));
  const [wins, ties, losses] = ["a", "tie", "b"].map(
    (who) => winners.filter((w) => w === who).length,
  );
  const mean = (side) => pairs.reduce((sum, pair) => sum + pair[side].tokens, 0) / pairs.length;
  const lengths = { tokensA: mean("a"), tokensB: mean("b") };
  return { wins, ties, losses, ...winRate(wins, ties, losses), ...lengths };
}

// From the winner's side: who wins, how often, the interval, against whom.
function inWords({ rate, low, high }, a, b) {
  if (rate < 0.5) return inWords({ rate: 1 - rate, low: 1 - high, high: 1 - low }, b, a);
  const verb = rate === 0.5 ? "draws" : "wins";
  return `${a} ${verb} ${number(rate, 3)} [${number(low, 3)}, ${number(high, 3)}] against ${b}`;
}

const Z = 1.959963984540054; // of a 95 % interval
const APART = 1e-13; // the ends lie beside the estimate, where all-equal outcomes have a false root

// A tie counts half; Tango's score interval (1998), as in lib/analysis/statistics/intervals.py.
function winRate(wins, ties, losses) {
  const n = wins + ties + losses;
  const difference = (wins - losses) / n;
  const low = scoreRoot(Z, -1, difference - APART, wins, losses, n);
  const high = scoreRoot(-Z, difference + APART, 1, wins, losses, n);
  return { n, rate: (wins + ties / 2) / n, low: (1 + low) / 2, high: (1 + high) / 2 };
}

// The hypothetical win-loss difference between left and right whose score is z, by bisection; the
// outer end where there is none.
function scoreRoot(z, left, right, wins, losses, n) {
  const excess = (difference) => scoreExcess(difference, wins, losses, n, z);
  if (!(excess(left) > 0 && excess(right) < 0)) return -Math.sign(z);
  for (let halving = 0; halving < 50; halving++) {
    const middle = (left + right) / 2;
    if (excess(middle) > 0) left = middle;
    else right = middle;
  }
  return (left + right) / 2;
}

// How far the score of a hypothetical difference is above z, times its standard error.
function scoreExcess(difference, wins, losses, n, z) {
  const linear = (2 * n - wins + losses) * difference - wins - losses;
  const constant = -losses * difference * (1 - difference);
  const root = Math.sqrt(Math.max(linear ** 2 - 8 * n * constant, 0));
  const lossShare = (root - linear) / (4 * n); // its most likely value under the hypothesis
  const variance = n * (2 * lossShare + difference * (1 - difference));
  return wins - losses - n * difference - z * Math.sqrt(Math.max(variance, 0));
}

// The counted pairs by their gap; the bars reach as far as the gaps of all pairs, on both sides. An
// odd number of bars puts near-ties into one in the middle.
function histogramOf(all, counted, score, bars = 11) {
  const gapsOf = (pairs) => pairs.map((pair) => gapOf(pair, score)).filter((gap) => gap != null);
  const reach = (Math.max(0, ...gapsOf(all).map(Math.abs)) || 1) * (1 + Number.EPSILON);
  const width = (2 * reach) / bars;
  const found = Array.from({ length: bars }, (_, place) => ({
    low: -reach + place * width,
    high: -reach + (place + 1) * width,
    count: 0,
  }));
  for (const gap of gapsOf(counted))
    found[Math.min(bars - 1, Math.floor((gap + reach) / width))].count++;
  return found;
}
