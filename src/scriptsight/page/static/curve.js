// The score of a query over a whole video.
import { button, clock, drawn, element } from "./elements.js";

const [WIDTH, HEIGHT, MARGIN] = [1000, 100, 8]; // of the drawing; it is stretched to its place
const PEAKS = 3; // that are named

/**
 * Curves of one or two models, `curves` as [{name, times, scores, start, end, floor, ceiling}], over `duration` seconds.
 * `seek` is called with the second that was chosen. The element has `stand(second)`, which moves the line of now.
 */
export function curve(curves, moment, duration, seek) {
  const now = drawn("line", { class: "now", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" });
  const at = (second) => (WIDTH * second) / duration;
  const band = { x: at(moment.start), width: Math.max(2, at(moment.end - moment.start)), y: 0, height: HEIGHT };
  const picture = drawn(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": inWords(curves[0], moment) },
    drawn("rect", { class: "moment", ...band }),
    curves.flatMap((one, number) => lines(one, at, number)),
    now,
  );
  const hint = element("output", { class: "hint", "aria-hidden": "true" });
  const plot = element("div", { class: "plot" }, picture, hint);
  const secondAt = (event) => {
    const box = picture.getBoundingClientRect();
    return Math.min(duration, Math.max(0, ((event.clientX - box.left) / box.width) * duration));
  };
  plot.addEventListener("click", (event) => seek(secondAt(event)));
  plot.addEventListener("pointermove", (event) => {
    const second = secondAt(event);
    const score = scoreAt(curves[0], second);
    hint.textContent = score === null ? clock(second) : `${clock(second)} · ${score.toFixed(3)}`;
    hint.style.left = `${(100 * second) / duration}%`;
  });
  const made = element(
    "figure",
    { class: "curve" },
    element("figcaption", {}, "How well each part of the video fits the query", key(curves)),
    plot,
    element("p", { class: "axis", "aria-hidden": "true" }, ...[0, duration / 2, duration].map((second) => element("span", {}, clock(second)))),
    element("p", { class: "peaks" }, "Highest at ", peaks(curves[0]).map((peak) => peakButton(peak, seek))),
  );
  made.stand = (second) => {
    now.setAttribute("x1", at(second));
    now.setAttribute("x2", at(second));
  };
  made.stand(moment.start);
  return made;
}

function peakButton({ time, score, start }, seek) {
  return button(clock(time), { class: "quiet peak", title: `score ${score.toFixed(3)}`, onclick: () => seek(start) });
}

function key(curves) {
  if (curves.length < 2) return null;
  return element("span", { class: "key" }, curves.map((one, number) => element("span", { class: `line-${number}` }, one.name)));
}

/** The curve in pieces: between them lie stretches without a score. */
function lines(one, at, number) {
  const scores = one.scores.filter((score) => score !== null);
  const [low, high] = [Math.min(one.floor, ...scores), Math.max(one.ceiling, ...scores)];
  const height = (score) => HEIGHT - MARGIN - ((score - low) / (high - low || 1)) * (HEIGHT - 2 * MARGIN);
  const pieces = [[]];
  one.times.forEach((time, place) => {
    const score = one.scores[place];
    if (score === null) pieces.push([]);
    else pieces.at(-1).push([at(time).toFixed(1), height(score).toFixed(1), place]);
  });
  return pieces.filter((piece) => piece.length).flatMap((piece) => {
    // A single window would be a point that nobody sees: it is drawn as wide as it is.
    const [first, last] = [piece[0], piece.at(-1)];
    const ends = piece.length > 1 ? piece : [[at(one.start[first[2]]), first[1]], [at(one.end[first[2]]), first[1]]];
    const path = `M${ends.map(([x, y]) => `${x} ${y}`).join("L")}`;
    const below = `${path}L${ends.at(-1)[0]} ${HEIGHT}L${ends[0][0]} ${HEIGHT}Z`;
    return [
      number === 0 && last ? drawn("path", { class: "below", d: below }) : null,
      drawn("path", { class: `line line-${number}`, d: path, "vector-effect": "non-scaling-stroke" }),
    ].filter(Boolean);
  });
}

/** The highest windows that don't touch each other, the best first. */
function peaks(one) {
  const order = one.scores.map((score, place) => ({ score, place })).filter(({ score }) => score !== null);
  order.sort((a, b) => b.score - a.score);
  const found = [];
  for (const { score, place } of order) {
    const [start, end] = [one.start[place], one.end[place]];
    if (found.every((peak) => end <= peak.start || start >= peak.end)) found.push({ time: one.times[place], score, start, end });
    if (found.length === PEAKS) break;
  }
  return found;
}

function scoreAt(one, second) {
  const place = one.times.reduce((best, time, index) => (Math.abs(time - second) < Math.abs(one.times[best] - second) ? index : best), 0);
  return one.scores[place] ?? null;
}

function inWords(one, moment) {
  const high = peaks(one).map((peak) => `${clock(peak.time)} (${peak.score.toFixed(3)})`);
  return `Score over the video: highest at ${high.join(", ")}. The moment is from ${clock(moment.start)} to ${clock(moment.end)}.`;
}
