// The map of the corpus: moments that look alike lie close together.
import { get, momentPath, picture } from "./api.js";
import { read } from "./address.js";
import { clock, counted, element, foreign, span } from "./elements.js";
import { explainKeys, typing } from "./keys.js";
import { Player } from "./player.js";

// Told apart by colour and by shape: eight colours that the colour-blind tell apart best, and five shapes.
const COLOURS = 8;
const SHAPES = ["circle", "square", "triangle", "diamond", "cross"];
const OUTLINES = {
  circle: (r) => `M${r} 0A${r} ${r} 0 1 1 ${-r} 0A${r} ${r} 0 1 1 ${r} 0Z`,
  square: (r) => `M${-r} ${-r}H${r}V${r}H${-r}Z`,
  triangle: (r) => `M0 ${-1.2 * r}L${1.15 * r} ${0.9 * r}H${-1.15 * r}Z`,
  diamond: (r) => `M0 ${-1.35 * r}L${1.1 * r} 0L0 ${1.35 * r}L${-1.1 * r} 0Z`,
  cross: (r) => `M${-r} ${-r / 2.5}H${-r / 2.5}V${-r}H${r / 2.5}V${-r / 2.5}H${r}V${r / 2.5}H${r / 2.5}V${r}H${-r / 2.5}V${r / 2.5}H${-r}Z`,
};
const RADIUS = 4; // pixels
const REACH = 14; // pixels from a point within which the pointer is on it
const EDGE = 24; // pixels around the map
const LISTED = 300; // moments in the list below the map at once

const find = (id) => document.getElementById(id);
const [canvas, card, legend, list, status, by] = ["map", "card", "legend", "list", "status", "by"].map(find);
const paper = canvas.getContext("2d");

let points = []; // {x, y (0 to 1), moment, kind}
let kinds = []; // {name, colour, shape, hidden}
let view = { scale: 1, x: 0, y: 0 }; // what the pointer did to the map
let chosen = null; // the point that the pointer or the keyboard is on
const said = new Map(); // the words of moments, as they were fetched

const player = new Player({ closed: () => open(""), like: (id) => location.assign(`/?like=${encodeURIComponent(id)}`) });

async function load() {
  status.textContent = "Reading the map …";
  try {
    const found = await get(`/api/map?color=${by.value}`);
    const names = found.colors;
    kinds = names.map((name, number) => ({ name, number, shape: SHAPES[Math.floor(number / 2) % SHAPES.length], hidden: false }));
    const place = new Map(names.map((name, number) => [name, number]));
    points = spread(found.points).map(([x, y, row]) => {
      const moment = found.moments[row];
      return { x, y, moment, kind: kinds[place.get(moment.color ?? "")] ?? kinds[0] };
    });
    status.textContent = `${counted(points.length, "moment")}: those that look alike lie close together.`;
    find("place").hidden = false;
    showLegend();
    showList();
    draw();
  } catch (error) {
    find("place").hidden = true;
    status.replaceChildren(error.message, " ", element("span", { class: "faint" }, error.remedy ?? ""));
  }
}

/** Points with places from 0 to 1. */
function spread(raw) {
  const [xs, ys] = [0, 1].map((axis) => raw.map((point) => point[axis]));
  const [left, top] = [xs, ys].map((all) => all.reduce((a, b) => Math.min(a, b), Infinity));
  const [right, bottom] = [xs, ys].map((all) => all.reduce((a, b) => Math.max(a, b), -Infinity));
  return raw.map(([x, y, row]) => [(x - left) / (right - left || 1), 1 - (y - top) / (bottom - top || 1), row]);
}

function size() {
  return { width: canvas.clientWidth, height: canvas.clientHeight };
}

/** Where a point is on the canvas, in pixels. */
function at(point) {
  const { width, height } = size();
  return [
    (EDGE + point.x * (width - 2 * EDGE)) * view.scale + view.x,
    (EDGE + point.y * (height - 2 * EDGE)) * view.scale + view.y,
  ];
}

function colour(kind) {
  return getComputedStyle(document.body).getPropertyValue(`--kind-${kind.number % COLOURS}`);
}

function draw() {
  const { width, height } = size();
  const dense = devicePixelRatio || 1;
  canvas.width = width * dense;
  canvas.height = height * dense;
  paper.scale(dense, dense);
  const grown = RADIUS * Math.min(2, Math.sqrt(view.scale));
  const brushes = kinds.map((kind) => ({ colour: colour(kind), outline: new Path2D(OUTLINES[kind.shape](grown)) }));
  paper.globalAlpha = points.length > 3000 ? 0.6 : 0.85;
  for (const point of points) {
    if (point.kind.hidden) continue;
    const [x, y] = at(point);
    if (x < -grown || y < -grown || x > width + grown || y > height + grown) continue;
    const brush = brushes[point.kind.number];
    paper.fillStyle = brush.colour;
    paper.translate(x, y);
    paper.fill(brush.outline);
    paper.translate(-x, -y);
  }
  paper.globalAlpha = 1;
  if (chosen) {
    const [x, y] = at(chosen);
    paper.strokeStyle = getComputedStyle(document.body).getPropertyValue("--ink");
    paper.lineWidth = 2;
    paper.beginPath();
    paper.arc(x, y, grown + 4, 0, 2 * Math.PI);
    paper.stroke();
  }
}

let drawing = false;
function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
    if (chosen) placeCard();
  });
}

// ---- wandering

function zoom(factor, x = size().width / 2, y = size().height / 2) {
  const scale = Math.min(60, Math.max(0.8, view.scale * factor));
  const grown = scale / view.scale;
  view = { scale, x: x - (x - view.x) * grown, y: y - (y - view.y) * grown };
  redraw();
}

function nearest(x, y, reach = REACH) {
  let best = null;
  let least = reach;
  for (const point of points) {
    if (point.kind.hidden) continue;
    const [px, py] = at(point);
    const far = Math.hypot(px - x, py - y);
    if (far < least) [best, least] = [point, far];
  }
  return best;
}

const held = new Map(); // pointers that are down: id -> place
let moved = 0;

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  held.set(event.pointerId, [event.offsetX, event.offsetY]);
  moved = 0;
});
canvas.addEventListener("pointermove", (event) => {
  const before = held.get(event.pointerId);
  if (!before) {
    choose(nearest(event.offsetX, event.offsetY));
    return;
  }
  const [dx, dy] = [event.offsetX - before[0], event.offsetY - before[1]];
  moved += Math.abs(dx) + Math.abs(dy);
  if (held.size === 2) {
    const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    const far = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
    zoom(far([event.offsetX, event.offsetY]) / far(before), other[0], other[1]);
  } else {
    view = { ...view, x: view.x + dx, y: view.y + dy };
    redraw();
  }
  held.set(event.pointerId, [event.offsetX, event.offsetY]);
});
for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => held.delete(event.pointerId));
canvas.addEventListener("pointerleave", () => held.size || document.activeElement === canvas || choose(null));
canvas.addEventListener("click", (event) => {
  if (moved > 6) return;
  const point = nearest(event.offsetX, event.offsetY, 2 * REACH);
  choose(point);
  if (point) open(point.moment.id);
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  if (typing(event)) return;
  const towards = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (towards) choose(next(towards) ?? chosen);
  else if (event.key === "Enter" && chosen) open(chosen.moment.id);
  else if (event.key === "Escape") choose(null);
  else if (event.key === "+" || event.key === "=") zoom(1.4);
  else if (event.key === "-") zoom(1 / 1.4);
  else if (event.key === "0") whole();
  else return;
  event.preventDefault();
});
find("closer").addEventListener("click", () => zoom(1.6));
find("farther").addEventListener("click", () => zoom(1 / 1.6));
find("whole").addEventListener("click", whole);

function whole() {
  view = { scale: 1, x: 0, y: 0 };
  redraw();
}

/** The nearest point in a direction from the chosen one; the first choice is the one in the middle. */
function next([dx, dy]) {
  const { width, height } = size();
  if (!chosen) return nearest(width / 2, height / 2, Infinity);
  const [x, y] = at(chosen);
  let best = null;
  let least = Infinity;
  for (const point of points) {
    if (point === chosen || point.kind.hidden) continue;
    const [px, py] = at(point);
    const along = (px - x) * dx + (py - y) * dy;
    const across = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
    if (along <= 0 || across > along) continue;
    if (along + across < least) [best, least] = [point, along + across];
  }
  return best;
}

// ---- the moment that is pointed at

let asking = null;

function choose(point) {
  if (point === chosen) return;
  chosen = point;
  canvas.style.cursor = point ? "pointer" : "";
  card.hidden = !point;
  redraw();
  clearTimeout(asking);
  if (!point) return;
  const { moment } = point;
  const words = element("p", { class: "words", dir: "auto" }, said.get(moment.id) ?? " ");
  card.replaceChildren(
    element("div", { class: "picture" }, element("img", { alt: "", src: picture(moment, 3) })),
    element("p", { class: "title" }, foreign(moment.title)),
    element("p", { class: "faint" }, span(moment), moment.color && [" · ", foreign(moment.color)]),
    words,
  );
  placeCard();
  if (said.has(moment.id)) return;
  asking = setTimeout(async () => {
    const found = await get(momentPath(moment.id)).catch(() => null);
    if (!found) return;
    said.set(moment.id, (found.words ?? []).map((cue) => cue.text).join(" ") || "Nothing is said here.");
    words.textContent = said.get(moment.id);
  }, 120);
}

/** Beside its point, on the side where there is room. */
function placeCard() {
  const [x, y] = at(chosen);
  const { width, height } = size();
  const [wide, high] = [card.offsetWidth, card.offsetHeight];
  card.style.left = `${Math.max(0, x + 16 + wide < width ? x + 16 : x - 16 - wide)}px`;
  card.style.top = `${Math.max(0, Math.min(y - high / 2, height - high))}px`;
}

// ---- legend and list

function showLegend() {
  const counts = kinds.map((kind) => points.filter((point) => point.kind === kind).length);
  legend.replaceChildren(
    ...kinds.map((kind, number) => {
      const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      swatch.setAttribute("viewBox", "-8 -8 16 16");
      swatch.setAttribute("aria-hidden", "true");
      const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
      shape.setAttribute("d", OUTLINES[kind.shape](5));
      swatch.append(shape);
      swatch.style.fill = `var(--kind-${kind.number % COLOURS})`;
      const made = element(
        "button",
        { type: "button", class: "kind", "aria-pressed": String(!kind.hidden) },
        swatch,
        kind.name ? foreign(kind.name) : element("span", {}, "none"),
        element("span", { class: "faint" }, counts[number].toLocaleString("en")),
      );
      made.addEventListener("click", () => {
        kind.hidden = !kind.hidden;
        made.setAttribute("aria-pressed", String(!kind.hidden));
        if (chosen?.kind.hidden) choose(null);
        redraw();
      });
      return made;
    }),
  );
}

function showList() {
  const wanted = find("find").value.toLowerCase();
  const fits = points.filter(({ moment }) => `${moment.title} ${moment.color ?? ""}`.toLowerCase().includes(wanted));
  list.replaceChildren(
    ...fits.slice(0, LISTED).map(({ moment }) =>
      element(
        "li",
        {},
        element("a", { href: `?open=${encodeURIComponent(moment.id)}`, "data-open": moment.id }, foreign(moment.title)),
        element("span", { class: "faint" }, ` ${clock(moment.start)} `, foreign(moment.color ?? "")),
      ),
    ),
  );
  find("listed").textContent = fits.length > LISTED ? `The first ${LISTED} of ${counted(fits.length, "moment")}.` : counted(fits.length, "moment");
}

find("find").addEventListener("input", showList);
by.addEventListener("change", () => {
  choose(null);
  const address = new URL(location.href);
  address.searchParams.set("color", by.value);
  history.replaceState(null, "", address);
  load();
});
list.addEventListener("click", (event) => {
  const at = event.target.closest("[data-open]");
  if (!at || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  open(at.dataset.open);
});

// ---- the player

/** Open a moment in the player, or close it where `id` is empty; the address says which. */
function open(id) {
  const address = new URL(location.href);
  if (id) address.searchParams.set("open", id);
  else address.searchParams.delete("open");
  if (address.href !== location.href) history.pushState(null, "", address);
  showPlayer();
}

async function showPlayer() {
  const { open: id } = read();
  if (id === player.id) return;
  if (!id) {
    player.close();
    return;
  }
  try {
    const moment = await get(momentPath(id));
    if (read().open === id) player.open({ ...moment, model: "" }, read(""), [""]);
  } catch (error) {
    status.textContent = `${error.message} ${error.remedy ?? ""}`;
  }
}

addEventListener("popstate", showPlayer);
new ResizeObserver(redraw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
const asked = new URLSearchParams(location.search).get("color");
const given = [...by.options].some((option) => option.value === asked);
if (given) by.value = asked;
explainKeys();
load().then(() => {
  if (given || by.value !== "label" || kinds.length !== 1) return;
  by.value = "split"; // nothing has a label: all points would have one colour
  load();
});
showPlayer();
