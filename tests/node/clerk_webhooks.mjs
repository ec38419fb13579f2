// What the unmodified @clerk/backend says of deliveries: node clerk_webhooks.mjs DELIVERIES
// DELIVERIES: a JSON list of {body, headers, secret}. Prints a list with the event that verifyWebhook gives, or null.

import { verifyWebhook } from "@clerk/backend/webhooks";

const events = [];
for (const { body, headers, secret } of JSON.parse(process.argv[2])) {
  const request = new Request("http://127.0.0.1/clerk/webhooks", { method: "POST", body, headers });
  events.push(await verifyWebhook(request, { signingSecret: secret }).catch(() => null));
}
console.log(JSON.stringify(events));
