#!/usr/bin/env python3
"""Decodes OTLP requests by Google's protobuf library and the published definitions.

Reads lines `<json|protobuf> <base64 of the body>` and prints each request as a line of JSON, or
`partial <rejected> <message>`, and prints the response in base64.
"""
import base64
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service

for line in sys.stdin:
    kind, *rest = line.rstrip("\n").split(" ", 2)
    if kind == "partial":
        response = service.ExportLogsServiceResponse()
        response.partial_success.rejected_log_records = int(rest[0])
        response.partial_success.error_message = rest[1]
        print(base64.b64encode(response.SerializeToString()).decode(), flush=True)
        continue
    body = base64.b64decode(rest[0])
    request = service.ExportLogsServiceRequest()
    if kind == "json":
        json_format.Parse(body, request)
    else:
        request.ParseFromString(body)
    # Unknown fields would be numbers that the definitions do not have.
    text = json_format.MessageToJson(request, indent=None)
    assert request.SerializeToString() and (kind == "json" or len(request.SerializeToString()) == len(body))
    print(text, flush=True)
