// `oidc-provider` for JavaScript as an issuer of tokens, for the suite `access_oidc_provider`.
//
// `provider CERTIFICATE KEY` listens on two ports of this machine and prints `{issuer, grants}`. At `issuer`, by https, are its
// documents and tokens. `grants` is the same by http, for a client that needs no certificates; there `POST /rotate` puts new
// keys in the place of the old ones.
//
// The client `till` with the password `hush` gets tokens by client credentials, for one of RESOURCES.

const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { Provider } = require("oidc-provider");

const BROKER = "eventing.knative.dev/broker/shop/default";
const RESOURCES = {
  "urn:broker": { audience: BROKER, alg: "ES256", seconds: 600 },
  "urn:broker:rsa": { audience: BROKER, alg: "RS256", seconds: 600 },
  "urn:broker:brief": { audience: BROKER, alg: "ES256", seconds: 1 },
  "urn:elsewhere": { audience: "elsewhere", alg: "ES256", seconds: 600 },
};

function key(alg, kid, type, options) {
  const { privateKey } = crypto.generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: "jwk" }), kid, alg, use: "sig" };
}

function provider(issuer, generation) {
  const keys = [
    key("ES256", `es-${generation}`, "ec", { namedCurve: "P-256" }),
    key("RS256", `rs-${generation}`, "rsa", { modulusLength: 2048 }),
  ];
  const client = {
    client_id: "till",
    client_secret: "hush",
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
  };
  return new Provider(issuer, {
    jwks: { keys },
    clients: [client],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => "urn:broker",
        getResourceServerInfo: (_context, resource) => {
          const { audience, alg, seconds } = RESOURCES[resource];
          const jwt = { sign: { alg } };
          return { scope: "", audience, accessTokenFormat: "jwt", accessTokenTTL: seconds, jwt };
        },
      },
    },
  });
}

async function listening(server) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server.address().port;
}

async function main(certificate, keyFile) {
  let [issuer, generation, current] = ["", 0, null];
  const rotate = () => {
    generation += 1;
    current = provider(issuer, generation).callback();
  };
  const serve = (request, response) => current(request, response);
  const secured = https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(keyFile) }, serve);
  const plain = http.createServer((request, response) => {
    if (request.url === "/rotate") {
      rotate();
      response.end();
    } else {
      serve(request, response);
    }
  });
  issuer = `https://127.0.0.1:${await listening(secured)}`;
  rotate();
  console.log(JSON.stringify({ issuer, grants: `127.0.0.1:${await listening(plain)}` }));
}

main(...process.argv.slice(2));
