// Refuses a recipient who has left, counts recipients, marks the mail: a whole policy worker.
import { Worker, deny } from "gatepost";

export const worker = new Worker("example", { pool: process.env.GATEPOST_POOL ?? "policy" });

worker.rcpt(function hasLeft(event) {
  if (event.recipient.address.toLowerCase() === "eve@example.com") return deny("eve has left", { code: 550, status: "5.1.6" });
  event.sessionNotes.asked = (event.sessionNotes.asked ?? 0) + 1;
});
worker.dataPostHeaders((event) => event.addHeader("X-Seen-By", "example"));

if (process.argv[1]?.endsWith("worker.js")) await worker.run();
