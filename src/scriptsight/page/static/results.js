// Moments as cards.
import { picture } from "./api.js";
import { text } from "./address.js";
import { button, element, foreign, icon, span, tell } from "./elements.js";
import { thumbs } from "./judge.js";

const PICTURES = 8; // of a moment
const STEADY = 3; // the one that is shown while nothing moves
const PACE = 280; // milliseconds a picture in the moving preview

/**
 * A card of a moment. `share` is its score's part of the bar, or null where scores tell nothing; `also` is the name of
 * the other model and the moment's place in its list, 0 where it is not in there.
 */
export function card(moment, { state, model, share, also, rank }) {
  const shown = element("img", { class: "still", alt: "", loading: "lazy", decoding: "async", src: picture(moment, STEADY) });
  hideIfMissing(shown);
  const frames = strip(moment);
  const link = element(
    "a",
    { class: "title", href: `/${text({ ...state, open: moment.id })}`, "data-open": moment.id },
    foreign(moment.title || moment.uri),
    element("span", { class: "unseen" }, `, ${span(moment)}`),
  );
  const made = element(
    "article",
    { class: "card", "data-id": moment.id },
    element(
      "div",
      { class: "picture" },
      shown,
      element("span", { class: "time" }, span(moment)),
      element("span", { class: "rank", "aria-hidden": "true" }, String(rank)),
    ),
    frames,
    element("h3", {}, link),
    share === null ? null : scoreLine(moment, share),
    element("p", { class: "words", dir: "auto" }, said(moment)),
    element(
      "ul",
      { class: "tags", "aria-label": "About this moment" },
      also?.place ? element("li", { class: "both" }, icon("both"), element("span", {}, "also by ", foreign(also.name), `, no. ${also.place}`)) : null,
      ["label", "split", "collection", "language"].map((name) => moment[name] && tag(name, moment[name])),
    ),
    element(
      "div",
      { class: "actions" },
      thumbs(moment, state, model),
      button("More like this", { symbol: "like", class: "quiet", "data-like": moment.id }),
      button("Copy the link to this moment", {
        symbol: "link",
        only: true,
        class: "quiet",
        onclick: () => copy(new URL(link.href)),
      }),
    ),
  );
  moving(made, shown, frames, moment);
  return made;
}

/** A card's place while the first answer is on its way: as large as a card, so that nothing jumps. */
export function blank() {
  return element(
    "div",
    { class: "card blank", "aria-hidden": "true" },
    element("div", { class: "picture" }),
    element("div", { class: "strip" }),
    element("p", { class: "words" }),
  );
}

export async function copy(address) {
  try {
    await navigator.clipboard.writeText(address.href);
    tell("The link is copied.");
  } catch {
    tell("The browser didn't allow copying: ", element("a", { href: address.href }, "this is the link"));
  }
}

/** Words as nodes, those that were asked for marked. */
export function marked(cue) {
  return (cue.parts ?? [[cue.text, false]]).map(([words, hit]) => (hit ? element("mark", {}, words) : words));
}

function tag(name, value) {
  return element("li", { class: "tag", title: `${name}: ${value}` }, foreign(value));
}

function strip(moment) {
  const frames = Array.from({ length: PICTURES }, (_, number) =>
    element("img", { alt: "", loading: "lazy", decoding: "async", src: picture(moment, number) }),
  );
  for (const frame of frames) hideIfMissing(frame);
  return element("div", { class: "strip", "aria-hidden": "true" }, frames);
}

/** A picture that can't be had is an empty place, without the browser's sign for it. */
function hideIfMissing(image) {
  image.addEventListener("error", () => image.classList.add("missing"));
  image.addEventListener("load", () => image.classList.remove("missing"));
}

/** What is said around the best hit: the words before it are left out where there are many. */
function said(moment) {
  const cues = moment.words ?? [];
  const best = Math.max(0, cues.findIndex((cue) => cue.hit));
  const shown = cues.slice(Math.max(0, best - 1), best + 6);
  if (!shown.length) return element("span", { class: "faint" }, "Nothing is said here.");
  const nodes = shown.flatMap((cue) => [element("bdi", { class: cue.hit ? "hit" : null }, marked(cue)), " "]);
  return best > 1 ? ["… ", ...nodes] : nodes;
}

function scoreLine(moment, share) {
  const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("span"));
  bar.firstChild.style.inlineSize = `${Math.round(100 * share)}%`;
  return element(
    "p",
    { class: "score" },
    bar,
    element("span", { class: "number" }, element("span", { class: "unseen" }, "score "), moment.score.toFixed(3)),
  );
}

/** Under the pointer, or while the keyboard is on it and the space bar was pressed, a card shows its pictures in turn. */
function moving(made, shown, frames, moment) {
  let ticking = null;
  let number = STEADY;
  const pictures = [...frames.children];

  function show(next) {
    pictures[number].classList.remove("now");
    number = next;
    const source = pictures[number];
    if (source.complete && source.naturalWidth) shown.src = source.src;
    if (ticking) source.classList.add("now");
  }

  made.start = () => {
    if (ticking) return;
    for (const source of pictures) source.loading = "eager";
    ticking = setInterval(() => show((number + 1) % PICTURES), PACE);
  };
  made.stop = () => {
    clearInterval(ticking);
    ticking = null;
    pictures[number].classList.remove("now");
    number = STEADY;
    shown.src = picture(moment, STEADY);
  };
  made.toggle = () => (ticking ? made.stop() : made.start());

  const still = matchMedia("(prefers-reduced-motion: reduce)");
  made.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && !still.matches && made.start());
  made.addEventListener("pointerleave", made.stop);
  made.addEventListener("focusin", () => !still.matches && made.start());
  made.addEventListener("focusout", (event) => made.contains(event.relatedTarget) || made.stop());
}

/** Each score's share of the list's range: the worst of the list still has a tenth of the bar. */
export function shares(moments) {
  const scores = moments.map((moment) => moment.score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  return scores.map((score) => (high > low ? 0.1 + (0.9 * (score - low)) / (high - low) : 1));
}

/** The rank in `others` of the moment that overlaps this one, or 0. */
export function rankIn(others, moment) {
  const same = (other) => other.video === moment.video && other.start < moment.end && moment.start < other.end;
  return others.findIndex(same) + 1;
}
