#!/usr/bin/env python3
"""Verifies a file of evidence of Bailiff: a second implementation of docs/evidence-format.md.

It uses the standard library alone and shares no code with the first one. It does not judge frames again, so
`judged` is always skipped. Usage: verify.py FILE [--key PUBLIC.pem] [--log-key KEY]... [--witness-key KEY]... [--head FILE]
"""
import argparse
import base64
import hashlib
import json
import re
import sys

CHECKS = ["format", "signature", "records", "content", "digest", "log-head", "witness", "inclusion", "consistency",
          "verdict", "evidence", "judged", "responses"]
STREAMS = ["CONFIG_LOG", "KV_bailiff_pods", "DEAD_LETTERS", "VERDICTS", "VIOLATIONS", "RESPONSES"]
LOGGED = {"CONFIG_LOG", "VIOLATIONS", "VERDICTS", "RESPONSES"}
SCHEMAS = "KV_bailiff_schemas"
MAX_LINE = 8 * 1024 * 1024
MAX_SCHEMA = 64 * 1024
# SHA-256 of the canonical form of the schemas in docs/reference/schemas.md, by fingerprint.
KNOWN_SCHEMAS = {
    "06496cd7d453b0dd": "15d9f5fb6a3ccf90b3426b812f2ecfe83c487652fae65c8eebe70d93e285fe9a",
    "42a586644df3b82e": "866ec8616196f8db7e313025269cfc1d32536da40367314a67ad9ca5e78ca55b",
    "df45a3153bdf0a89": "e37fd813b56d29ab190662f0257ce83bca6329320d69f4ed269357b065d63ec6",
    "969dae80edee96a7": "b7791de5e4962faa578526d66a6ec885c0c69efbcbb7fd36df77212298fd4030",
    "30306fee28079dc1": "95beca29956a7b9adca7fa0906148e44494911bc49622b55702d12f69e59b4d1",
    "90c271abfdde13d7": "2b21ece588f1b9d3b990b367c2c094e1178e0c92f598d3105500ce857d8a60fb",
}
MOST_RECORDS = {SCHEMAS: 512, "CONFIG_LOG": 131_072, "DEAD_LETTERS": 50_000, "VERDICTS": 10_000, "RESPONSES": 10_000}


class Invalid(Exception):
    """A line is not valid."""


class Broken(Exception):
    """A record breaks a rule of records."""


# --- Ed25519 (RFC 8032, section 5.1) -----------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    u, v = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = v - u, d - c, d + c, v + u
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def point_of(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r, s = point_of(public), point_of(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = multiply(s, BASE), add(r, multiply(h, a))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


# --- lines -------------------------------------------------------------------------------------------------

def sha256(data):
    return hashlib.sha256(data).digest()


def decoded(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Invalid("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Invalid("base64 is not canonical")
    return data


def no_constant(name):
    raise Invalid(f"{name} is not JSON")


def integer(text):
    """Older versions of Python take minutes for millions of digits."""
    return int(text) if len(text) <= 400 else float("inf")


def parse(text):
    try:
        return json.loads(text, parse_constant=no_constant, parse_int=integer)
    except (ValueError, RecursionError) as error:
        raise Invalid("not JSON") from error


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def need(condition, why):
    if not condition:
        raise Invalid(why)


def whole(value):
    return type(value) is int and 0 <= value < 2**53


def matches(pattern, value):
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def fields(value, names, optional=()):
    need(isinstance(value, dict), "not an object")
    need(set(names) <= set(value) <= set(names) | set(optional), "it lacks a field, or has another one")
    return value


HEX = "[0-9a-f]{64}"


NAME = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"


def streams(value, is_valid):
    need(isinstance(value, dict) and all(one == SCHEMAS or one in STREAMS for one in value), "a stream")
    need(all(map(is_valid, value.values())), "of a stream")
    return value


def ordered(value, names):
    return {name: value[name] for name in names if name in value}


HEADER = ["format", "verdictId", "fold", "nodes", "from", "until", "lettersSince", "created", "exportedAt", "exporter"]


def parse_header(line):
    header = fields(parse(line), HEADER)
    need(header["format"] == "bailiff-evidence/1", "another format")
    need(matches("[0-9a-f]{32}", header["verdictId"]), "verdictId")
    need(all(whole(header[name]) for name in ("fold", "from", "until", "lettersSince", "exportedAt")), "a number")
    nodes = header["nodes"]
    need(nodes is None or isinstance(nodes, list) and all(matches(NAME, one) for one in nodes), "nodes")
    streams(header["created"], whole)
    need(isinstance(header["exporter"], str), "exporter")
    need(compact(ordered(header, HEADER)) == line, "not in the single form")
    return header


def parse_part(part):
    if isinstance(part, str):
        decoded(part)
        return
    need(isinstance(part, dict), "a part")
    need(part.get("class") in ("argument", "address", "unreadable"), "class")
    if "hash" in part:
        need(matches(HEX, fields(part, ["class", "hash"])["hash"]), "hash")
        return
    fields(part, ["class", "salt", "data"])
    need(isinstance(part["salt"], str) and isinstance(part["data"], str), "a part")
    need(len(decoded(part["salt"])) == 16, "a salt does not have 16 bytes")
    decoded(part["data"])


RECORD = ["stream", "sequence", "storedAt", "subject", "headers", "sha256", "parts", "proof"]


def parse_record(line):
    record = fields(parse(line), [name for name in RECORD if name not in ("headers", "proof")], ("headers", "proof"))
    need(isinstance(record["stream"], str), "stream")
    need(whole(record["sequence"]) and whole(record["storedAt"]), "a number")
    need(matches("[!-~]+", record["subject"]) and matches(HEX, record["sha256"]), "subject or sha256")
    if "headers" in record:
        need(isinstance(record["headers"], str), "headers")
        decoded(record["headers"])
    need(isinstance(record["parts"], list) and isinstance(record.get("proof", ""), str), "parts or proof")
    for part in record["parts"]:
        parse_part(part)
    parts = [one if isinstance(one, str) else ordered(one, ("class", "salt", "data", "hash")) for one in record["parts"]]
    need(compact(ordered({**record, "parts": parts}, RECORD)) == line, "not in the single form")
    return record


STATEMENT = ["_type", "subject", "predicateType", "predicate"]
POSITION = ["first", "last"]
LOG = ["origin", "size", "root"]


def is_position(value):
    return all(whole(one) for one in fields(value, POSITION).values())


def parse_envelope(line):
    envelope = fields(parse(line), ["payloadType", "payload", "signatures"])
    need(isinstance(envelope["payloadType"], str) and isinstance(envelope["payload"], str), "envelope")
    need(isinstance(envelope["signatures"], list) and len(envelope["signatures"]) <= 16, "signatures")
    for one in envelope["signatures"]:
        fields(one, ["keyid", "sig"])
        need(isinstance(one["keyid"], str) and isinstance(one["sig"], str), "a signature")
        decoded(one["sig"])
    signatures = [ordered(one, ("keyid", "sig")) for one in envelope["signatures"]]
    single = ordered({**envelope, "signatures": signatures}, ("payloadType", "payload", "signatures"))
    need(compact(single) == line, "not in the single form")
    payload = decoded(envelope["payload"])
    try:
        text = payload.decode()
        statement = fields(parse(text), STATEMENT)
    except UnicodeDecodeError as error:
        raise Invalid("the payload is not text") from error
    need(statement["_type"] == "https://in-toto.io/Statement/v1", "_type")
    need(statement["predicateType"] == "https://bailiff.dev/evidence/v1", "predicateType")
    subject, predicate = statement["subject"], fields(statement["predicate"], ["records", "positions", "log"])
    need(isinstance(subject, list) and len(subject) == 1, "subject")
    need(isinstance(fields(subject[0], ["name", "digest"])["name"], str), "name")
    need(matches(HEX, fields(subject[0]["digest"], ["sha256"])["sha256"]), "digest")
    records, positions = streams(predicate["records"], whole), streams(predicate["positions"], is_position)
    log = predicate["log"]
    if log is not None:
        fields(log, LOG)
        need(isinstance(log["origin"], str) and whole(log["size"]) and isinstance(log["root"], str), "log")
    single = ordered({**statement, "subject": [ordered(subject[0], ("name", "digest"))], "predicate": {
        "records": records,
        "positions": {stream: ordered(one, POSITION) for stream, one in positions.items()},
        "log": log and ordered(log, LOG),
    }}, STATEMENT)
    need(compact(single) == text, "the payload is not in the single form")
    return envelope, payload, statement


# --- hashes of records -------------------------------------------------------------------------------------

def hash_of(part):
    if isinstance(part, str):
        return "open " + sha256(decoded(part)).hex()
    if "hash" in part:
        return f"{part['class']} {part['hash']}"
    return f"{part['class']} {sha256(decoded(part['salt']) + decoded(part['data'])).hex()}"


def entry_of(record, created):
    block = sha256(decoded(record["headers"]) if "headers" in record else b"").hex()
    lines = ["bailiff-log-entry/1", record["stream"], created, record["sequence"], record["storedAt"],
             record["subject"], block, record["sha256"]]
    return "".join(f"{line}\n" for line in lines).encode()


def record_hash(record, created):
    parts = "".join(f"{hash_of(part)}\n" for part in record["parts"]).encode()
    return sha256(b"bailiff-record/1\n" + entry_of(record, created) + parts)


def content_of(record):
    contents = []
    for part in record["parts"]:
        if isinstance(part, str):
            contents.append(decoded(part))
        elif "data" in part:
            contents.append(decoded(part["data"]))
        else:
            text = f"r:{part['hash'][:12]}".encode()
            contents.append(text if record["stream"] == "KV_bailiff_pods" else bytes([28]) + text)
    return b"".join(contents)


def is_redacted(record):
    return any(not isinstance(part, str) and "hash" in part for part in record["parts"])


# --- Avro --------------------------------------------------------------------------------------------------

PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}


def full_name(name, namespace):
    return name if "." in name or not namespace else f"{namespace}.{name}"


def canonical(schema, namespace=""):
    """Parsing Canonical Form (Avro's specification)."""
    form = form_of(schema, namespace)
    if len(form) > MAX_SCHEMA:
        raise ValueError("the form is too long")
    return form


def form_of(schema, namespace):
    if isinstance(schema, str):
        return compact(schema if schema in PRIMITIVES else full_name(schema, namespace))
    if isinstance(schema, list):
        return f"[{','.join(canonical(one, namespace) for one in schema)}]"
    kind = schema["type"]
    if kind in ("record", "enum", "fixed"):
        own = schema.get("namespace")
        name = full_name(schema["name"], own if isinstance(own, str) else namespace)
        head = f'{{"name":{compact(name)},"type":"{kind}"'
        if kind == "enum":
            return f'{head},"symbols":{compact(schema["symbols"])}}}'
        if kind == "fixed":
            return f'{head},"size":{int(schema["size"])}}}'
        listed = ",".join(f'{{"name":{compact(one["name"])},"type":{canonical(one["type"], name.rpartition(".")[0])}}}'
                          for one in schema["fields"])
        return f'{head},"fields":[{listed}]}}'
    if kind == "array":
        return f'{{"type":"array","items":{canonical(schema["items"], namespace)}}}'
    if kind == "map":
        return f'{{"type":"map","values":{canonical(schema["values"], namespace)}}}'
    return canonical(kind, namespace)


EMPTY = 0xc15d213aa4d7a795
TABLE = list(range(256))
for _ in range(8):
    TABLE = [one >> 1 ^ (EMPTY if one & 1 else 0) for one in TABLE]


def fingerprint(form):
    """CRC-64-AVRO of a canonical form, hex."""
    value = EMPTY
    for byte in form.encode():
        value = value >> 8 ^ TABLE[(value ^ byte) & 255]
    return f"{value:016x}"


class Reader:
    def __init__(self, data, schema):
        self.data, self.at, self.named, self.left = data, 10, {}, 2_000_000
        self.define(schema)

    def define(self, schema):
        if isinstance(schema, list):
            for one in schema:
                self.define(one)
        elif isinstance(schema, dict):
            if "name" in schema and isinstance(schema.get("type"), str):
                self.named[schema["name"].split(".")[-1]] = schema
            for name in ("fields", "type", "items", "values"):
                self.define(schema.get(name))

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise ValueError("cut off")
        self.at += count
        return self.data[self.at - count:self.at]

    def long(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return (value >> 1) ^ -(value & 1)
            shift += 7
            if shift > 63:
                raise ValueError("a number is too long")

    def items(self, schema):
        values = []
        while count := self.long():
            if count < 0:
                count = -count
                self.long()
            if count > len(self.data):
                raise ValueError("cut off")
            values += [self.value(schema) for _ in range(count)]
        return values

    def value(self, schema):
        self.left -= 1
        if self.left < 0:
            raise ValueError("too many values")
        if isinstance(schema, list):
            branch = self.long()
            if not 0 <= branch < len(schema):
                raise ValueError("a union has no such branch")
            return self.value(schema[branch])
        kind = schema["type"] if isinstance(schema, dict) else schema
        if not isinstance(kind, str):
            return self.value(kind)
        if kind == "record":
            return {field["name"]: self.value(field["type"]) for field in schema["fields"]}
        if kind == "array":
            return self.items(schema["items"])
        if kind == "enum":
            index = self.long()
            if not 0 <= index < len(schema["symbols"]):
                raise ValueError("an enum has no such symbol")
            return index
        if kind in ("int", "long"):
            number = self.long()
            if abs(number) >= 2**53:
                raise ValueError("a number is too large")
            return number
        if kind == "fixed":
            return self.take(int(schema["size"]))
        if kind == "string":
            return self.take(self.long()).decode(errors="replace")
        if kind == "bytes":
            return self.take(self.long())
        if kind in ("null", "boolean", "float", "double"):
            return self.take({"null": 0, "boolean": 1, "float": 4, "double": 8}[kind])
        return self.value(self.named[kind.split(".")[-1]])


def identity_of(data):
    """The fingerprint in a message."""
    return data[2:10][::-1].hex() if data[:2] == b"\xc3\x01" else ""


def decode(data, schemas, name):
    """The value of a message; None if it is not one of this name."""
    try:
        schema = schemas[identity_of(data)]
        if schema["name"].split(".")[-1] != name:
            return None
        reader = Reader(data, schema)
        value = reader.value(schema)
        is_read = reader.at == len(data) and isinstance(value["verdictId"], str)
        if name == "Verdict":
            is_read = is_read and all(type(one["streamSequence"]) is int for one in value["evidence"])
        return value if is_read else None
    except (AttributeError, IndexError, KeyError, ValueError, TypeError, RecursionError, Invalid):
        return None


# --- log ---------------------------------------------------------------------------------------------------

NUMBER = "(0|[1-9][0-9]{0,14})"


def hash_in(text):
    data = decoded(text)
    need(len(data) == 32, "a hash does not have 32 bytes")
    return data


def parse_checkpoint(text):
    lines = text.split("\n")
    need(len(lines) == 4 and lines[0] and lines[3] == "" and matches(NUMBER, lines[1]), "not a checkpoint")
    return {"origin": lines[0], "size": int(lines[1]), "root": hash_in(lines[2])}


def parse_proof(text):
    head, found, note = text.partition("\n\n")
    lines = head.split("\n")
    need(found and lines[0] == "c2sp.org/tlog-proof@v1" and len(lines) > 1, "not a proof")
    need(lines[1].startswith("index ") and matches(NUMBER, lines[1][6:]), "not a proof")
    return int(lines[1][6:]), [hash_in(line) for line in lines[2:]], note


def node(left, right):
    return sha256(b"\x01" + left + right)


def root_by(leaf, index, size, proof):
    """The root that an inclusion proof gives (RFC 9162, section 2.1.3.2)."""
    if index >= size:
        return None
    low, high, value = index, size - 1, leaf
    for sibling in proof:
        if high == 0:
            return None
        if low & 1 or low == high:
            value = node(sibling, value)
            while not low & 1 and low:
                low, high = low >> 1, high >> 1
        else:
            value = node(value, sibling)
        low, high = low >> 1, high >> 1
    return value if high == 0 else None


def parse_log_key(text, kind=1):
    """Kind 1: of a log; 4: of a witness."""
    name, _, rest = text.strip().partition("+")
    identity, _, key = rest.partition("+")
    data = base64.b64decode(key)
    if len(data) != 33 or data[0] != kind or sha256(f"{name}\n".encode() + data)[:4].hex() != identity:
        raise SystemExit("not a verifier key of Ed25519, or of another kind")
    return name, data[1:]


def parse_note(note):
    """Text and signatures of a note: a name, the id of a key and the bytes each; None if it is none."""
    text, found, lines = note.rpartition("\n\n")
    if not found or not lines.endswith("\n"):
        return None
    signatures = []
    for line in lines[:-1].split("\n"):
        match = re.fullmatch("— ([!-*,-~]+) ([A-Za-z0-9+/]+={0,2})", line)
        try:
            data = decoded(match[2]) if match else None
        except Invalid:
            data = None
        if data is None:
            return None
        signatures.append((match[1], data[:4], data[4:]))
    return (text + "\n", signatures) if len(signatures) <= 16 else None


def of_key(signatures, name, key, kind):
    identity = sha256(f"{name}\n".encode() + bytes([kind]) + key)[:4]
    return [data for owner, found, data in signatures if owner == name and found == identity]


def open_note(note, keys):
    """The text of a note that one of the keys signed; None if none did, or a signature of one is wrong."""
    parsed = parse_note(note)
    if parsed is None:
        return None
    text, signatures = parsed
    known = [is_signed(key, text.encode(), data) for name, key in keys for data in of_key(signatures, name, key, 1)]
    return text if known and all(known) else None


def is_cosigned(note, name, key):
    """Whether a witness cosigned a note; None if it did not, False if a signature under its key is wrong."""
    parsed = parse_note(note)
    if parsed is None:
        return None
    text, signatures = parsed
    known = []
    for data in of_key(signatures, name, key, 4):
        time = int.from_bytes(data[:8], "big")
        message = f"cosignature/v1\ntime {time}\n{text}".encode()
        known.append(len(data) == 72 and 0 < time < 2**53 and is_signed(key, message, data[8:]))
    return all(known) if known else None


# --- verification ------------------------------------------------------------------------------------------

class Verifier:
    def __init__(self, key=None, log_keys=(), head=None, witness_keys=()):
        self.key, self.log_keys, self.known = key, list(log_keys), head
        self.witness_keys = list(witness_keys)
        self.failed, self.other = {}, {}
        self.header = self.nodes = self.envelope = self.note = self.log_head = None
        self.digest, self.counts, self.schemas = hashlib.sha256(), {}, {}
        self.stream, self.sequence, self.missing = 0, -1, set()
        self.verdicts, self.responses, self.without, self.redacted = [], [], 0, 0
        self.lacking = set()

    def fail(self, name, detail):
        self.failed.setdefault(name, detail)

    def decide(self, name, outcome, detail=""):
        if outcome == "PASS" and name in self.lacking:
            outcome, detail = "SKIP", "needs a verifier that knows the schema"
        self.other[name] = (outcome, detail)

    def verify(self, lines):
        number, complete = 0, False
        try:
            for number, line in enumerate(lines, 1):
                self.take(line)
            need(number > 0, "the file is empty")
            need(self.envelope, "the file ends before its envelope")
            complete = True
        except Invalid as error:
            self.fail("format", f"line {number}: {error}")
        except Broken as error:
            self.fail("records", f"line {number}: {error}")
        if complete:
            self.conclude()
        skipped = ("SKIP", "needs a file that can be read up to here")
        return [(name, "FAIL", self.failed[name]) if name in self.failed else (name, *self.other.get(name, skipped))
                for name in CHECKS]

    def take(self, line):
        need(self.envelope is None, "it follows the envelope")
        if self.header is None:
            self.header = parse_header(line)
            nodes = self.header["nodes"]
            self.nodes = None if nodes is None else {one.replace(".", "_") for one in nodes}
            self.digest.update(sha256(line.encode()))
        elif line.startswith('{"payloadType":'):
            self.envelope = parse_envelope(line)
        else:
            self.take_record(parse_record(line))

    def take_record(self, record):
        self.check_place(record)
        stream = record["stream"]
        created, content = self.header["created"][stream], content_of(record)
        self.digest.update(record_hash(record, created))
        self.counts[stream] = self.counts.get(stream, 0) + 1
        if is_redacted(record):
            self.redacted += 1
        elif sha256(content).hex() != record["sha256"]:
            self.fail("content", f"{stream} {record['sequence']}")
        self.check_proof(record, entry_of(record, created))
        if stream == SCHEMAS:
            self.add_schema(record["subject"].rpartition(".fp-")[2], content.decode(errors="replace"))
        elif stream == "VERDICTS":
            verdict = decode(content, self.schemas, "Verdict")
            if self.is_foreign(content):
                self.lacking |= {"verdict", "evidence"}
            if verdict is None:
                self.fail("verdict", "it cannot be decoded")
            else:
                self.verdicts.append(verdict)
                self.missing = {piece["streamSequence"] for piece in self.verdicts[0]["evidence"]}
        elif stream == "RESPONSES":
            response = decode(content, self.schemas, "Response")
            if self.is_foreign(content):
                self.lacking.add("responses")
            if response is None:
                self.fail("responses", f"{record['sequence']} cannot be decoded")
            else:
                self.responses.append(response)

    def is_foreign(self, content):
        """Whether the file has the schema of a message, and this verifier does not know it."""
        return identity_of(content) in self.schemas and identity_of(content) not in KNOWN_SCHEMAS

    def add_schema(self, identity, text):
        try:
            schema = parse(text) if len(text) <= MAX_SCHEMA else None
            form = canonical(schema) if schema is not None else ""
            is_own = schema is not None and fingerprint(form) == identity
            # A fingerprint can be forged.
            is_own = is_own and KNOWN_SCHEMAS.get(identity) in (None, sha256(form.encode()).hex())
            # What the form leaves out must not change how messages are read.
            schema = parse(form) if is_own else None
        except (ArithmeticError, AttributeError, KeyError, ValueError, TypeError, RecursionError, Invalid):
            is_own = False
        if not is_own:
            raise Broken("a schema does not have the fingerprint of its subject")
        self.schemas[identity] = schema

    def check_place(self, record):
        stream, sequence = record["stream"], record["sequence"]
        if stream not in self.header["created"]:
            raise Broken("the header does not name its stream")
        if self.counts.get(stream, 0) >= MOST_RECORDS.get(stream, 2**53):
            raise Broken("its stream has too many records")
        if stream == SCHEMAS:
            return
        if sequence == 0:
            raise Broken("no message has the sequence 0")
        if stream not in STREAMS or STREAMS.index(stream) < self.stream:
            raise Broken("its stream is out of order")
        if STREAMS.index(stream) == self.stream and sequence <= self.sequence:
            raise Broken("its sequence is out of order")
        self.stream, self.sequence = STREAMS.index(stream), sequence
        if stream != "VIOLATIONS":
            return
        if not self.header["from"] <= record["storedAt"] <= self.header["until"]:
            raise Broken("it is out of range")
        words = record["subject"].split(".")
        name = words[4] if len(words) == 6 else ""
        if self.nodes is not None and name not in self.nodes:
            raise Broken("it is of another node")
        self.missing.discard(sequence)

    def check_proof(self, record, entry):
        if record["stream"] not in LOGGED:
            need("proof" not in record, "a record of this stream has no proof")
            return
        if "proof" not in record:
            self.without += 1
            return
        index, hashes, note = parse_proof(record["proof"])
        if self.note is None:
            self.note, self.log_head = note, parse_checkpoint(note.rpartition("\n\n")[0] + "\n")
        if note != self.note:
            self.fail("log-head", "the proofs have different heads")
        elif root_by(sha256(b"\x00" + entry), index, self.log_head["size"], hashes) != self.log_head["root"]:
            self.fail("inclusion", f"{record['stream']} {record['sequence']}")

    def conclude(self):
        envelope, payload, statement = self.envelope
        predicate, subject = statement["predicate"], statement["subject"][0]
        if envelope["payloadType"] != "application/vnd.in-toto+json":
            self.fail("format", "another payloadType")
        self.decide("format", "PASS")
        self.check_signature(envelope, payload)
        if {**predicate["records"], **self.counts} != {**self.counts, **predicate["records"]}:
            self.fail("records", "the numbers of records differ")
        if any(count and not self.counts.get(stream) for stream, count in predicate["records"].items()):
            self.fail("records", "a stream has no records")
        if any(stream not in predicate["records"] for stream in self.counts):
            self.fail("records", "the statement lacks a stream")
        self.decide("records", "PASS")
        self.decide("content", "PASS", self.redacted and f"{self.redacted} are redacted: their content is the exporter's word")
        name = f"bailiff-verdict-{self.header['verdictId']}"
        if subject["name"] != name or subject["digest"]["sha256"] != self.digest.hexdigest():
            self.fail("digest", "name or digest differ")
        self.decide("digest", "PASS")
        self.check_log(predicate["log"])
        identity = self.header["verdictId"]
        if len(self.verdicts) != 1 or self.verdicts[0]["verdictId"] != identity:
            self.fail("verdict", "not one verdict of this id")
        self.decide("verdict", "PASS")
        if self.missing:
            self.fail("evidence", f"frames are missing: {sorted(self.missing)}")
        if self.verdicts:
            self.decide("evidence", "PASS")
        if any(response["verdictId"] != identity for response in self.responses):
            self.fail("responses", "one is to another verdict")
        self.decide("responses", "PASS")
        self.decide("judged", "SKIP", "needs the engine of Bailiff")

    def check_signature(self, envelope, payload):
        if self.key is None:
            return self.decide("signature", "SKIP", "needs the exporter's public key")
        if not envelope["signatures"]:
            return self.fail("signature", "the statement has no signature")
        kind = envelope["payloadType"].encode()
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
        keyid = sha256(self.key).hex()
        if any(one["keyid"] == keyid and is_signed(self.key[-32:], message, decoded(one["sig"]))
               for one in envelope["signatures"]):
            return self.decide("signature", "PASS")
        return self.fail("signature", "this key did not sign the statement")

    def check_log(self, stated):
        head = self.log_head
        if stated is None and self.note is None:
            for name in ("log-head", "witness", "inclusion", "consistency"):
                self.decide(name, "SKIP", "needs a log")
            if self.log_keys:
                self.fail("log-head", "no record has a proof")
            return
        if stated is None or head is None:
            self.fail("log-head", "proofs without a log in the statement, or the reverse")
            return
        if self.without:
            self.fail("inclusion", f"{self.without} records have no proof")
        self.decide("inclusion", "PASS")
        if stated != {**head, "root": base64.b64encode(head["root"]).decode()}:
            self.fail("log-head", "the head is not that of the statement")
        if not self.log_keys:
            self.decide("log-head", "SKIP", "needs the verifier key of the log")
        elif open_note(self.note, [key for key in self.log_keys if key[0] == head["origin"]]) is None:
            self.fail("log-head", "no key of the log signed the head")
        self.other.setdefault("log-head", ("PASS", ""))
        self.check_witnesses()
        self.check_known(head)

    def check_witnesses(self):
        found = [is_cosigned(self.note, name, key) for name, key in self.witness_keys]
        if False in found:
            return self.fail("witness", "a cosignature is not valid")
        if not found or None in found:
            return self.decide("witness", "SKIP", "needs a cosignature: the producer of the log alone vouches")
        return self.decide("witness", "PASS")

    def check_known(self, head):
        if self.known is None:
            return self.decide("consistency", "SKIP", "needs a head of the log that you kept")
        text = open_note(self.known, self.log_keys)
        try:
            known = parse_checkpoint(text) if text is not None else None
        except Invalid:
            known = None
        if known is None or known["origin"] != head["origin"]:
            return self.fail("consistency", "the known head is not of this log")
        if known["size"] != head["size"]:
            return self.decide("consistency", "SKIP", "needs a proof between the two sizes")
        if known["root"] != head["root"]:
            return self.fail("consistency", "the log has two heads of this size")
        return self.decide("consistency", "PASS")


def lines_in(path):
    with open(path, "rb") as file:
        for line in iter(lambda: file.readline(MAX_LINE + 1), b""):
            need(line.endswith(b"\n"), "the line is too long, or has no end")
            try:
                yield line[:-1].decode()
            except UnicodeDecodeError as error:
                raise Invalid("not UTF-8") from error


def public_key(path):
    """DER of the SubjectPublicKeyInfo in a PEM file."""
    with open(path, encoding="ascii") as file:
        der = base64.b64decode("".join(line.strip() for line in file if "-----" not in line))
    if len(der) != 44 or not der.startswith(bytes.fromhex("302a300506032b6570032100")):
        raise SystemExit(f"{path} is not a public Ed25519 key in PEM")
    return der


def main():
    parser = argparse.ArgumentParser(description="verifies a file of evidence of Bailiff")
    parser.add_argument("file", help="as `bailiff evidence export` writes it")
    parser.add_argument("--key", help="public key of the exporter (Ed25519, PEM)")
    parser.add_argument("--log-key", action="append", default=[], help="verifier key of the log")
    parser.add_argument("--witness-key", action="append", default=[], help="verifier key of a witness")
    parser.add_argument("--head", help="a head of the log that you kept")
    flags = parser.parse_args()
    known = None
    if flags.head:
        with open(flags.head, encoding="utf-8") as file:
            known = file.read()
    verifier = Verifier(public_key(flags.key) if flags.key else None, map(parse_log_key, flags.log_key), known,
                        [parse_log_key(text, 4) for text in flags.witness_key])
    outcomes = verifier.verify(lines_in(flags.file))
    for name, outcome, detail in outcomes:
        print(f"{outcome}  {name:12} {ascii(detail)[1:-1]}".rstrip())
    sys.exit(10 if any(one[1] == "FAIL" for one in outcomes) else 11)


if __name__ == "__main__":
    main()
