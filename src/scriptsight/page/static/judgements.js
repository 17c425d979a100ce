// Who found that which moment fits which query.
import { get } from "./api.js";
import { text, read } from "./address.js";
import { element, foreign, icon, span } from "./elements.js";
import { who } from "./judge.js";
import { explainKeys } from "./keys.js";

const name = document.getElementById("who");
name.value = who();
name.addEventListener("input", () => who(name.value));

/** The search page with the query of a judgement, and its moment open. */
function address(one) {
  const asked = { ...read(""), ...one.query, open: one.moment };
  return `/${text(asked)}`;
}

function row(one) {
  const fits = one.verdict > 0;
  return element(
    "tr",
    {},
    element("td", {}, element("span", { class: fits ? "fits" : "fails" }, icon(fits ? "up" : "down"), fits ? "fits" : "doesn't fit")),
    element("td", {}, element("a", { href: address(one) }, foreign(asked(one.query)))),
    element("td", {}, foreign(one.title || one.moment), element("br"), element("span", { class: "faint" }, span(one))),
    element("td", {}, foreign(one.who || "nobody's name")),
    element("td", {}, foreign(one.model || "")),
    element("td", {}, element("time", { datetime: one.when }, new Date(one.when).toLocaleString())),
  );
}

function asked(query) {
  return query.q || (query.like ? `like ${query.like}` : "a clip");
}

async function start() {
  const place = document.getElementById("list");
  try {
    const list = await get("/api/judgements");
    document.getElementById("count").textContent = list.length ? "" : "No moment has been judged yet. Search for something, and press a thumb.";
    place.hidden = !list.length;
    place.querySelector("tbody").replaceChildren(...list.map(row));
  } catch (error) {
    document.getElementById("count").textContent = `${error.message} ${error.remedy ?? ""}`;
  }
}

explainKeys();
start();
