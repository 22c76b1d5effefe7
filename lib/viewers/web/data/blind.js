// Order and sides of a blind comparison, drawn by a hash (FNV-1a, murmur3's finaliser) of seed and
// prompt id, so that a vote can be traced back to what the rater saw.

function drawOf(text) {
  let state = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    state = Math.imul(state ^ byte, 0x01000193);
  }
  for (const [shift, factor] of [[16, 0x85ebca6b], [13, 0xc2b2ae35], [16, 1]]) {
    state = Math.imul(state ^ (state >>> shift), factor);
  }
  return state >>> 0;
}

function shuffled(ids, seed) {
  const draws = new Map(ids.map((id) => [id, drawOf(`${seed}:order:${id}`)]));
  return [...ids].sort((one, other) => draws.get(one) - draws.get(other) || (one < other ? -1 : 1));
}

function sidesOf(a, b, id, seed) {
  const [first, second] = [a, b].sort();
  return drawOf(`${seed}:side:${id}`) % 2 === 0 ? [first, second] : [second, first];
}
