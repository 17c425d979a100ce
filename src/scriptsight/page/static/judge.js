// Thumbs: who found that which moment fits which query.
import { post } from "./api.js";
import { asks, FILTERS } from "./address.js";
import { button, element, tell } from "./elements.js";

/** The name that judgements are kept under, which this browser remembers. */
export function who(name) {
  try {
    if (name !== undefined) localStorage.setItem("who", name.trim());
    return localStorage.getItem("who") ?? "";
  } catch {
    return ""; // a browser that keeps nothing
  }
}

/** Thumb up and thumb down for a moment that `state` found; nothing where nothing was asked. */
export function thumbs(moment, state, model) {
  if (!asks(state)) return null;
  const pair = [
    button("Fits the query (y)", { symbol: "up", only: true, class: "quiet thumb", onclick: () => judge(1) }),
    button("Doesn't fit the query (n)", { symbol: "down", only: true, class: "quiet thumb", onclick: () => judge(-1) }),
  ];
  const place = element("span", { class: "thumbs", role: "group", "aria-label": "Does it fit the query?" }, pair);

  function show(verdict) {
    moment.judged = verdict;
    pair[0].setAttribute("aria-pressed", String(verdict === 1));
    pair[1].setAttribute("aria-pressed", String(verdict === -1));
  }

  async function judge(verdict) {
    const before = moment.judged ?? 0;
    const wanted = before === verdict ? 0 : verdict;
    showAll(moment.id, wanted);
    try {
      await post("/api/judge", { query: question(state), moment: moment.id, model, verdict: wanted, who: who() });
      const name = who() ? ` As ${who()}.` : element("a", { href: "/judgements" }, "Say who you are");
      tell(wanted > 0 ? "Kept: it fits." : wanted < 0 ? "Kept: it doesn't fit." : "Taken back.", name);
    } catch (error) {
      showAll(moment.id, before);
      tell(`Not kept. ${error.message} ${error.remedy}`);
    }
  }

  Object.assign(place, { judge, show, moment: moment.id });
  show(moment.judged ?? 0);
  return place;
}

/** The same moment may be on the page more than once: in both columns, and in the player. */
function showAll(id, verdict) {
  for (const place of document.querySelectorAll(".thumbs")) if (place.moment === id) place.show(verdict);
}

/** The query of a state, in the words of the server. */
function question(state) {
  const asked = { by: state.by };
  for (const name of ["q", "like", "clip", "said"]) if (state[name]) asked[name] = state[name];
  for (const name of FILTERS) if (state[name].length) asked[name] = state[name];
  return asked;
}
