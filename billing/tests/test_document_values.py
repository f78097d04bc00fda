"""What a bill keeps of its parties can be read later, whatever was added or taken away since."""

from __future__ import annotations

import json

from billing.documents.values import Address, Buyer, Parties, Seller, Supply

PARTIES = Parties(
    seller=Seller("Stadtwerke", Address("Weg 1", "12345", "Ort", "DE"), vat_id="DE123456789"),
    buyer=Buyer("Łucja Żak", "C1", company=True, address=Address(country="PL"), language="de"),
    supply=Supply("A1", "House", Address(city="Ort"), cost_centre="K7"),
)


def test_parties_survive_json() -> None:
    assert Parties.of(json.loads(json.dumps(PARTIES.as_json()))) == PARTIES


def test_parties_of_another_time_are_read() -> None:
    kept = PARTIES.as_json()
    kept["buyer"] = {"name": "Somebody", "shoe_size": 43, "address": {"city": "Ort", "planet": 3}}
    del kept["supply"]
    read = Parties.of(kept)
    assert read.buyer == Buyer("Somebody", address=Address(city="Ort"))
    assert read.supply == Supply("")
