// The plugin that every SDK has: a recipient who has left, one who has another address, greylisting, a phrase in the body.
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker, deny, denysoft } from "gatepost";

export const worker = new Worker("policy", { pool: process.env.GATEPOST_POOL ?? "policy" });

const waitMs = Number(process.env.GATEPOST_GREYLIST_SECONDS ?? 300) * 1000;
const firstSeen = new Map(); // client, sender and recipient → when
const MOST_SEEN = 100_000;

worker.rcpt(function recipients(event) {
  const { address, id } = event.recipient;
  const lower = address.toLowerCase();
  if (lower === "eve@example.com") return deny("eve has left", { code: 550, status: "5.1.6" });
  if (lower === "old@example.com") {
    event.replaceRecipient(id, "new@example.com");
    return undefined;
  }
  const key = JSON.stringify([event.session.clientIp, event.sender.address, address]);
  if (!firstSeen.has(key)) {
    if (firstSeen.size >= MOST_SEEN) firstSeen.delete(firstSeen.keys().next().value);
    firstSeen.set(key, Date.now());
  } else if (Date.now() - firstSeen.get(key) >= waitMs) {
    return undefined;
  }
  return denysoft("Greylisted, come back later", { code: 450, status: "4.7.1" });
});

worker.dataPost({ needs: ["headers", "message"] }, async function phrase(event) {
  let tail = "";
  for await (const piece of event.openBody()) {
    const text = tail + piece.toString("latin1");
    if (text.includes("forbidden phrase")) {
      return deny("The body holds a forbidden phrase", { code: 554, status: "5.7.1" });
    }
    tail = text.slice(-15);
  }
  event.addHeader("X-Policy", "javascript");
  return undefined;
});

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await worker.run();
