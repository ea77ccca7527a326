// From nobody to somebody with a confirmed mailbox.

import { ask, signIn } from "./api.js";
import { $, clear, complain, pause, press, show, shown } from "./page.js";

const LOOK_EVERY_S = 3;

/** The form for both: an account is made, or one is signed into. */
export function prepare(go) {
  const form = $("join").querySelector("form");
  let isNew = true;
  $("other").addEventListener("click", () => {
    isNew = !isNew;
    form.querySelector("h2").textContent = isNew ? "Create an account" : "Sign in";
    form.querySelector("button:not([type])").textContent = isNew ? "Create my account" : "Sign in";
    form.querySelector(".aside span").textContent = isNew ? "Been here before?" : "New here?";
    $("other").textContent = isNew ? "Sign in instead" : "Create an account";
    form.querySelector(".new").hidden = !isNew;
    form.elements.password.autocomplete = isNew ? "new-password" : "current-password";
    clear(form);
    form.elements.email.focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { email, password, first_name } = Object.fromEntries(new FormData(form));
    press(form.querySelector("button:not([type])"), form, async () => {
      if (isNew) signIn(await ask("POST", "auth/register", { body: { email, password, first_name } }));
      else signIn(await ask("POST", "auth/login", { body: { email, password } }));
      form.elements.password.value = "";
      await go();
    });
  });
  $("verify").querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    press(event.submitter, event.target, () => ask("POST", "auth/resend-verification"));
  });
}

/** Wait until the mailed link was followed, wherever that happens. */
export async function verify(me, go) {
  $("address").textContent = me.email;
  $("mailbox").href = `${document.documentElement.dataset.sandbox}/mail?to=${encodeURIComponent(me.email)}`;
  show("verify");
  while (shown() === "verify") {
    await pause(LOOK_EVERY_S);
    if (document.hidden) continue;
    try {
      if (shown() === "verify" && (await ask("GET", "users/me")).is_verified) return go();
    } catch (error) {
      if (error.status === 401) return go(error);
      complain($("verify").querySelector("form"), error);
    }
  }
}
