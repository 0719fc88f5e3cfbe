// The library `jose` for JavaScript, as an issuer of tokens, for the suite `access_jwt`.
//
// `make FILE` reads `{keys, tokens}` and prints the same with keys and tokens made. A key is `{name, alg, options, jwk}`:
// `options` go to the library, `jwk` is laid over the public key in the set; what is null there is taken out. A token is
// `{key, alg, header, claims}`, both texts of JSON. The library signs it where it can; what it refuses to make (a header
// with a member twice, an extension that it does not know) is signed with Node's own crypto.

const crypto = require("node:crypto");
const fs = require("node:fs");
const jose = require("jose");

const HASH = { 256: "sha256", 384: "sha384", 512: "sha512" };

function base64url(text) {
  return Buffer.from(text).toString("base64url");
}

function signedByNode({ alg, header, claims }, pair) {
  const message = Buffer.from(`${base64url(header)}.${base64url(claims)}`);
  const { privateKey } = pair;
  const own = privateKey instanceof crypto.KeyObject ? privateKey : crypto.KeyObject.from(privateKey);
  const key = { key: own, dsaEncoding: "ieee-p1363" };
  if (alg.startsWith("PS")) {
    Object.assign(key, { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: -1 });
  }
  const hash = alg === "EdDSA" ? null : HASH[alg.slice(2)];
  return `${message}.${crypto.sign(hash, message, key).toString("base64url")}`;
}

// With the public key as the shared secret, as a verifier is tricked that lets tokens choose the algorithm.
async function signedByPublicKey({ header, claims }, pair) {
  const message = `${base64url(header)}.${base64url(claims)}`;
  const secret = await jose.exportSPKI(pair.publicKey);
  return `${message}.${crypto.createHmac("sha256", secret).update(message).digest("base64url")}`;
}

async function signed(token, pair) {
  const header = JSON.parse(token.header);
  if (header.alg === "none") {
    return `${base64url(token.header)}.${base64url(token.claims)}.`;
  }
  if (String(header.alg).startsWith("HS")) {
    return signedByPublicKey(token, pair);
  }
  try {
    if (JSON.stringify(header) !== token.header || header.alg !== token.alg) {
      throw new TypeError("only as it is written");
    }
    const payload = Buffer.from(token.claims);
    return await new jose.CompactSign(payload).setProtectedHeader(header).sign(pair.privateKey);
  } catch {
    return signedByNode(token, pair);
  }
}

async function main(file) {
  const { keys, tokens } = JSON.parse(fs.readFileSync(file, "utf8"));
  const pairs = {};
  const made = { keys: {}, tokens: [] };
  for (const { name, alg, options, jwk } of keys) {
    const size = options.modulusLength;
    pairs[name] =
      size && size < 2048
        ? crypto.generateKeyPairSync("rsa", { modulusLength: size })
        : await jose.generateKeyPair(alg, { extractable: true, ...options });
    const exported = await jose.exportJWK(pairs[name].publicKey);
    const laid = { ...exported, kid: name, use: "sig", alg, ...jwk };
    made.keys[name] = Object.fromEntries(Object.entries(laid).filter(([, value]) => value !== null));
  }
  for (const token of tokens) {
    made.tokens.push(await signed(token, pairs[token.key]));
  }
  console.log(JSON.stringify(made));
}

main(process.argv[2]);
