"""German as Django knows it, but for a day without its year: months are cut, as in English."""

MONTH_DAY_FORMAT = "j. M"
