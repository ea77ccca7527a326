// What is shown: one section at a time, what went wrong in its place, buttons that cannot be pressed twice.

const STEPS = ["join", "verify", "shop", "make"];

export const $ = (id) => document.getElementById(id);
export const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

/** Show one section; focus moves to its heading, so that keyboards and screen readers follow. */
export function show(name) {
  const step = name === "paying" ? "shop" : name;
  const isNew = $(name).hidden;
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  for (const item of $("steps").children) {
    item.classList.toggle("done", STEPS.indexOf(item.dataset.step) < STEPS.indexOf(step));
    item.ariaCurrent = item.dataset.step === step ? "step" : null;
  }
  if (isNew) $(name).querySelector("h1").focus();
}

/** The section that is shown. */
export const shown = () => document.querySelector("main > section:not([hidden])")?.id;

/** Make an element: its properties, then its children. Text is only ever text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function say(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

/** Say in a section or form what the API said, and mark the fields that it named. */
export function complain(place, error) {
  clear(place);
  const named = (error.details ?? []).map((one) => one.message);
  const told = [error.code === "invalid" && named.length ? "" : error.message, ...named, error.charged];
  const problem = place.matches(".problem") ? place : place.querySelector(".problem");
  problem.textContent = [...new Set(told.filter(Boolean))].join("\n");
  problem.hidden = false;
  for (const { field } of error.details ?? []) {
    const input = field && place.querySelector(`[name="${CSS.escape(field)}"]`);
    if (input) input.setAttribute("aria-invalid", "true");
  }
  place.querySelector("[aria-invalid]")?.focus();
}

export function clear(place) {
  const problem = place.matches(".problem") ? place : place.querySelector(".problem");
  if (problem) problem.hidden = true;
  for (const input of place.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

/** Do it, with the button out of reach meanwhile; what goes wrong is told in the place. */
export async function press(button, place, act) {
  if (button.disabled) return;
  button.disabled = true;
  clear(place);
  try {
    await act();
  } catch (error) {
    complain(place, error);
  } finally {
    button.disabled = false;
  }
}
