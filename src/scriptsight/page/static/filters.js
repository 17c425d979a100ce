// What narrows a search: menus of what the index has, and a chip for each thing that was chosen.
import { FILTERS } from "./address.js";
import { button, element, foreign, icon } from "./elements.js";

const NAMES = { collection: "Collection", label: "Label", language: "Language", split: "Split" };
const MANY = 12; // choices, from which on a menu can be searched

/** The menus of `known` (of /api/state). `change` is told what of the state becomes what. */
export function menus(known, state, change) {
  return FILTERS.filter((name) => (known[`${name}s`] ?? []).length > 1 || state[name].length).map((name) =>
    menu(name, known[`${name}s`] ?? [], state[name], (chosen) => change({ [name]: chosen })),
  );
}

/** A chip for each filter that is on; pressed, it goes. */
export function chips(state, change) {
  const made = FILTERS.flatMap((name) =>
    state[name].map((value) =>
      chip(`${NAMES[name]}: `, value, () => change({ [name]: state[name].filter((other) => other !== value) })),
    ),
  );
  if (state.said) made.push(chip("Said: ", state.said, () => change({ said: "" })));
  if (made.length > 1) made.push(button("Clear all", { class: "quiet", onclick: () => change(none()) }));
  return made;
}

/** No filter at all. */
export function none() {
  return { said: "", ...Object.fromEntries(FILTERS.map((name) => [name, []])) };
}

/** Menus close when another thing is clicked, or by escape. */
export function closeMenus(except = null) {
  for (const open of document.querySelectorAll("details.menu[open]")) if (open !== except) open.open = false;
}

document.addEventListener("click", (event) => closeMenus(event.target.closest?.("details.menu")));

function chip(name, value, drop) {
  return element(
    "button",
    { type: "button", class: "chip", "aria-label": `Without ${name}${value}`, onclick: drop },
    element("span", {}, name, foreign(value)),
    icon("close"),
  );
}

function menu(name, values, chosen, choose) {
  const rows = values.map((value) => {
    const box = element("input", { type: "checkbox", value });
    box.checked = chosen.includes(value);
    return element("label", { class: "choice" }, box, foreign(value));
  });
  const list = element("div", { class: "choices", role: "group", "aria-label": NAMES[name] }, rows);
  const count = element("span", { class: "count" });
  const tell = (number) => {
    count.textContent = number;
    count.hidden = !number;
  };
  tell(chosen.length);
  list.addEventListener("change", () => {
    const now = [...list.querySelectorAll("input:checked")].map((box) => box.value);
    tell(now.length);
    choose(now);
  });
  const find = element("input", { type: "search", placeholder: "Find", "aria-label": `Find a ${name}`, class: "find" });
  find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  const made = element(
    "details",
    { class: "menu", "data-filter": name },
    element("summary", {}, NAMES[name], count, icon("open")),
    element("div", { class: "sheet" }, values.length > MANY ? find : null, list),
  );
  made.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !made.open) return;
    made.open = false;
    made.firstChild.focus();
    event.stopPropagation();
  });
  return made;
}
