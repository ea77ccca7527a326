// A photo becomes a headshot: upload, order, watch, see. What is under way is asked of the server, never remembered here.

import { ask, look, Wish } from "./api.js";
import { $, clear, complain, make, pause, press, say, show } from "./page.js";

const OPEN = ["queued", "submitting", "running", "storing"];
const STEP = { queued: "Waiting for its turn", submitting: "Sending it to the studio", rendering: "Being photographed", storing: "Developing" };
const wish = new Wish();
let photo = null; // a promise of the uploaded photo's id
let watched = null;

export function prepare(refresh) {
  const form = $("make").querySelector("form");
  const file = form.elements.photo;
  file.addEventListener("change", () => take(form, file.files[0]));
  for (const [name, isOver] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    $("drop").addEventListener(name, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", isOver);
      if (name === "drop" && event.dataTransfer.files.length) take(form, event.dataTransfer.files[0]);
    });
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!$("failed").hidden) stage("empty");
    press($("order"), form, async () => {
      const body = { consent: form.elements.consent.checked, photo: await photo ?? undefined };
      const style = form.elements.style_prompt.value.trim();
      const job = await wish.make("headshots", style ? { ...body, style_prompt: style } : body);
      say("news", "");
      refresh();
      await watch(job, refresh);
    });
  });
}

/** Send the photo at once: whether it is one, the API says. */
function take(form, chosen) {
  if (!chosen) return;
  clear(form);
  URL.revokeObjectURL($("preview").src);
  $("preview").src = URL.createObjectURL(chosen);
  $("preview").hidden = false;
  $("preview").onerror = () => { $("preview").hidden = true; };
  const body = new FormData();
  body.append("file", chosen);
  const sent = ask("POST", "photos", { body }).then(({ id }) => id);
  photo = sent;
  $("drop").classList.add("busy");
  sent.then(() => { if (photo === sent) $("drop").classList.remove("busy"); }, (error) => {
    if (photo !== sent) return;
    $("drop").classList.remove("busy");
    photo = null;
    $("preview").hidden = true;
    form.elements.photo.value = "";
    complain(form, error);
  });
}

/** The screen as the server knows it: the job under way if there is one, and the pictures made so far. */
export async function open(cost, refresh) {
  $("order").textContent = `Make my headshot for ${cost} credits`;
  show("make");
  const { results } = await ask("GET", "headshots?limit=24");
  const running = results.find((job) => OPEN.includes(job.status));
  if (running && !watched) press($("order"), $("make").querySelector("form"), () => watch(running, refresh));
  const done = results.filter((job) => job.outputs.length);
  $("earlier").hidden = done.length === 0;
  $("gallery").replaceChildren(...done.map(thumbnail));
  if (!running && $("result").hidden && $("failed").hidden && done.length) reveal(done[0], false);
}

function thumbnail(job) {
  const image = make("img", { src: job.outputs[0].thumbnail_url, alt: `Headshot of ${when(job)}`, loading: "lazy" });
  const button = make("button", { type: "button" }, image);
  button.addEventListener("click", () => { if (!watched) reveal(job, true); });
  return make("li", {}, button);
}

const when = (job) => new Date(job.created_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

function stage(name) {
  for (const part of ["empty", "work", "result", "failed"]) $(part).hidden = part !== name;
}

/** Follow the job to its end, one at a time; each answer says when to look again. */
async function watch(job, refresh) {
  watched = job.id;
  stage("work");
  clear($("work"));
  $("stage").scrollIntoView({ block: "nearest" });
  $("stop").onclick = () => press($("stop"), $("work"), () => ask("POST", `generations/${job.id}/cancel`));
  while (OPEN.includes(job.status)) {
    $("step").textContent = STEP[job.step] ?? job.step;
    if (job.progress) $("bar").value = job.progress;
    else $("bar").removeAttribute("value");
    let seconds = 2;
    await pause(1);
    try {
      [job, seconds] = await look(`generations/${job.id}`);
      clear($("work"));
    } catch (error) {
      if (error.status === 401 || error.status === 404) { watched = null; return refresh(error); }
      complain($("work"), error);
      await pause(seconds);
    }
    if (OPEN.includes(job.status)) await pause(Math.max(0, seconds - 1));
  }
  watched = null;
  if (job.status === "succeeded") reveal(job, true);
  else {
    stage("failed");
    const charged = job.charged === "none" ? "You were not charged." : "";
    $("failed").textContent = `${job.error?.message ?? `This job is ${job.status}.`} ${charged}`;
  }
  refresh();
}

function reveal(job, isLoud) {
  const [output] = job.outputs;
  $("picture").src = output.url;
  $("picture").alt = job.params.style_prompt ? `The headshot: ${job.params.style_prompt}` : "The headshot";
  $("told").textContent = `${when(job)} · ${job.cost} credits`;
  $("download").href = output.url;
  $("download").download = `headshot-${job.id}.${output.content_type.split("/")[1]}`;
  stage("result");
  if (isLoud) $("result").scrollIntoView({ block: "nearest", behavior: "smooth" });
}
