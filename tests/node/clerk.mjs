// Drives the unmodified @clerk/backend against a server: node clerk.mjs BASE_URL SECRET_KEY
// Asserts what the SDK's own objects say, and prints one line of JSON about what it made, for the tests in Python.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";

import { createClerkClient } from "@clerk/backend";
import { isClerkAPIResponseError } from "@clerk/backend/errors";

const [base, secretKey] = process.argv.slice(2);
const made = {};

function client(key) {
  return createClerkClient({ secretKey: key, apiUrl: `${base}/clerk`, telemetry: { disabled: true } });
}

async function refusal(promise) {
  const error = await promise.then(
    () => assert.fail("the call succeeded"),
    (error) => error,
  );
  assert.ok(isClerkAPIResponseError(error), String(error));
  const { status, clerkTraceId, errors } = error;
  assert.equal(errors.length, 1, JSON.stringify(errors));
  const [{ code, message, longMessage, meta }] = errors;
  assert.ok(clerkTraceId && message && longMessage);
  return { status, code, paramName: meta?.paramName };
}

const { users } = client(secretKey);

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

// What is refused.

assert.deepEqual(await refusal(users.getUser("user_nobody")), {
  status: 404,
  code: "resource_not_found",
  paramName: undefined,
});
assert.deepEqual(await refusal(users.updateUserMetadata("user_nobody", { publicMetadata: {} })), {
  status: 404,
  code: "resource_not_found",
  paramName: undefined,
});
assert.deepEqual(await refusal(users.createUser({ emailAddress: ["ADA@example.com"] })), {
  status: 422,
  code: "form_identifier_exists",
  paramName: "email_address",
});
assert.deepEqual(await refusal(users.createUser({ username: "ada_l" })), {
  status: 422,
  code: "form_identifier_exists",
  paramName: "username",
});
assert.deepEqual(await refusal(users.createUser({ emailAddress: ["not an address"] })), {
  status: 422,
  code: "form_param_format_invalid",
  paramName: "email_address",
});
assert.deepEqual(await refusal(users.updateUserMetadata(made.id, { publicMetadata: [1] })), {
  status: 422,
  code: "form_param_value_invalid",
  paramName: "public_metadata",
});
assert.deepEqual(await refusal(users.createUser({ firstName: "Eve", password: "2 short" })), {
  status: 422,
  code: "form_password_length_too_short",
  paramName: "password",
});
assert.deepEqual(await refusal(client("sk_wrong").users.getUser(made.id)), {
  status: 401,
  code: "clerk_key_invalid",
  paramName: undefined,
});
assert.deepEqual(counted.raw, (await users.getUser(made.id)).raw);

made.user = counted.raw;

// Passwords

const eve = await users.createUser({ firstName: "Eve", password: "correct horse" });
made.eve = eve.id;
assert.equal(eve.passwordEnabled, true);
assert.deepEqual(await users.verifyPassword({ userId: eve.id, password: "correct horse" }), { verified: true });
assert.deepEqual(await refusal(users.verifyPassword({ userId: eve.id, password: "wrong horse" })), {
  status: 422,
  code: "incorrect_password",
  paramName: "password",
});
const renamed = await users.updateUser(eve.id, { lastName: "Smith", password: "battery staple" });
assert.deepEqual([renamed.lastName, renamed.passwordEnabled], ["Smith", true]);
assert.equal((await users.verifyPassword({ userId: eve.id, password: "battery staple" })).verified, true);
assert.deepEqual((await users.updateUser(eve.id, { publicMetadata: { a: 1 } })).publicMetadata, { a: 1 });
// What bcrypt made of "correct horse" elsewhere.
const moved = await users.createUser({
  firstName: "Bob",
  passwordHasher: "bcrypt",
  passwordDigest: "$2b$04$JfUj.VHR58ATmZ7lXg7k4.TAAdyoTqVavtGj0bBA1ueCb4tZj1cVS",
});
assert.equal((await users.verifyPassword({ userId: moved.id, password: "correct horse" })).verified, true);
assert.deepEqual(await refusal(users.verifyPassword({ userId: made.id, password: "correct horse" })), {
  status: 400,
  code: "no_password_set",
  paramName: undefined,
});

// getUserList, getCount: the SDK asks both at once.

const walters = [];
for (const [n, name] of ["Cleo", "Abel", "Bea"].entries()) {
  walters.push(
    await users.createUser({
      emailAddress: [`${name}@walter.example`],
      firstName: name,
      lastName: "Walter",
      externalId: `walter-${n}`,
      createdAt: new Date(Date.UTC(2024, 5, n + 1)),
    }),
  );
}
const [cleo, abel, bea] = walters.map((user) => user.id);
const listed = async (parameters) => {
  const { data, totalCount } = await users.getUserList(parameters);
  return [data.map((user) => user.id), totalCount];
};
assert.deepEqual(await listed({ query: "walter" }), [[bea, abel, cleo], 3]);
assert.deepEqual(await listed({ query: "walter", orderBy: "+first_name" }), [[abel, bea, cleo], 3]);
assert.deepEqual(await listed({ query: "walter", orderBy: "-email_address", limit: 2 }), [[cleo, bea], 3]);
assert.deepEqual(await listed({ query: "walter", orderBy: "created_at", limit: 1, offset: 1 }), [[abel], 3]);
assert.deepEqual(await listed({ emailAddress: ["ABEL@walter.example", "nobody@walter.example"] }), [[abel], 1]);
assert.deepEqual(await listed({ userId: [cleo, bea], lastName: undefined }), [[bea, cleo], 2]);
assert.deepEqual(await listed({ query: "walter", userId: [`-${cleo}`] }), [[bea, abel], 2]);
assert.deepEqual(await listed({ externalId: ["walter-0", "+walter-2"] }), [[bea, cleo], 2]);
assert.deepEqual(await listed({ username: ["ADA_l"] }), [[made.id], 1]);
assert.deepEqual(await listed({ phoneNumber: ["+442079460958"] }), [[made.id], 1]);
assert.deepEqual(await listed({ emailAddressQuery: "bea@wal" }), [[bea], 1]);
assert.deepEqual(await listed({ query: "walter", createdAtAfter: Date.UTC(2024, 5, 1) }), [[bea, abel], 2]);
assert.deepEqual(await listed({ query: "walter", startingAfter: bea }), [[abel, cleo], 3]);
assert.equal((await users.getUserList()).data.length, (await users.getCount()) < 10 ? await users.getCount() : 10);
assert.deepEqual((await users.getUserList({ userId: [abel] })).data[0].raw, (await users.getUser(abel)).raw);
assert.equal(await users.getCount({ query: "walter", nameQuery: "cle" }), 1);
assert.deepEqual(await refusal(users.getUserList({ limit: 501 })), {
  status: 422,
  code: "form_param_value_invalid",
  paramName: "limit",
});
assert.deepEqual(await refusal(users.getUserList({ userId: Array.from({ length: 101 }, (_, n) => `user_${n}`) })), {
  status: 422,
  code: "form_param_array_size_exceeded",
  paramName: "user_id",
});

// banUser, unbanUser, lockUser, unlockUser, deleteUser

assert.equal((await users.banUser(abel)).banned, true);
assert.deepEqual(await listed({ query: "walter", banned: true }), [[abel], 1]);
assert.equal((await users.unbanUser(abel)).banned, false);
assert.equal((await users.lockUser(abel)).locked, true);
assert.equal((await users.unlockUser(abel)).locked, false);
const deleted = await users.deleteUser(abel);
assert.deepEqual([deleted.object, deleted.id, deleted.deleted], ["user", abel, true]);
assert.deepEqual(await listed({ query: "walter" }), [[bea, cleo], 2]);
for (const call of ["getUser", "banUser", "unbanUser", "lockUser", "unlockUser", "deleteUser"]) {
  assert.deepEqual(await refusal(users[call](abel)), { status: 404, code: "resource_not_found", paramName: undefined });
}

// Email addresses and phone numbers

const { emailAddresses, phoneNumbers } = client(secretKey);
const ian = (await users.createUser({ firstName: "Ian" })).id;
const kinds = [
  [emailAddresses, "EmailAddress", "emailAddress", ["Ian@one.example", "ian@two.example", "ian@three.example"], "ian@one.example"],
  [phoneNumbers, "PhoneNumber", "phoneNumber", ["+44 20 7946 0001", "+442079460002", "+442079460003"], "+442079460001"],
];
const param = { emailAddress: "email_address", phoneNumber: "phone_number" };
for (const [calls, Name, name, values, normal] of kinds) {
  const primaryId = async () => (await users.getUser(ian))[`primary${Name}Id`];
  const first = await calls[`create${Name}`]({ userId: ian, [name]: values[0] });
  assert.deepEqual([first[name], first.verification, first.linkedTo], [normal, null, []]);
  assert.equal(await primaryId(), first.id);
  const second = await calls[`create${Name}`]({ userId: ian, [name]: values[1], verified: true, primary: true });
  assert.equal(second.verification.status, "verified");
  assert.equal(await primaryId(), second.id);
  assert.deepEqual(await calls[`get${Name}`](second.id), second);
  const changed = await calls[`update${Name}`](first.id, { verified: true, primary: true });
  assert.equal(changed.verification.status, "verified");
  assert.equal(await primaryId(), first.id);
  const chosen = await users.updateUser(ian, { [`primary${Name}ID`]: second.id });
  assert.equal(chosen[`primary${Name}Id`], second.id);
  const gone = await calls[`delete${Name}`](second.id);
  assert.deepEqual([gone.object, gone.id, gone.deleted], [param[name], second.id, true]);
  assert.equal(await primaryId(), first.id);
  const only = await users[`replaceUser${Name}`](ian, { [name]: values[2] });
  assert.deepEqual((await users.getUser(ian))[`${name}${name === "emailAddress" ? "es" : "s"}`].map((kept) => kept.id), [only.id]);
  for (const call of ["get", "update", "delete"]) {
    assert.deepEqual(await refusal(calls[`${call}${Name}`](second.id, {})), {
      status: 404,
      code: "resource_not_found",
      paramName: undefined,
    });
  }
  assert.deepEqual(await refusal(calls[`create${Name}`]({ userId: cleo, [name]: values[2] })), {
    status: 422,
    code: "form_identifier_exists",
    paramName: param[name],
  });
  assert.deepEqual(await refusal(calls[`create${Name}`]({ userId: ian, [name]: "nothing" })), {
    status: 422,
    code: "form_param_format_invalid",
    paramName: param[name],
  });
  assert.deepEqual(await refusal(users[`replaceUser${Name}`]("user_nobody", { [name]: values[0] })), {
    status: 404,
    code: "resource_not_found",
    paramName: undefined,
  });
  if (name === "phoneNumber") {
    await calls.deletePhoneNumber(only.id);
  }
}
const last = (await users.getUser(ian)).primaryEmailAddressId;
assert.deepEqual(await refusal(emailAddresses.deleteEmailAddress(last)), {
  status: 400,
  code: "identification_deletion_failed",
  paramName: undefined,
});

// Sessions

const { sessions } = client(secretKey);
const signedIn = await sessions.createSession({ userId: cleo });
assert.deepEqual([signedIn.userId, signedIn.status, signedIn.actor], [cleo, "active", null]);
assert.ok(signedIn.clientId && signedIn.expireAt > signedIn.createdAt && signedIn.lastActiveAt === signedIn.createdAt);
assert.deepEqual(await sessions.getSession(signedIn.id), signedIn);
const later = await sessions.createSession({ userId: cleo });
const sessionIds = async (parameters) => {
  const { data, totalCount } = await sessions.getSessionList(parameters);
  return [data.map((session) => session.id), totalCount];
};
// Of two that begin in one millisecond, either may be the newer one.
const newestFirst = [signedIn.id, later.id].sort().reverse();
assert.deepEqual(await sessionIds({ userId: cleo }), [newestFirst, 2]);
assert.deepEqual(await sessionIds({ userId: cleo, limit: 1, offset: 1 }), [newestFirst.slice(1), 2]);
assert.deepEqual(await sessionIds({ clientId: later.clientId }), [[later.id], 1]);
assert.equal((await sessions.revokeSession(signedIn.id)).status, "revoked");
assert.deepEqual(await sessionIds({ userId: cleo, status: "active" }), [[later.id], 1]);
assert.deepEqual(await sessionIds({ userId: cleo, status: "revoked" }), [[signedIn.id], 1]);
await users.banUser(cleo);
assert.deepEqual(await sessionIds({ userId: cleo, status: "active" }), [[], 0]);
assert.deepEqual(await refusal(sessions.createSession({ userId: cleo })), {
  status: 403,
  code: "user_banned",
  paramName: undefined,
});
for (const call of ["getSession", "revokeSession"]) {
  assert.deepEqual(await refusal(sessions[call]("ses_nobody")), {
    status: 404,
    code: "resource_not_found",
    paramName: undefined,
  });
}
assert.deepEqual(await refusal(sessions.createSession({ userId: "user_nobody" })), {
  status: 404,
  code: "resource_not_found",
  paramName: undefined,
});
assert.deepEqual(await refusal(sessions.getSessionList({ userId: cleo, status: "asleep" })), {
  status: 422,
  code: "form_param_value_invalid",
  paramName: "status",
});

// Organizations: there are none. What is not built says so.

for (const call of ["getOrganizationMembershipList", "getOrganizationInvitationList"]) {
  assert.deepEqual(await users[call]({ userId: ian }), { data: [], totalCount: 0 });
  assert.equal((await refusal(users[call]({ userId: "user_nobody" }))).code, "resource_not_found");
}
for (const call of [
  () => users.deleteUserPasskey({ userId: ian, passkeyIdentificationId: "idn_x" }),
  () => users.deleteUserWeb3Wallet({ userId: ian, web3WalletIdentificationId: "idn_x" }),
  () => users.deleteUserExternalAccount({ userId: ian, externalAccountId: "eac_x" }),
  () => users.getUserOauthAccessToken(ian, "google"),
  () => sessions.getToken(later.id),
  () => sessions.getToken(later.id, "a_template"),
]) {
  assert.deepEqual(await refusal(call()), { status: 501, code: "not_implemented", paramName: undefined });
}

// Second factors (what is no object of the SDK comes as it was sent): the code is RFC 6238's for the ASCII secret "12345678901234567890".

function totp(step) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac("sha1", "12345678901234567890").update(counter).digest();
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1e6).padStart(6, "0");
}
const code = totp(Math.floor(Date.now() / 30000));
const guarded = await users.createUser({
  firstName: "Gus",
  totpSecret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
  backupCodes: ["first-code", "second-code"],
});
assert.deepEqual([guarded.totpEnabled, guarded.backupCodeEnabled, guarded.twoFactorEnabled], [true, true, true]);
const verify = (given) => users.verifyTOTP({ userId: guarded.id, code: given });
const wrong = { status: 422, code: "totp_incorrect_code", paramName: "code" };
assert.deepEqual(await verify(code), { verified: true, code_type: "totp" });
assert.deepEqual(await refusal(verify(code)), wrong);
assert.deepEqual(await verify("first-code"), { verified: true, code_type: "backup_code" });
assert.deepEqual(await refusal(verify("first-code")), wrong);
const factors = async () => {
  const { totpEnabled, backupCodeEnabled, twoFactorEnabled } = await users.getUser(guarded.id);
  return [totpEnabled, backupCodeEnabled, twoFactorEnabled];
};
assert.deepEqual(await users.deleteUserTOTP(guarded.id), { user_id: guarded.id });
assert.deepEqual(await factors(), [false, true, true]);
assert.deepEqual(await users.deleteUserBackupCodes(guarded.id), { user_id: guarded.id });
assert.deepEqual(await factors(), [false, false, false]);
assert.deepEqual(await refusal(verify(code)), { status: 400, code: "totp_disabled", paramName: undefined });
await users.updateUser(guarded.id, { totpSecret: "JBSWY3DPEHPK3PXP" });
assert.deepEqual(await users.disableUserMFA(guarded.id), { user_id: guarded.id });
assert.deepEqual(await factors(), [false, false, false]);

// Compromised passwords

assert.equal((await users.setPasswordCompromised(eve.id)).passwordEnabled, true);
assert.deepEqual(await refusal(users.verifyPassword({ userId: eve.id, password: "battery staple" })), {
  status: 422,
  code: "password_reset_required",
  paramName: "password",
});
await users.unsetPasswordCompromised(eve.id);
assert.equal((await users.verifyPassword({ userId: eve.id, password: "battery staple" })).verified, true);

// removePassword

assert.equal((await users.removePassword(eve.id)).passwordEnabled, false);
console.log(JSON.stringify(made));
