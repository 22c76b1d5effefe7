// Elements without markup: every text goes in as a text node, never as HTML.

function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== ""));
  return element;
}

const button = (attributes, ...children) =>
  h("button", { type: "button", ...attributes }, children);
const div = (name, ...children) => h("div", { class: name }, children);
const legend = (...children) => h("p", { class: "legend" }, children);
const key = (letter) => h("kbd", {}, letter);
const tag = (label, kind = "") =>
  label ? h("span", { class: `tag ${kind}`.trim() }, label) : null;
const percent = (share) => `${Math.round(100 * share)}%`;
const count = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;

// As people write it: a real minus sign, no negative zero, a dash for a missing score.
function number(value, digits = 2) {
  if (value == null || Number.isNaN(value)) return "–";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}
