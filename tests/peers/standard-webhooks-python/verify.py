"""The library of Standard Webhooks for Python, as a receiver, for the suite `proven_deliveries`.

`verify FILE SECRET...` reads deliveries (a JSON list of `{headers, body}`, the body in Base64) and prints one JSON line
for each: the id of the event, and for each secret whether the library accepts the delivery.
"""

import base64
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError


def accepted(secret, delivery):
    """The event that the library makes of a delivery; `None` if it refuses it."""
    try:
        return Webhook(secret).verify(base64.b64decode(delivery["body"]), delivery["headers"])
    except WebhookVerificationError:
        return None


with open(sys.argv[1], encoding="utf-8") as file:
    deliveries = json.load(file)
for one in deliveries:
    events = [accepted(secret, one) for secret in sys.argv[2:]]
    ids = [event["id"] for event in events if event]
    print(json.dumps({"id": ids[0] if ids else None, "accepted": [event is not None for event in events]}))
