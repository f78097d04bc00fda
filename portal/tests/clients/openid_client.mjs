// openid-client, the certified client of Node, against a real provider. The test (in
// portal/tests/test_oauth_clients_node.py) plays the browser: this script prints one JSON object a
// line with what it wants or has found, and reads the answers from its standard input.

import assert from "node:assert/strict";
import { createInterface } from "node:readline/promises";

import * as client from "openid-client";

const { ISSUER, CLIENT_ID, CLIENT_SECRET, CALLBACK, BYE } = process.env;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Say something; the browser's answer when it has one. */
async function say(message, answered = false) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
  return answered ? (await lines.next()).value : undefined;
}

const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, {
  execute: [client.allowInsecureRequests],
});
assert.ok(config.serverMetadata().supportsPKCE());

/** A sign-in under way: where the browser goes, and what its answer has to match. */
async function begin(scope = "openid facilities:read") {
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const nonce = client.randomNonce();
  const address = client.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK,
    scope,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
    nonce,
  });
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce };
  return { address: address.href, checks };
}

const browse = async (address) => new URL(await say({ browse: address }, true));
const code = async (error) => error.error ?? error.code;

/** The OAuth error, or the client's own code, that a refused promise ends with. */
async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return code(error);
  }
  return null;
}

// Discovery, code + PKCE, user info, refresh.
const attempt = await begin();
const location = await browse(attempt.address);
const tokens = await client.authorizationCodeGrant(config, location, attempt.checks);
const { sub, sid } = tokens.claims();
const userinfo = await client.fetchUserInfo(config, tokens.access_token, sub);
const fresh = await client.refreshTokenGrant(config, tokens.refresh_token);
const introspected = await client.tokenIntrospection(config, fresh.access_token);
await say({ sub, userinfo: userinfo.sub, sid: Boolean(sid), active: introspected.active });

// The code a second time: everything that came of it ends.
await say({ replay: await refusal(client.authorizationCodeGrant(config, location, attempt.checks)) });
await say({ after_replay: (await client.tokenIntrospection(config, fresh.access_token)).active });

// Another provider's answer in this one's place (RFC 9207), another state, another nonce.
const second = await begin();
const good = await browse(second.address);
const mixed = new URL(good);
mixed.searchParams.set("iss", "https://evil.example");
await say({ mix_up: await refusal(client.authorizationCodeGrant(config, mixed, second.checks)) });
const bare = new URL(good);
bare.searchParams.delete("iss");
await say({ no_issuer: await refusal(client.authorizationCodeGrant(config, bare, second.checks)) });
const forged = { ...second.checks, expectedState: "another" };
await say({ state: await refusal(client.authorizationCodeGrant(config, good, forged)) });
const downgraded = { ...second.checks, pkceCodeVerifier: undefined };
await say({ no_verifier: await refusal(client.authorizationCodeGrant(config, good, downgraded)) });

// A refresh token a second time ends its family.
const third = await begin();
const one = await client.authorizationCodeGrant(config, await browse(third.address), third.checks);
const two = await client.refreshTokenGrant(config, one.refresh_token);
await say({ reuse: await refusal(client.refreshTokenGrant(config, one.refresh_token)) });
await say({ after_reuse: await refusal(client.refreshTokenGrant(config, two.refresh_token)) });

// Scopes beyond those of the application; wider ones at a refresh.
const wide = await begin("openid admin");
const refused = await browse(wide.address);
await say({ scope: await refusal(client.authorizationCodeGrant(config, refused, wide.checks)) });

// Revocation and logout.
const last = await begin();
const end = await client.authorizationCodeGrant(config, await browse(last.address), last.checks);
await client.tokenRevocation(config, end.refresh_token);
await say({ revoked: (await client.tokenIntrospection(config, end.access_token)).active });
const out = client.buildEndSessionUrl(config, {
  post_logout_redirect_uri: BYE,
  id_token_hint: end.id_token,
});
await say({ left: (await browse(out.href)).href });
process.exit(0);
