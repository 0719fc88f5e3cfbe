// The library of Standard Webhooks for JavaScript, as a receiver, for the suite `proven_deliveries`.
//
// `verify FILE SECRET...` reads deliveries (a JSON list of `{headers, body}`, the body in Base64) and prints one JSON
// line for each: the id of the event, and for each secret whether the delivery is accepted. The library knows shared
// secrets only; a public key (`whpk_`) is checked with Node's own ed25519.

const crypto = require("node:crypto");
const fs = require("node:fs");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

// What stands before the 32 octets of an ed25519 public key in its DER form.
const DER = Buffer.from("302a300506032b6570032100", "hex");

function byPublicKey(secret, headers, body) {
  const raw = Buffer.from(secret.slice("whpk_".length), "base64");
  const key = crypto.createPublicKey({ key: Buffer.concat([DER, raw]), format: "der", type: "spki" });
  const content = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
  const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
  const fits = (one) => crypto.verify(null, content, key, Buffer.from(one.slice("v1a,".length), "base64"));
  return signatures.some(fits) ? JSON.parse(body) : null;
}

function accepted(secret, { headers, body }) {
  const text = Buffer.from(body, "base64").toString();
  if (secret.startsWith("whpk_")) {
    return byPublicKey(secret, headers, text);
  }
  try {
    return new Webhook(secret).verify(text, headers);
  } catch (error) {
    if (error instanceof WebhookVerificationError) {
      return null;
    }
    throw error;
  }
}

const [file, ...secrets] = process.argv.slice(2);
for (const delivery of JSON.parse(fs.readFileSync(file, "utf8"))) {
  const events = secrets.map((secret) => accepted(secret, delivery));
  const event = events.find((one) => one);
  console.log(JSON.stringify({ id: event ? event.id : null, accepted: events.map((one) => one !== null) }));
}
