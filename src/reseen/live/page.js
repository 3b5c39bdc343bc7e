"use strict";
const about = JSON.parse(document.getElementById("about").textContent);
const part = (id) => document.getElementById(id);
const trials = new Map(); // number -> messages of the trial and of its image
let chosen = null; // number of the trial that is shown; null: the newest
let planned = false;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const seconds = (value) => (value === null ? "after a restart" : `${value.toFixed(2)}\u00a0s`);
const path = (number, name) => `trials/${number}/${name}.png`;

function frame(number, name, isThere, instead, alt) {
  const made = element("div", "", { class: isThere ? "frame full" : "frame" });
  made.append(isThere ? element("img", "", { src: path(number, name), alt }) : instead);
  return made;
}

function figure(title, caption, content) {
  const made = element("figure");
  const under = element("figcaption", caption);
  under.prepend(element("b", title));
  made.append(content, under);
  return made;
}

function figures(trial) {
  const found = [];
  const number = trial.number;
  if (trial.presented) {
    found.push(figure("presented", `stimulus ${trial.stimulus}`, frame(number, "presented", true, "", "presented image")));
  }
  if (about.start) {
    const alt = `image of ${about.start} of trial ${number}`;
    found.push(figure(about.start, `${about.start} alone, after ${seconds(trial.seconds)}`, frame(number, about.start, trial.start, "no image", alt)));
  }
  if (about.images && about.condition !== about.start) {
    const image = trial.image;
    const shown = Boolean(image && image.shown);
    const instead = image ? image.error || "no image" : "being generated";
    const caption = image ? (shown ? `one sample, after ${seconds(image.seconds)}` : "no image") : "follows";
    found.push(figure(about.condition, caption, frame(number, about.condition, shown, instead, `image of ${about.condition} of trial ${number}`)));
  }
  return found;
}

function explained(confidence) {
  const rows = [];
  for (const [name, value] of Object.entries(confidence)) {
    const [word, feature] = [name.split(" ")[0], name.split(" ").slice(1).join(" ")];
    if (word === "response") {
      const unusual = value > 2;
      rows.push([value.toFixed(2), `root mean square of the standardised voxels: ${unusual ? "unusually large; movement or another artefact?" : "about 1 is typical"}`, unusual]);
    }
    if (word === "departure") rows.push([value.toFixed(2), `departure of ${feature} from the training mean, in predictive standard deviations; near 0, the image is the mean image`]);
    if (word === "sd") rows.push([`± ${(1.2816 * value).toFixed(2)}`, `80 % interval of a typical number of ${feature}; the same for every trial`]);
    if (word === "r2") rows.push([value.toFixed(2), `R² of ${feature} in held-out single training trials (median over its numbers); the same for every trial`]);
    if (word === "r") rows.push([value.toFixed(2), `correlation with the true ${feature} of this stimulus`]);
    if (word === "inside") rows.push([`${Math.round(100 * value)} %`, `of the true numbers of ${feature} are in their 80 % intervals`]);
  }
  return rows;
}

function showTrial() {
  const number = chosen === null ? Math.max(...trials.keys()) : chosen;
  const trial = trials.get(number);
  part("now").hidden = !trial;
  part("waiting").hidden = Boolean(trial);
  if (!trial) return;
  part("which").textContent = `Trial ${number}`;
  part("follow").hidden = chosen === null;
  const label = trial.stimulus === null ? "stimulus unknown" : `stimulus ${trial.stimulus}`;
  part("meta").textContent = `${trial.file} · session ${trial.session} · ${label} · ${new Date(1000 * trial.arrived).toLocaleTimeString()}`;
  part("images").replaceChildren(...figures(trial));
  const rows = explained(trial.confidence).map(([value, text, unusual]) => [element("dt", value), element("dd", text, unusual ? { class: "warn" } : {})]);
  part("confidence").replaceChildren(...rows.flat());
}

function card(trial) {
  const made = element("button", "", { type: "button", "aria-pressed": String(trial.number === chosen) });
  const pair = element("div", "", { class: "pair" });
  if (trial.presented) pair.append(frame(trial.number, "presented", true, "", "presented image"));
  const image = trial.image;
  if (image && image.shown) pair.append(frame(trial.number, about.condition, true, "", `image of ${about.condition}`));
  else if (about.start && trial.start) pair.append(frame(trial.number, about.start, true, "", `image of ${about.start}`));
  if (pair.children.length) made.append(pair);
  made.append(element("b", `Trial ${trial.number}`));
  const first = about.start || about.first;
  made.append(element("small", `${first} ${seconds(trial.seconds)}`));
  if (image && about.images) made.append(element("small", `${about.condition} ${image.error ? "failed" : seconds(image.seconds)}`));
  made.append(element("small", trial.file, { title: trial.file }));
  made.addEventListener("click", () => { chosen = trial.number; plan(trial.number); window.scrollTo({ top: 0 }); });
  const item = element("li", "", { id: `trial-${trial.number}` });
  item.append(made);
  return item;
}

const changed = new Set();

function draw() {
  planned = false;
  for (const number of [...changed].sort((a, b) => a - b)) {
    const made = card(trials.get(number));
    const there = part(`trial-${number}`);
    if (there) { there.replaceWith(made); continue; }
    part("trials").prepend(made); // trials arrive in the order of their numbers
  }
  changed.clear();
  for (const item of part("trials").children) {
    item.firstChild.setAttribute("aria-pressed", String(item.id === `trial-${chosen}`));
  }
  part("earlier").hidden = trials.size === 0;
  const images = [...trials.values()].filter((trial) => trial.image && trial.image.shown).length;
  if (trials.size) part("count").textContent = `${trials.size} trial${trials.size === 1 ? "" : "s"}${about.images ? `, ${images} image${images === 1 ? "" : "s"}` : ""}`;
  if (trials.size) showTrial();
}

function plan(number) {
  if (number !== undefined) changed.add(number);
  if (!planned) { planned = true; requestAnimationFrame(draw); }
}

function take(message) {
  if (message.kind === "trial") trials.set(message.number, { ...message, image: (trials.get(message.number) || {}).image });
  if (message.kind === "image") trials.get(message.number).image = message;
  if (message.kind === "bad") {
    const item = element("li", message.error);
    item.prepend(element("b", `${message.file}, ${new Date(1000 * message.time).toLocaleTimeString()}`));
    part("bad-files").prepend(item);
    part("bad").hidden = false;
    return;
  }
  plan(message.number);
}

function start() {
  const stream = new EventSource("events");
  stream.addEventListener("open", () => {
    trials.clear(); // a stream begins with all messages
    changed.clear();
    part("trials").replaceChildren();
    part("bad-files").replaceChildren();
    part("bad").hidden = true;
    part("state").textContent = "connected";
    part("state").className = "on";
  });
  stream.addEventListener("message", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    part("state").textContent = "no connection: reseen live was stopped, or is busy";
    part("state").className = "lost";
  });
}

part("follow").addEventListener("click", () => { chosen = null; plan(); });
start();
