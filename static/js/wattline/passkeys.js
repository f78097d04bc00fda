/** Forms `data-passkey`: the browser makes a passkey, or proves one, and the form sends its answer.
 *
 * Binary values travel as base64url (Web Authentication Level 3, section 5.1). What happens:
 * - `sign-in`: options come from `data-options`; a passkey is also offered in the field of the
 *   address, where the browser can do that;
 * - `confirm` and `create`: options stand in the page (`#passkey-options`).
 */

const toBytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

/** Options as the browser wants them: `challenge`, and `id` of credentials and user, are bytes. */
export function decodeOptions(options) {
  const described = (list) => (list ?? []).map((one) => ({ ...one, id: toBytes(one.id) }));
  const decoded = { ...options, challenge: toBytes(options.challenge) };
  if (options.user) decoded.user = { ...options.user, id: toBytes(options.user.id) };
  if (options.excludeCredentials) {
    decoded.excludeCredentials = described(options.excludeCredentials);
  }
  if (options.allowCredentials) decoded.allowCredentials = described(options.allowCredentials);
  return decoded;
}

/** A credential as JSON; the browsers' own `toJSON` is missing in some, wrong in password managers. */
export function encodeCredential(credential) {
  const { response } = credential;
  const encoded = { clientDataJSON: toText(response.clientDataJSON) };
  if (response.attestationObject) {
    encoded.attestationObject = toText(response.attestationObject);
    encoded.transports = response.getTransports?.() ?? [];
  } else {
    encoded.authenticatorData = toText(response.authenticatorData);
    encoded.signature = toText(response.signature);
    if (response.userHandle) encoded.userHandle = toText(response.userHandle);
  }
  return {
    id: credential.id,
    rawId: toText(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults(),
    response: encoded,
  };
}

function send(form, credential) {
  form.elements.credential.value = JSON.stringify(encodeCredential(credential));
  form.submit();
}

function explain(form, error) {
  const place = form.querySelector(".wl-passkey-error");
  const { failed, exists } = place.dataset;
  place.textContent = error.name === "InvalidStateError" && exists ? exists : failed;
}

async function fetchOptions(form) {
  const answer = await fetch(form.dataset.options, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`options: ${answer.status}`);
  return decodeOptions((await answer.json()).request_options.publicKey);
}

function pageOptions() {
  const { request_options: request, creation_options: creation } = JSON.parse(
    document.getElementById("passkey-options").textContent,
  );
  return decodeOptions((request ?? creation).publicKey);
}

let offer = null; // the passkey that waits in the field of the address

async function offerInField(form) {
  if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
  if (!document.querySelector('input[autocomplete~="webauthn"]')) return;
  offer = new AbortController();
  try {
    const publicKey = await fetchOptions(form);
    const { signal } = offer;
    send(form, await navigator.credentials.get({ publicKey, mediation: "conditional", signal }));
  } catch (error) {
    if (error.name !== "AbortError") console.info("no passkey in the field:", error.name);
  }
}

async function run(form) {
  offer?.abort();
  const kind = form.dataset.passkey;
  const publicKey = kind === "sign-in" ? await fetchOptions(form) : pageOptions();
  const make = kind === "create" ? "create" : "get";
  send(form, await navigator.credentials[make]({ publicKey }));
}

function connect(form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(form).catch((error) => explain(form, error));
  });
  if (form.dataset.passkey === "sign-in") offerInField(form);
}

if (typeof document !== "undefined") {
  for (const form of document.querySelectorAll("[data-passkey]")) {
    if (window.PublicKeyCredential) connect(form);
    else if (form.dataset.passkey === "create") {
      const place = form.querySelector(".wl-passkey-error");
      place.textContent = place.dataset.unsupported;
      form.querySelector("button[type=submit]").disabled = true;
    } else form.hidden = true;
  }
}
