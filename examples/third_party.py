"""A third party's web application that shows a facility's live power; README.md starts it."""

import os
import secrets

from authlib.integrations.flask_client import OAuth
from authlib.oidc.core import IDToken
from flask import Flask, abort, redirect, render_template_string, request, session, url_for

URL, SCOPE = os.environ["WATTLINE_URL"], "openid facilities:read readings:read"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
PAGE = """<!doctype html><html lang="en"><title>Power watch</title><h1>{{ facility.name }}</h1>
<p><output id="power">…</output></p><a href="/logout">Sign out</a><script>setInterval(async () => {
  const got = await fetch("/power", { redirect: "manual" });
  if (got.ok) power.textContent = await got.text(); else location.reload();}, 2000)</script>"""

app = Flask(__name__)
app.config.update(SECRET_KEY=secrets.token_bytes(32), SESSION_COOKIE_NAME="power_watch")
tokens = {}  # by the provider's session (sid); an application in earnest has a database for them
wattline = OAuth(app).register(
    "wattline",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    server_metadata_url=f"{URL}/.well-known/openid-configuration",
    client_kwargs={"scope": SCOPE, "code_challenge_method": "S256"},
    update_token=lambda fresh, **_: tokens[session["sid"]].update(fresh),
)


def get(path, **query):  # the client renews the access token by itself
    answer = wattline.get(f"{URL}/api/v1/{path}/", params=query, token=tokens[session["sid"]])
    return answer.json() if answer.ok else abort(redirect("/login"))


@app.get("/")
def index():
    if session.get("sid") not in tokens:
        return '<!doctype html><title>Power watch</title><a href="/login">Sign in with Wattline</a>'
    facility = session["facility"] = get("facilities", limit=1)["results"][0]
    return render_template_string(PAGE, facility=facility)


@app.get("/power")
def power():
    if session.get("sid") not in tokens:
        return "signed out", 401
    values = get(f"facilities/{session['facility']['id']}/latest")["values"]
    counted = [v for v in values if v["in_total"] and v["quantity"] == "active_power"]
    return f"{sum(v['value'] for v in counted):.0f} W"


@app.get("/login")
def login():
    return wattline.authorize_redirect(url_for("callback", _external=True))


@app.get("/callback")
def callback():
    token = wattline.authorize_access_token()  # checks state, PKCE, and the ID token
    session["sid"] = token["userinfo"]["sid"]
    tokens[session["sid"]] = token
    return redirect("/")


@app.get("/logout")
def logout():
    hint = tokens.pop(session.pop("sid", ""), {}).get("id_token")
    return redirect(wattline.create_logout_url(url_for("index", _external=True), hint)["url"])


@app.post("/backchannel-logout")  # the person has signed out elsewhere
def backchannel_logout():
    rules = {"iss": {"value": URL}, "aud": {"value": wattline.client_id}}
    token = {"id_token": request.form["logout_token"]}
    claims = wattline.parse_id_token(token, None, claims_options=rules, claims_cls=IDToken)
    if EVENT in claims.get("events", {}) and "nonce" not in claims:
        tokens.pop(claims["sid"], None)
    return ""
