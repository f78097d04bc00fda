#!/usr/bin/env bash
# Quick start of the REST API with a service account: gets an access token, then prints the latest
# values of the first facility that it may see.
#
#   WATTLINE_URL=https://wattline.example CLIENT_ID=… CLIENT_SECRET=… examples/curl.sh
#
# Needs curl and python3 (for reading JSON). The secret travels in a header that curl reads from
# its standard input, so that it shows in no list of processes.
set -euo pipefail
: "${WATTLINE_URL:?the address of the portal, for example http://localhost:8000}"
: "${CLIENT_ID:?of the service account}" "${CLIENT_SECRET:?of the service account}"

first() { python3 -c 'import json, sys; print(json.load(sys.stdin)["results"][0]["id"])'; }
get() { curl --silent --show-error --fail-with-body --config - "$WATTLINE_URL$1" <<<"header = \"Authorization: Bearer $token\""; }

token=$(curl --silent --show-error --fail-with-body --config - \
    --data grant_type=client_credentials \
    --data-urlencode 'scope=facilities:read readings:read' \
    "$WATTLINE_URL/oauth/token" <<<"user = \"$CLIENT_ID:$CLIENT_SECRET\"" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')

facility=$(get '/api/v1/facilities/?limit=1' | first)
get "/api/v1/facilities/$facility/latest/"
