// Makes and changes users with the unmodified @clerk/backend: node clerk.mjs BASE_URL SECRET_KEY
// Asserts what the SDK's own objects say, and prints one line of JSON about what it made, so that a test in Python can
// look at the history of it.

import assert from "node:assert/strict";

import { createClerkClient } from "@clerk/backend";

const [base, secretKey] = process.argv.slice(2);
const made = {};

const { users } = createClerkClient({ secretKey, apiUrl: `${base}/clerk`, telemetry: { disabled: true } });

// createUser

const created = await users.createUser({
  emailAddress: ["Ada@Example.com", "a.l@example.org"],
  phoneNumber: ["+442079460958"],
  firstName: "Ada",
  lastName: "Lovelace",
  username: "Ada_L",
  externalId: "ext-js-1",
  skipPasswordChecks: true,
  publicMetadata: {
    plan: "free",
    prefs: { theme: "light", lang: "en", nested: { keep: 1, drop: 2 } },
    tags: ["a", "b"],
    camelCaseKey: { innerKey: true, snake_key: 1 },
  },
  privateMetadata: { stripeId: "cus_1" },
  unsafeMetadata: { step: 1, uni: "Zoë 🦊" },
  createdAt: new Date("2024-01-02T03:04:05.678Z"),
});
made.id = created.id;
assert.equal(created.firstName, "Ada");
assert.equal(created.fullName, "Ada Lovelace");
assert.equal(created.username, "Ada_L");
assert.equal(created.externalId, "ext-js-1");
assert.equal(created.createdAt, Date.UTC(2024, 0, 2, 3, 4, 5, 678));
assert.ok(created.updatedAt > created.createdAt);
assert.deepEqual(
  created.emailAddresses.map((address) => [address.emailAddress, address.verification.status, address.linkedTo]),
  [
    ["ada@example.com", "verified", []],
    ["a.l@example.org", "verified", []],
  ],
);
assert.equal(created.primaryEmailAddress.emailAddress, "ada@example.com");
assert.equal(created.primaryEmailAddressId, created.emailAddresses[0].id);
assert.equal(created.primaryPhoneNumber.phoneNumber, "+442079460958");
assert.equal(created.primaryWeb3Wallet, null);
assert.deepEqual([created.banned, created.locked, created.hasImage, created.passwordEnabled], [false, false, false, false]);
assert.deepEqual([created.externalAccounts, created.web3Wallets, created.enterpriseAccounts], [[], [], []]);
assert.match(created.imageUrl, /^http:\/\//);
assert.equal((await fetch(created.imageUrl)).headers.get("content-type"), "image/svg+xml");

// getUser

assert.deepEqual((await users.getUser(made.id)).raw, created.raw);

// updateUserMetadata: nested objects are merged.

const merged = await users.updateUserMetadata(made.id, {
  publicMetadata: { prefs: { theme: "dark", nested: { add: 3 } }, camelCaseKey: { newKey: { deepKey: 1 } } },
});
assert.deepEqual(merged.publicMetadata, {
  plan: "free",
  prefs: { theme: "dark", lang: "en", nested: { keep: 1, drop: 2, add: 3 } },
  tags: ["a", "b"],
  camelCaseKey: { innerKey: true, snake_key: 1, newKey: { deepKey: 1 } },
});
// The three kinds are apart.
assert.deepEqual(merged.privateMetadata, { stripeId: "cus_1" });
assert.deepEqual(merged.unsafeMetadata, { step: 1, uni: "Zoë 🦊" });

// null removes, at two depths, in one call; undefined does nothing, because JSON has no such value.

const removed = await users.updateUserMetadata(made.id, {
  publicMetadata: { plan: null, tags: undefined, prefs: { nested: { drop: null } } },
});
assert.deepEqual(removed.publicMetadata, {
  prefs: { theme: "dark", lang: "en", nested: { keep: 1, add: 3 } },
  tags: ["a", "b"],
  camelCaseKey: { innerKey: true, snake_key: 1, newKey: { deepKey: 1 } },
});

// All kinds at once; a list is replaced whole.

const all = await users.updateUserMetadata(made.id, {
  publicMetadata: { tags: ["c"] },
  privateMetadata: { stripeId: null, flags: { a: true } },
  unsafeMetadata: { step: 2 },
});
assert.deepEqual(all.publicMetadata.tags, ["c"]);
assert.deepEqual(all.privateMetadata, { flags: { a: true } });
assert.deepEqual(all.unsafeMetadata, { step: 2, uni: "Zoë 🦊" });

// No kind at all: the SDK sends no body.

assert.deepEqual((await users.updateUserMetadata(made.id, {})).raw, all.raw);

// replaceUserMetadata

const replaced = await users.replaceUserMetadata(made.id, { unsafeMetadata: { fresh: { x: null } } });
assert.deepEqual(replaced.unsafeMetadata, { fresh: { x: null } });
assert.deepEqual(replaced.publicMetadata, all.publicMetadata);
assert.deepEqual(replaced.privateMetadata, all.privateMetadata);

// Many merges of one user at once: none is lost.

await Promise.all(
  Array.from({ length: 50 }, (_, n) => users.updateUserMetadata(made.id, { privateMetadata: { counts: { [`n${n}`]: n } } })),
);
const counted = await users.getUser(made.id);
assert.equal(Object.keys(counted.privateMetadata.counts).length, 50);

made.user = counted.raw;

// A password, given and changed.

const eve = await users.createUser({ firstName: "Eve", password: "correct horse" });
made.eve = eve.id;
const renamed = await users.updateUser(eve.id, { lastName: "Smith", password: "battery staple" });
assert.deepEqual([renamed.lastName, renamed.passwordEnabled], ["Smith", true]);
assert.equal((await users.verifyPassword({ userId: eve.id, password: "battery staple" })).verified, true);

console.log(JSON.stringify(made));
