// The studio: an app of a few files on the public REST API. Where somebody stands is always asked of the server.

import { ask, forget, isSignedIn } from "./api.js";
import * as join from "./join.js";
import * as pictures from "./make.js";
import { $, press, say, show } from "./page.js";
import * as shop from "./shop.js";

const here = document.documentElement.dataset.publicUrl;

/** Show the screen that fits; with what went wrong, if something did. */
async function go(problem) {
  try {
    say("trouble", problem?.message ?? "");
    $("me").hidden = !isSignedIn();
    if (!isSignedIn()) return show("join");
    const me = await ask("GET", "users/me");
    $("who").textContent = $("who").title = me.first_name || me.email;
    if (!me.is_verified) {
      $("credits").hidden = true;
      return void join.verify(me, go);
    }
    const paid = new URLSearchParams(location.search).get("payment");
    if (paid) {
      history.replaceState(null, "", location.pathname);
      await balance();
      return await shop.settle(paid, go).catch(go);
    }
    const [credits, cost] = [await balance(), await price()];
    const wants = location.hash;
    if (wants === "#credits" || (wants !== "#pictures" && credits.available < cost && !(await hasPictures()))) {
      await shop.open(credits, cost);
    } else {
      await pictures.open(cost, refresh);
    }
  } catch (error) {
    if (error.status === 401 && isSignedIn()) forget();
    $("me").hidden = !isSignedIn();
    if (!isSignedIn()) show("join");
    say("trouble", error.message);
  }
}

/** Something has changed: credits and pictures are asked for anew. */
function refresh(problem) {
  if (problem) return go(problem);
  return $("make").hidden ? balance() : go();
}

async function balance() {
  const credits = await ask("GET", "credits/balance");
  $("credits").textContent = credits.held ? `${credits.available} credits, ${credits.held} held` : `${credits.available} credits`;
  $("credits").hidden = false;
  return credits;
}

let cost = null;

async function price() {
  cost ??= (await ask("GET", "generations/operations")).find((one) => one.code === "headshot").base_price;
  return cost;
}

const hasPictures = async () => (await ask("GET", "headshots?limit=1")).count > 0;

// Links in mails and the way back from checkouts lead to one address, and tabs of another would not know of them.
if (location.origin !== here) location.replace(here + location.pathname + location.search + location.hash);
else {
  join.prepare(go);
  pictures.prepare(refresh);
  $("leave").addEventListener("click", () => press($("leave"), $("trouble"), async () => {
    await ask("POST", "auth/logout").catch(() => null);
    forget();
    location.assign(location.pathname);
  }));
  addEventListener("hashchange", () => { say("news", ""); go(); });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  go();
}
