// The CloudEvents client for JavaScript, as a sender and as a reader, for the suite `real_clients`.
//
// `serve` listens, prints its port, and answers each event with one in binary mode whose subject is `caf\u00e9`.
// `send URL` posts events in binary and in structured mode and prints one JSON line for each, with the status it got.
// `read FILE` reads deliveries (a JSON list of `{headers, body}`, the body in Base64) and prints what the client sees.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const { CloudEvent, HTTP } = require("cloudevents");

const PLAIN = { source: "/peers/node", type: "order.paid" };
const EVENTS = [
  { datacontenttype: "application/json", data: { amount: 12.5, items: ["a", "\u00e9"] } },
  { subject: "a/b", ext: "v1", datacontenttype: "application/json", data: { n: 1 } },
  { datacontenttype: "text/plain", data: "plain text" },
];

/** What the client sees of an event, as plain JSON. */
function seen(event) {
  const { data, data_base64: _, ...attributes } = event.toJSON();
  const set = Object.entries(attributes).filter(([, value]) => value !== undefined);
  const shown = Object.fromEntries(set.map(([name, value]) => [name, String(value)]));
  return { id: event.id, attributes: shown, data: data ?? null };
}

async function send(url) {
  for (const [mode, encode] of [["binary", HTTP.binary], ["structured", HTTP.structured]]) {
    for (const [number, members] of EVENTS.entries()) {
      const event = new CloudEvent({ ...PLAIN, ...members, id: `${mode}-${number}` });
      const { headers, body } = encode(event);
      const answer = await fetch(url, { method: "POST", headers, body });
      console.log(JSON.stringify({ ...seen(event), status: answer.status }));
    }
  }
}

function read(file) {
  for (const { headers, body } of JSON.parse(fs.readFileSync(file, "utf8"))) {
    const event = HTTP.toEvent({ headers, body: Buffer.from(body, "base64").toString("utf8") });
    console.log(JSON.stringify(seen(event)));
  }
}

/** Node writes header values as ISO 8859-1, and the client encodes nothing. */
function serve() {
  const server = http.createServer((request, response) => {
    request.resume().on("end", () => {
      const reply = { source: "/peers/node", type: "reply", subject: "caf\u00e9", datacontenttype: "text/plain", data: "x" };
      const { headers, body } = HTTP.binary(new CloudEvent(reply));
      response.writeHead(200, headers).end(body);
    });
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
}

Promise.resolve({ send, read, serve }[process.argv[2]](process.argv[3])).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
