// Conditions on writes, by the unmodified @clerk/backend: node clerk_conditions.mjs BASE_URL SECRET_KEY USER_ID

import assert from "node:assert/strict";

import { createClerkClient } from "@clerk/backend";
import { isClerkAPIResponseError } from "@clerk/backend/errors";

const [base, secretKey, id] = process.argv.slice(2);
const { users } = createClerkClient({ secretKey, apiUrl: `${base}/clerk`, telemetry: { disabled: true } });

async function conflict(promise) {
  const error = await promise.then(
    () => assert.fail("the call succeeded"),
    (error) => error,
  );
  assert.ok(isClerkAPIResponseError(error), String(error));
  assert.deepEqual([error.status, error.errors[0].code], [409, "conflict"]);
}

const stale = 1_000;
await conflict(users.updateUserMetadata(id, { publicMetadata: { lost: 1 }, expectedUpdatedAt: stale }));
await conflict(users.updateUser(id, { firstName: "Lost", publicMetadata: { lost: 1 }, expectedUpdatedAt: stale }));
await conflict(users.replaceUserEmailAddress(id, { emailAddress: "lost@example.com", expectedUpdatedAt: stale }));
let { updatedAt } = await users.getUser(id);
const merged = await users.updateUserMetadata(id, { publicMetadata: { kept: 1 }, expectedUpdatedAt: updatedAt });
assert.deepEqual(merged.publicMetadata, { kept: 1 });
({ updatedAt } = merged);
const user = await users.updateUser(id, { firstName: "Kept", publicMetadata: { kept: 2 }, expectedUpdatedAt: updatedAt });
assert.deepEqual([user.firstName, user.publicMetadata], ["Kept", { kept: 2 }]);
console.log(JSON.stringify(user.raw));
