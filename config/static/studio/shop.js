// Credits: what there is to buy, the way to the checkout, and the way back.

import { ask, look, Wish } from "./api.js";
import { $, complain, make, pause, press, say, show, shown } from "./page.js";

const GATEWAY = "razorpay";
const wish = new Wish();

const price = ({ amount, currency }) =>
  new Intl.NumberFormat(undefined, { style: "currency", currency, trailingZeroDisplay: "stripIfInteger" }).format(amount / 100);

/** The packages, each with a button that leads to the checkout. */
export async function open({ available }, cost) {
  const isShort = available < cost;
  $("need").textContent = `You have ${available} credits; a headshot takes ${cost}. ` +
    "The checkout is simulated: press Pay there, and the credits are yours.";
  $("shop").querySelector(".aside").hidden = isShort;
  const { results } = await ask("GET", "credits/packages");
  const sold = results.filter((one) => one.is_for_sale && one.price.currency === "INR");
  $("packages").replaceChildren(...sold.map(tile));
  show("shop");
}

function tile(one) {
  const button = make("button", { type: "button" }, `Buy ${one.name}`);
  button.addEventListener("click", () => press(button, $("shop"), async () => {
    const back = document.documentElement.dataset.publicUrl + location.pathname;
    const wanted = { item: `package:${one.code}`, gateway: GATEWAY, flow: "hosted", return_url: back };
    location.assign((await wish.make("payments", wanted)).checkout_url);
    await pause(10); // until the browser has left, the button stays out of reach
  }));
  const item = make("li", { className: one.is_popular ? "card popular" : "card" },
    make("span", {}, one.name), make("strong", {}, `${one.credits} credits`), make("span", {}, price(one.price)), button);
  if (one.is_popular) item.prepend(make("em", {}, "Popular"));
  return item;
}

/** Back from the checkout: have the payment looked at, and wait until it has ended one way or the other. */
export async function settle(id, go) {
  let payment = await ask("POST", `payments/${encodeURIComponent(id)}/verify`, { body: {} });
  const isOpen = () => ["created", "pending"].includes(payment.status);
  if (isOpen()) {
    $("awaited").textContent = `${payment.title}: ${price(payment)}.`;
    $("checkout").href = payment.checkout_url;
    $("unpay").onclick = () => press($("unpay"), $("paying"), async () => {
      payment = await ask("POST", `payments/${id}/cancel`);
      finish(payment, go);
    });
    show("paying");
    if (payment.error) complain($("paying"), { message: payment.error.message ?? String(payment.error) });
  }
  while (isOpen()) {
    let seconds = 2;
    await pause(seconds);
    if (shown() !== "paying") return;
    [payment, seconds] = await look(`payments/${id}`);
  }
  finish(payment, go);
}

let finished = null;

function finish(payment, go) {
  if (finished === payment.id) return;
  finished = payment.id;
  say("news", payment.status === "succeeded"
    ? `Thank you: ${payment.title}, paid.`
    : `The payment has ended as ${payment.status}; nothing was bought.`);
  go();
}
