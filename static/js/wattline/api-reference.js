// Starts Swagger UI on the interactive API reference; where the description is, and how to get an
// access token, stands in the page.

import { makeAccessible, plainLinks } from "./api-reference-access.js";

const place = document.getElementById("api-reference");
const { schema, client, callback, scopes } = place.dataset;

// A browser sends the cookie of its session by itself and lets nobody type one: of the ways to be
// let in, the form shows those that are to be filled in.
const withoutSession = () => ({
  statePlugins: {
    auth: {
      wrapSelectors: {
        definitionsToAuthorize:
          (original) =>
          (...rest) =>
            original(...rest)?.filter((definition) => !definition.has("session")),
      },
    },
  },
});

makeAccessible(place);
const reference = globalThis.SwaggerUIBundle({
  domNode: place,
  url: schema,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // No request leaves for a validator of somebody else.
  validatorUrl: null,
  supportedSubmitMethods: ["get"],
  oauth2RedirectUrl: callback,
  plugins: [plainLinks, withoutSession],
});
reference.initOAuth({
  clientId: client,
  scopes,
  usePkceWithAuthorizationCodeGrant: true,
});
