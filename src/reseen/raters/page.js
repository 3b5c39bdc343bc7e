"use strict";

const BLANK = 250; // milliseconds without images between questions, in which no key counts
const SHOWN = 150; // milliseconds for which the choice is marked

const data = JSON.parse(document.getElementById("data").textContent);
const part = (name) => document.getElementById(name);
let rater = 0;
let kept = { started: null, answers: [] };
let asked = null; // when the question appeared; null while no answer counts
let round = 0; // which showing is the latest: an image that was slow to load must not come up in another one's place

const sheet = () => data.sheets[rater - 1];
const place = (number) => `reseen raters ${data.design} ${number}`;
const two = (number) => String(number).padStart(2, "0");

function recall(number) {
  try {
    const found = JSON.parse(localStorage.getItem(place(number)));
    if (found && Array.isArray(found.answers)) return found;
  } catch { /* nothing is kept, or it cannot be read: begin anew */ }
  return { started: null, answers: [] };
}

function keep() {
  try {
    localStorage.setItem(place(rater), JSON.stringify(kept));
  } catch {
    part("no-memory").hidden = false;
  }
}

function view(name) {
  for (const other of ["start", "ask", "pause", "done"]) part(other).hidden = other !== name;
  asked = null;
}

const seen = (name) => !part(name).hidden;

async function ask() {
  const number = kept.answers.length;
  if (number === sheet().length) return finish();
  const turn = ++round;
  view("ask");
  part("bar").max = sheet().length;
  part("bar").value = number;
  part("where").textContent = `${number + 1} of ${sheet().length}`;
  const images = [part("original"), part("left").firstElementChild, part("right").firstElementChild];
  part("ask").classList.add("blank");
  for (const side of ["left", "right"]) part(side).classList.remove("chosen");
  images.forEach((image, k) => { image.src = data.images[sheet()[number][k]]; });
  await Promise.all([...images.map((image) => image.decode().catch(() => null)), wait(BLANK)]);
  if (turn !== round || !seen("ask")) return;
  part("ask").classList.remove("blank");
  asked = performance.now();
}

const wait = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });

async function choose(side) {
  if (asked === null || !seen("ask")) return;
  kept.answers.push({ side, seconds: Math.round(performance.now() - asked) / 1000 });
  asked = null;
  keep();
  part(side).classList.add("chosen");
  part(side).blur();
  await wait(SHOWN);
  if (seen("ask")) ask();
}

function pause() {
  if (!seen("ask")) return;
  round += 1;
  view("pause");
  part("so-far").textContent = `${kept.answers.length} of ${sheet().length} questions are answered.`;
  part("resume").focus();
}

function finish() {
  view("done");
  save();
}

function save() {
  const name = `reseen-raters-${data.title.replace(/[^\w.-]+/g, "-")}-${data.design.slice(0, 8)}-${two(rater)}.json`;
  const answers = { format: "reseen raters 1", design: data.design, rater, ...kept, saved: new Date().toISOString() };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(answers, null, 1)], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  part("file").textContent = name;
}

function number() {
  const typed = Number(part("number").value);
  return Number.isInteger(typed) && typed >= 1 && typed <= data.sheets.length ? typed : 0;
}

function tell() {
  const done = number() ? recall(number()).answers.length : 0;
  const all = number() ? data.sheets[number() - 1].length : data.sheets[0].length;
  part("progress-note").textContent = done ? `${done} of ${all} questions are answered already.` : `There are ${all} questions.`;
  part("begin").textContent = done ? "Go on" : "Begin";
}

part("who").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!number()) return;
  rater = number();
  kept = recall(rater);
  kept.started ??= new Date().toISOString();
  keep();
  ask();
});
part("number").addEventListener("input", tell);
part("left").addEventListener("click", () => choose("left"));
part("right").addEventListener("click", () => choose("right"));
part("break").addEventListener("click", pause);
part("resume").addEventListener("click", ask);
part("save").addEventListener("click", save);
part("save-part").addEventListener("click", save);
document.addEventListener("visibilitychange", () => { if (document.hidden) pause(); });
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const side = { ArrowLeft: "left", KeyF: "left", ArrowRight: "right", KeyJ: "right" }[event.code];
  if (seen("ask") && side) {
    event.preventDefault();
    choose(side);
  } else if (event.code === "Escape") {
    if (seen("ask")) pause();
    else if (seen("pause")) ask();
  }
});

const given = new URLSearchParams(location.search).get("rater");
if (given) part("number").value = given;
view("start");
tell();
part("number").focus();
