"""The OAuth2 and OpenID Connect provider's endpoints and pages."""
