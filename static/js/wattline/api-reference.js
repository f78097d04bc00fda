// Starts Swagger UI on the interactive API reference; the address of the schema stands in the page.

import { makeAccessible, plainLinks } from "./api-reference-access.js";

const place = document.getElementById("api-reference");

makeAccessible(place);
globalThis.SwaggerUIBundle({
  domNode: place,
  url: place.dataset.schema,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // No request leaves for a validator of somebody else.
  validatorUrl: null,
  supportedSubmitMethods: ["get"],
  plugins: [plainLinks],
});
