// Calls functions of the unmodified @clerk/backend as it is told to: node driver.mjs API_URL SECRET_KEY
//
// Reads a line of JSON for each call, {"function": "users.getUser", "arguments": ["user_x"]}, and prints one with what came
// of it: {"answer"}, or {"refusal"} if the SDK threw. An argument {"$date": ms} is a Date, {"$png": base64} a Blob. An object
// that the SDK made has its class under "$type", and its getters beside its own properties; a property that is undefined
// is said to be {"$undefined": true}, because JSON would leave it out.

import { createInterface } from "node:readline";

import { createClerkClient } from "@clerk/backend";

const [apiUrl, secretKey] = process.argv.slice(2);
const clerk = createClerkClient({ secretKey, apiUrl, telemetry: { disabled: true } });

function argument(_, value) {
  if (value?.$date !== undefined) return new Date(value.$date);
  if (value?.$png !== undefined) return new Blob([Buffer.from(value.$png, "base64")], { type: "image/png" });
  return value;
}

function told(value) {
  if (value === undefined) return { $undefined: true };
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(told);
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype) return toldProperties(value, Object.keys(value));
  const getters = Object.entries(Object.getOwnPropertyDescriptors(prototype)).filter(([, { get }]) => get);
  // What begins with _ is the SDK's own business, and `raw` is the JSON that it made the object of.
  const names = [...Object.keys(value), ...getters.map(([name]) => name)].filter((name) => !/^_|^raw$/.test(name));
  return { $type: prototype.constructor.name.replace(/^_/, ""), ...toldProperties(value, names) };
}

function toldProperties(value, names) {
  return Object.fromEntries(names.map((name) => [name, told(value[name])]));
}

function toldError(error) {
  const { name, message, status, clerkTraceId, errors } = error;
  return { name, message, status, clerkTraceId, errors };
}

function functions() {
  return Object.entries({ users: 0, emailAddresses: 0, phoneNumbers: 0, sessions: 0 }).flatMap(([api]) =>
    Object.getOwnPropertyNames(Object.getPrototypeOf(clerk[api]))
      .filter((name) => name !== "constructor")
      .map((name) => `${api}.${name}`),
  );
}

async function outcome(line) {
  const call = JSON.parse(line, argument);
  if (call.function === "functions") return { answer: functions() };
  const [api, name] = call.function.split(".");
  try {
    return { answer: told(await clerk[api][name](...call.arguments)) };
  } catch (error) {
    return { refusal: toldError(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await outcome(line))}\n`);
}
