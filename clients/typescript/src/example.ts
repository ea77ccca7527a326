// The main job in one file: node dist/example.js me.jpg headshot.jpg
// API and SANDBOX say where; the mailbox and the checkout are the sandbox's, everything else is the API.

import { readFile, writeFile } from "node:fs/promises";
import { connect, ended, Refused, told, upload, wish } from "./index.js";

const ORIGIN = process.env["ORIGIN"] ?? "http://127.0.0.1:8000";
const SANDBOX = process.env["SANDBOX"] ?? "http://127.0.0.1:8001";
const [photo = "me.jpg", picture = "headshot.jpg"] = process.argv.slice(2);
const email = process.env["EMAIL"] ?? `me-${Date.now()}@example.com`;

const { api, signIn } = connect(ORIGIN);
const pause = (seconds: number) => new Promise((done) => setTimeout(done, seconds * 1000));

/** The token in the mail that proves the mailbox. */
async function mailed(): Promise<string> {
  for (;;) {
    const mails = (await (await fetch(`${SANDBOX}/mail/messages?to=${email}`)).json()) as { text: string }[];
    const token = mails.map((mail) => /verify-email\/([\w-]+)/.exec(mail.text)?.[1]).find(Boolean);
    if (token) return token;
    await pause(0.5);
  }
}

/** The person pays at the gateway's checkout, which hands these values to the app. */
async function paid(order: string): Promise<Record<string, string>> {
  const where = `${SANDBOX}/razorpay/checkout/${order}/pay`;
  const answer = await fetch(where, { method: "POST", headers: { Accept: "application/json" } });
  return (await answer.json()) as Record<string, string>;
}

// Sign up
signIn(told(await api.POST("/api/v1/auth/register", { body: { email, password: "correct horse battery 9" } })));
told(await api.POST("/api/v1/auth/verify-email", { body: { token: await mailed() } }));
console.log(`signed up as ${email}`);

// A refusal is thrown with the API's words, and says that nothing was charged
const mine = await upload(api, new Blob([await readFile(photo)]), "me.jpg");
const wanted = { photo: mine.id, consent: true, style_prompt: "soft window light" };
const order = wish();
try {
  told(await api.POST("/api/v1/headshots", { params: order, body: wanted }));
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.log(`refused: ${error.refusal.error}, charged: ${error.refusal.charged}`);
}

// Buy
const payment = told(
  await api.POST("/api/v1/payments", { params: wish(), body: { item: "package:BASIC", gateway: "razorpay" } }),
);
if (!payment.client || !("order_id" in payment.client)) throw new Error("Razorpay's payments have an order");
const handed = await paid(payment.client.order_id);
const settled = told(
  await api.POST("/api/v1/payments/{id}/verify", { params: { path: { id: payment.id } }, body: handed }),
);
console.log(`payment: ${settled.status}`);

// Generate, wait, download
const job = told(await api.POST("/api/v1/headshots", { params: order, body: wanted }));
const done = await ended(api, job.id, ({ step, progress }) => console.log(`  ${step ?? "done"} ${progress} %`));
const output = done.outputs[0];
if (!output) throw new Error(done.error?.message ?? done.status);
await writeFile(picture, Buffer.from(await (await fetch(output.url)).arrayBuffer()));
const balance = told(await api.GET("/api/v1/credits/balance"));
console.log(`${done.status}: ${picture}, ${output.bytes} bytes; ${balance.available} credits left`);
