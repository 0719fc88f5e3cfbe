"""The CloudEvents client for Python, as a sender and as a reader, for the suite `real_clients`.

`send URL` posts events in binary and in structured mode and prints one JSON line for each, with the status it got.
`read FILE` reads deliveries (a JSON list of `{headers, body}`, the body in Base64) and prints what the client sees.
"""

import base64
import datetime
import json
import sys
import urllib.request

from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent

PLAIN = {"source": "/peers/python", "type": "order.paid"}
EVENTS = [
    ({"datacontenttype": "application/json"}, {"amount": 12.5, "items": ["a", "\u00e9"]}),
    ({"subject": "caf\u00e9 \"au lait\" 100%", "datacontenttype": "application/json"}, {"n": 1}),
    ({"datacontenttype": "text/plain", "ext": "v 1"}, "plain text"),
    ({"datacontenttype": "application/octet-stream"}, b"\x00\x01\xfe\xff"),
]


def seen(event):
    """What the client sees of an event, as plain JSON."""
    attributes = {}
    for name, value in event.get_attributes().items():
        if isinstance(value, datetime.datetime):
            value = value.astimezone(datetime.timezone.utc).isoformat()
        attributes[name] = str(value)
    data = event.get_data()
    if isinstance(data, (bytes, bytearray)):
        data = base64.b64encode(data).decode()
    return {"id": attributes["id"], "attributes": attributes, "data": data}


def post(url, message):
    request = urllib.request.Request(url, data=message.body, headers=message.headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code


def send(url):
    for mode, encode in (("binary", to_binary_event), ("structured", to_structured_event)):
        for number, (attributes, data) in enumerate(EVENTS):
            event = CloudEvent({**PLAIN, **attributes, "id": f"{mode}-{number}"}, data)
            print(json.dumps({**seen(event), "status": post(url, encode(event))}))


def read(file):
    with open(file, encoding="utf-8") as messages:
        for message in json.load(messages):
            body = base64.b64decode(message["body"])
            print(json.dumps(seen(from_http_event(HTTPMessage(message["headers"], body)))))


{"send": send, "read": read}[sys.argv[1]](sys.argv[2])
