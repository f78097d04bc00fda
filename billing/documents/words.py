"""The words of documents, in the languages in which they are written.

They are part of the document and not of the portal: a document has the words of its day, whatever
catalogue the server has. A test wants every text in every language.
"""

from __future__ import annotations

from typing import Final

LANGUAGES: Final = ("en", "de")

_EN: Final = {
    "bill": "Bill",
    "credit_note": "Credit note",
    "title": "{kind} {number}",
    "for": "Electricity for {facility}, {period}",
    "for_nothing": "Electricity, {period}",
    "number": "Number",
    "issued": "Date",
    "period": "Period",
    "due": "Due",
    "customer": "Customer",
    "agreement": "Agreement",
    "reference": "Your reference",
    "cost_centre": "Cost centre",
    "buyer_vat": "Your VAT number",
    "pay": "To pay",
    "pay_by": "by {date}",
    "credit": "Credited to you",
    "nothing": "Nothing to pay",
    "used": "Electricity used",
    "given": "Given to the grid",
    "cause": "Why this document: {cause}",
    "takes_back": "This credit note takes back bill {number} of {date}.",
    "replaces": "This bill replaces bill {number} of {date}.",
    "use_by_day": "Your use by day",
    "use_by_month": "Your use by month",
    "drawn": "Drawn from the grid",
    "fed": "Given to the grid",
    "chart": "Bar chart of the use: {sum} kWh in {count} {units}; the most on {most_on} with {most}"
    " kWh, the least on {least_on} with {least} kWh.",
    "chart_month": "Bar chart of the use: {sum} kWh in {count} {units}; the most in {most_on} with"
    " {most} kWh, the least in {least_on} with {least} kWh.",
    "days": "days",
    "months": "months",
    "comparison": "Compared",
    "compare_now": "This period",
    "compare_before": "Period before",
    "compare_year": "A year ago",
    "per_day": "{value} kWh a day",
    "more": "{percent}\u00a0% more a day than {when}",
    "less": "{percent}\u00a0% less a day than {when}",
    "same": "as much a day as {when}",
    "when_before": "in the period before",
    "when_year": "a year ago",
    "lines": "What it is made of",
    "line": "Item",
    "quantity": "Quantity",
    "price": "Price",
    "amount": "Amount",
    "tier": "tier {tier}",
    "estimated": "{quantity} {unit} estimated",
    "net": "Sum without taxes",
    "rounding": "Rounding",
    "total": "Total",
    "exact": "Sums are made of exact amounts and rounded once; the amounts of single items are"
    " rounded to be read.",
    "estimate": "{quantity} kWh of this were estimated, because readings were missing. What they"
    " were in fact is settled later.",
    "how_to_pay": "How to pay",
    "your_credit": "What happens now",
    "pay_to": "Please transfer {amount} by {date}.",
    "name": "Recipient",
    "iban": "IBAN",
    "bic": "BIC",
    "bank": "Bank",
    "remittance": "Reference",
    "scan": "Or scan this code in your banking app.",
    "scan_alt": "QR code of a SEPA credit transfer: {amount} to {name}, IBAN {iban}, reference"
    " {reference}.",
    "no_bank": "Please pay {amount} by {date}, and name {reference}.",
    "pay_nothing": "There is nothing to pay.",
    "pay_credit": "{amount} are credited to your account: they are set off against open bills, and"
    " what is left is paid out or kept for the next bill.",
    "page": "Page {page} of {pages}",
    "phone": "Phone",
    "vat_id": "VAT number",
    "tax_number": "Tax number",
    "embedded": "This document contains the same bill as data (Factur-X, EN 16931).",
    "and": "{first} to {last}",
    "vat_E": "Exempt from value added tax",
    "vat_O": "Not subject to value added tax",
}

_DE: Final = {
    "bill": "Rechnung",
    "credit_note": "Gutschrift",
    "title": "{kind} {number}",
    "for": "Strom für {facility}, {period}",
    "for_nothing": "Strom, {period}",
    "number": "Nummer",
    "issued": "Datum",
    "period": "Zeitraum",
    "due": "Fällig",
    "customer": "Kundennummer",
    "agreement": "Vertrag",
    "reference": "Ihr Zeichen",
    "cost_centre": "Kostenstelle",
    "buyer_vat": "Ihre USt-IdNr.",
    "pay": "Zu zahlen",
    "pay_by": "bis {date}",
    "credit": "Ihre Gutschrift",
    "nothing": "Nichts zu zahlen",
    "used": "Verbrauch",
    "given": "Einspeisung",
    "cause": "Grund dieses Dokuments: {cause}",
    "takes_back": "Diese Gutschrift nimmt die Rechnung {number} vom {date} zurück.",
    "replaces": "Diese Rechnung ersetzt die Rechnung {number} vom {date}.",
    "use_by_day": "Ihr Verbrauch je Tag",
    "use_by_month": "Ihr Verbrauch je Monat",
    "drawn": "Aus dem Netz bezogen",
    "fed": "Ins Netz eingespeist",
    "chart": "Balkendiagramm des Verbrauchs: {sum} kWh in {count} {units}; am meisten am"
    " {most_on} mit {most} kWh, am wenigsten am {least_on} mit {least} kWh.",
    "chart_month": "Balkendiagramm des Verbrauchs: {sum} kWh in {count} {units}; am meisten im"
    " {most_on} mit {most} kWh, am wenigsten im {least_on} mit {least} kWh.",
    "days": "Tagen",
    "months": "Monaten",
    "comparison": "Im Vergleich",
    "compare_now": "Dieser Zeitraum",
    "compare_before": "Zeitraum davor",
    "compare_year": "Vor einem Jahr",
    "per_day": "{value} kWh am Tag",
    "more": "{percent}\u00a0% mehr am Tag als {when}",
    "less": "{percent}\u00a0% weniger am Tag als {when}",
    "same": "so viel am Tag wie {when}",
    "when_before": "im Zeitraum davor",
    "when_year": "vor einem Jahr",
    "lines": "Wie sich der Betrag zusammensetzt",
    "line": "Posten",
    "quantity": "Menge",
    "price": "Preis",
    "amount": "Betrag",
    "tier": "Stufe {tier}",
    "estimated": "{quantity} {unit} geschätzt",
    "net": "Summe ohne Steuern",
    "rounding": "Rundung",
    "total": "Gesamtbetrag",
    "exact": "Summen entstehen aus genauen Beträgen und werden einmal gerundet; die Beträge"
    " einzelner Posten sind gerundet, damit sie lesbar sind.",
    "estimate": "{quantity} kWh davon sind geschätzt, weil Messwerte fehlten. Was es wirklich war,"
    " wird später abgerechnet.",
    "how_to_pay": "So zahlen Sie",
    "your_credit": "Wie es weitergeht",
    "pay_to": "Bitte überweisen Sie {amount} bis {date}.",
    "name": "Empfänger",
    "iban": "IBAN",
    "bic": "BIC",
    "bank": "Bank",
    "remittance": "Verwendungszweck",
    "scan": "Oder scannen Sie diesen Code mit Ihrer Banking-App.",
    "scan_alt": "QR-Code einer SEPA-Überweisung: {amount} an {name}, IBAN {iban},"
    " Verwendungszweck {reference}.",
    "no_bank": "Bitte zahlen Sie {amount} bis {date} und nennen Sie {reference}.",
    "pay_nothing": "Es ist nichts zu zahlen.",
    "pay_credit": "{amount} werden Ihrem Konto gutgeschrieben: mit offenen Rechnungen verrechnet,"
    " und was bleibt, wird ausgezahlt oder für die nächste Rechnung behalten.",
    "page": "Seite {page} von {pages}",
    "phone": "Telefon",
    "vat_id": "USt-IdNr.",
    "tax_number": "Steuernummer",
    "embedded": "Dieses Dokument enthält die Rechnung auch als Daten (ZUGFeRD/Factur-X, EN 16931).",
    "and": "{first} bis {last}",
    "vat_E": "Umsatzsteuerfrei",
    "vat_O": "Nicht umsatzsteuerbar",
}

_WORDS: Final = {"en": _EN, "de": _DE}

# As they follow a number; a unit that is not here is written as it is.
_UNITS: Final = {
    "day": {"en": ("day", "days"), "de": ("Tag", "Tage")},
    "month": {"en": ("month", "months"), "de": ("Monat", "Monate")},
    "year": {"en": ("year", "years"), "de": ("Jahr", "Jahre")},
    "kW_month": {"en": ("kW month", "kW months"), "de": ("kW-Monat", "kW-Monate")},
}

MONTHS: Final = {
    "en": (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
    "de": (
        *("Januar", "Februar", "März", "April", "Mai", "Juni"),
        *("Juli", "August", "September", "Oktober", "November", "Dezember"),
    ),
}


def word(language: str, key: str, **values: object) -> str:
    """A text in a language of LANGUAGES, with its values."""
    return _WORDS[language][key].format(**values)


def unit(language: str, code: str, *, one: bool = False) -> str:
    """A unit as it follows a number; `one`: the number is one."""
    found = _UNITS.get(code)
    return code if found is None else found[language][0 if one else 1]
