// Starts Swagger UI on the interactive API reference; the address of the schema stands in the page.

const place = document.getElementById("api-reference");

globalThis.SwaggerUIBundle({
  domNode: place,
  url: place.dataset.schema,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // No request leaves for a validator of somebody else.
  validatorUrl: null,
  supportedSubmitMethods: ["get"],
});
