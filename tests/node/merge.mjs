// Merges many keys into one user with the unmodified @clerk/backend, ten at a time:
// node merge.mjs BASE_URL SECRET_KEY USER_ID COUNT PREFIX OTHER_PREFIX
// After its first key it waits for the first of the process with the other prefix, so that they are at it together.
// Asserts of each answer that it has its own key, and prints how many there were.

import assert from "node:assert/strict";

import { createClerkClient } from "@clerk/backend";

const [base, secretKey, userId, count, prefix, otherPrefix] = process.argv.slice(2);
const { users } = createClerkClient({ secretKey, apiUrl: `${base}/clerk`, telemetry: { disabled: true } });
let next = 0;
let merged = 0;

async function merge() {
  const number = next++;
  const key = `${prefix}${number}`;
  const user = await users.updateUserMetadata(userId, { privateMetadata: { keys: { [key]: number } } });
  assert.equal(user.privateMetadata.keys[key], number);
  merged += 1;
}

async function mergeTheRest() {
  while (next < Number(count)) await merge();
}

await merge();
while ((await users.getUser(userId)).privateMetadata.keys[`${otherPrefix}0`] === undefined);
await Promise.all(Array.from({ length: 10 }, mergeTheRest));
console.log(JSON.stringify({ merged }));
