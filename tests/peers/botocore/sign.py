"""AWS's own library for Python as a receiver, for the suite `proven_deliveries`.

`sign.py FILE REGION SERVICE ACCESS_KEY_ID SECRET_ACCESS_KEY [TOKEN]` reads deliveries (a JSON list of `{url, headers,
body}`, the body in Base64) and prints the header `Authorization` for each, a line each: as botocore signs the same
request at the time that the delivery names, over the headers that it says are signed.
"""

import base64
import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def authorization(one, credentials, region, service):
    """What botocore puts into the header."""
    headers = {name.lower(): value for name, value in one["headers"].items()}
    shown = headers.get("authorization", "")
    signed = shown.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    kept = {name: headers[name] for name in signed if name in headers and name != "x-amz-security-token"}
    request = AWSRequest(method="POST", url=one["url"], headers=kept, data=base64.b64decode(one["body"]))
    auth = SigV4Auth(credentials, service, region)
    request.context["timestamp"] = headers["x-amz-date"]
    auth._modify_request_before_signing(request)
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    auth._inject_signature_to_request(request, signature)
    return request.headers["Authorization"]


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        deliveries = json.load(file)
    region, service, key, secret, *token = sys.argv[2:]
    credentials = Credentials(key, secret, token[0] if token else None)
    for delivery in deliveries:
        print(authorization(delivery, credentials, region, service))
