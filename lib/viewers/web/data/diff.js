// Which words two answers share, by the matching blocks of Python's difflib. Near-identical answers
// are best read by what differs, unrelated ones by what they share: `kind` says which.

const WORD = /[\u3040-\u30ff\u3400-\u9fff]|[.,;:!?()"]|[^\s.,;:!?()"\u3040-\u30ff\u3400-\u9fff]+/g;
const MOST_COMPARISONS = 400000; // beyond it looping texts take seconds
const SHORTEST_PHRASE = 3;
const PUNCTUATION = new Set('.,;:!?()"');

function wordDiff(a, b) {
  const spans = [wordSpans(a), wordSpans(b)];
  const words = [a, b].map((text, side) =>
    spans[side].map(([start, end]) => text.slice(start, end)),
  );
  const places = placesOf(words[1]);
  const comparisons = words[0].reduce((sum, word) => sum + (places.get(word) || []).length, 0);
  if (comparisons > MOST_COMPARISONS) return { kind: "too long", share: 0, a: [], b: [] };
  const blocks = matchingBlocks(words[0], words[1], places);
  const equal = blocks.reduce((sum, block) => sum + block[2], 0);
  const share = (2 * equal) / Math.max(1, words[0].length + words[1].length);
  if (share >= 0.5) {
    return { kind: "changed", share, a: gaps(blocks, spans[0], 0), b: gaps(blocks, spans[1], 1) };
  }
  const isWord = (word) => !PUNCTUATION.has(word);
  const phrases = blocks.filter(
    ([start, , size]) =>
      words[0].slice(start, start + size).filter(isWord).length >= SHORTEST_PHRASE,
  );
  return {
    kind: "shared",
    share,
    a: inside(phrases, spans[0], 0),
    b: inside(phrases, spans[1], 1),
  };
}

function wordSpans(text) {
  return Array.from(text.matchAll(WORD), (match) => [match.index, match.index + match[0].length]);
}

function placesOf(words) {
  const places = new Map();
  words.forEach((word, place) => {
    if (!places.has(word)) places.set(word, []);
    places.get(word).push(place);
  });
  return places;
}

// Ratcliff and Obershelp: the longest common block, then the same left and right of it.
function matchingBlocks(a, b, places) {
  const queue = [[0, a.length, 0, b.length]];
  const found = [];
  while (queue.length) {
    const [aLow, aHigh, bLow, bHigh] = queue.pop();
    const [i, j, size] = longestMatch(a, places, aLow, aHigh, bLow, bHigh);
    if (!size) continue;
    found.push([i, j, size]);
    if (aLow < i && bLow < j) queue.push([aLow, i, bLow, j]);
    if (i + size < aHigh && j + size < bHigh) queue.push([i + size, aHigh, j + size, bHigh]);
  }
  found.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  return [...joined(found), [a.length, b.length, 0]];
}

function longestMatch(a, places, aLow, aHigh, bLow, bHigh) {
  let best = [aLow, bLow, 0];
  let lengths = new Map(); // end in b -> length of the match that ends there and at a's last word
  for (let i = aLow; i < aHigh; i++) {
    const next = new Map();
    for (const j of places.get(a[i]) || []) {
      if (j < bLow) continue;
      if (j >= bHigh) break;
      const length = (lengths.get(j - 1) || 0) + 1;
      next.set(j, length);
      if (length > best[2]) best = [i - length + 1, j - length + 1, length];
    }
    lengths = next;
  }
  return best;
}

function joined(blocks) {
  const result = [];
  for (const block of blocks) {
    const last = result[result.length - 1];
    if (last && last[0] + last[2] === block[0] && last[1] + last[2] === block[1])
      last[2] += block[2];
    else result.push([...block]);
  }
  return result;
}

function inside(blocks, spans, side) {
  return blocks.map((block) => [spans[block[side]][0], spans[block[side] + block[2] - 1][1]]);
}

function gaps(blocks, spans, side) {
  const ranges = [];
  let word = 0;
  for (const block of blocks) {
    if (word < block[side]) ranges.push([spans[word][0], spans[block[side] - 1][1]]);
    word = block[side] + block[2];
  }
  return ranges;
}
