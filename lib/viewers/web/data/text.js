// A text with its marks: words of a diff, finds of a search; both may overlap.

const CLIP = 4000; // characters before “more”
const MOST_FINDS = 500;

function drawText(text, ranges = [], mark = "", search = "") {
  if (!text.trim()) return [h("div", { class: "text empty" }, "(empty answer)")];
  const finds = findsIn(text, search);
  const cutAt = isLowSurrogate(text, CLIP) ? CLIP + 1 : CLIP;
  const draw = (start, end) =>
    h("div", { class: "text", dir: "auto" }, cut(text, start, end, ranges, mark, finds));
  const head = draw(0, Math.min(cutAt, text.length));
  if (text.length <= cutAt) return [head];
  return [head, unfolding(text.length - cutAt, () => draw(cutAt, text.length))];
}

// The rest of a long text is drawn when it is asked for: 100,000 characters would slow every step.
function unfolding(length, drawRest) {
  const summary = h("summary", {}, `${length.toLocaleString("en")} more characters`);
  const details = h("details", { class: "more" }, summary);
  details.addEventListener("toggle", () => details.append(drawRest()), { once: true });
  return details;
}

const isLowSurrogate = (text, place) => (text.charCodeAt(place) & 0xfc00) === 0xdc00;

function cut(text, start, end, ranges, mark, finds) {
  const edges = [...ranges, ...finds].flat().filter((edge) => start < edge && edge < end);
  const cuts = [...new Set([start, ...edges, end])].sort((one, other) => one - other);
  const inRange = covered(ranges);
  const inFind = covered(finds);
  return cuts.slice(0, -1).map((left, place) => {
    const part = text.slice(left, cuts[place + 1]);
    const marked = inRange(left) && mark ? h("span", { class: mark }, part) : part;
    return inFind(left) ? h("mark", {}, marked) : marked;
  });
}

// Places are asked for in order, so one walk over the ordered ranges answers all of them.
function covered(ranges) {
  let next = 0;
  return (place) => {
    while (next < ranges.length && ranges[next][1] <= place) next++;
    return next < ranges.length && ranges[next][0] <= place;
  };
}

function findsIn(text, search) {
  const needle = search.toLowerCase();
  const haystack = text.toLowerCase();
  if (!needle || haystack.length !== text.length) return [];
  const finds = [];
  let start = haystack.indexOf(needle);
  while (start >= 0 && finds.length < MOST_FINDS) {
    finds.push([start, start + needle.length]);
    start = haystack.indexOf(needle, start + needle.length);
  }
  return finds;
}
