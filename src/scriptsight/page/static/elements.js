// Making elements. Texts of videos and people only ever become text nodes, so that markup in them is shown, not run.

/** An element: `properties` are attributes, or listeners where they begin with "on"; `children` are elements or texts. */
export function element(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for drawings. */
export function drawn(tag, properties = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function filled(made, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** Text of unknown direction: what reads right to left, or turns letters round, stays within its own box. */
export function foreign(text, properties = {}) {
  return element("bdi", properties, text);
}

/** One of the page's own icons. */
export function icon(name) {
  return drawn("svg", { class: "icon", "aria-hidden": "true" }, drawn("use", { href: `#icon-${name}` }));
}

/** A button; `words` are what it is called, shown or (with `only`) just said. */
export function button(words, { symbol = null, only = false, ...properties } = {}) {
  return element(
    "button",
    { type: "button", ...(only ? { "aria-label": words, title: words } : {}), ...properties },
    symbol && icon(symbol),
    only ? null : element("span", {}, words),
  );
}

/** Seconds as m:ss.s, from an hour on as h:mm:ss.s. */
export function clock(seconds) {
  const tenths = Math.max(0, Math.round(seconds * 10));
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, tenths % 600];
  const tail = `${String(Math.floor(rest / 10)).padStart(2, "0")}.${rest % 10}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

export function span(moment) {
  return `${clock(moment.start)} – ${clock(moment.end)}`;
}

/** A number of things in words: "1 moment", "12,000 moments". */
export function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

let fading = null;

/** A short word about what just happened, read out as well. */
export function tell(words, ...more) {
  const place = document.getElementById("told");
  // Under an open dialog the rest of the page is neither seen in front nor read out.
  (document.querySelector("dialog[open]") ?? document.body).append(place);
  place.replaceChildren(element("p", {}, words, ...more));
  clearTimeout(fading);
  fading = setTimeout(() => place.replaceChildren(), 6000);
}
