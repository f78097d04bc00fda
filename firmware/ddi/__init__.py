"""hawkBit's DDI interface (`/{tenant}/controller/v1/{controllerId}`) as values: no I/O, no clock.

Source: the DDI API as documented by Eclipse hawkBit (https://eclipse.dev/hawkbit/rest-api/ddi/)
and the behaviour of its clients (SWUpdate's suricatta, rauc-hawkbit-updater, Zephyr).
"""
