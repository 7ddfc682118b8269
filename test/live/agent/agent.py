"""Agent in the pods of the live suite: sends frames, counts marked frames, reports addresses.

`agent.py serve` is the main process. `agent.py call` passes one JSON request from stdin to it and
prints the reply. `agent.py once` sends its first packets, writes a report for the status of the pod,
and ends. It needs Python 3.8 and CAP_NET_RAW, and no packages.
"""
import errno
import json
import os
import socket
import struct
import sys
import threading
import time

SOCKET = "/tmp/bailiff-live.sock"
ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS, PACKET_OUTGOING = 263, 6, 4
RTM_GETROUTE, RTM_GETNEIGH = 26, 30
NLM_REQUEST, NLM_DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
FRAMES_BEFORE_A_CLOCK_READ = 16


def netlink(kind, flags, body):
    """Yields the bodies of the replies to one rtnetlink request."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as nl:
        nl.settimeout(5)
        nl.send(struct.pack("=IHHII", 16 + len(body), kind, NLM_REQUEST | flags, 1, 0) + body)
        while True:
            data = nl.recv(1 << 17)
            while len(data) >= 16:
                length, reply = struct.unpack("=IH", data[:6])
                if reply in (NLMSG_ERROR, NLMSG_DONE):
                    return
                yield data[16:length]
                data = data[(length + 3) & ~3:]
            if not flags & NLM_DUMP:
                return


def attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack("=HH", data[:4])
        if length < 4:
            break
        found[kind] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def next_hop(address):
    """The gateway towards an address, or the address itself; and the interface."""
    family = family_of(address)
    packed = socket.inet_pton(family, address)
    body = struct.pack("=BBBBBBBBI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += struct.pack("=HH", 4 + len(packed), 1) + packed
    for reply in netlink(RTM_GETROUTE, 0, body):
        found = attributes(reply[12:])
        gateway = found.get(5)
        index = struct.unpack("=I", found[4])[0] if 4 in found else 0
        return (socket.inet_ntop(family, gateway) if gateway else address), socket.if_indextoname(index)
    raise OSError("no route to " + address)


def neighbour(address):
    family = family_of(address)
    packed = socket.inet_pton(family, address)
    for reply in netlink(RTM_GETNEIGH, NLM_DUMP, struct.pack("=BBHiHBB", family, 0, 0, 0, 0, 0, 0)):
        found = attributes(reply[12:])
        if found.get(1) == packed and len(found.get(2, b"")) == 6:
            return ":".join("%02x" % byte for byte in found[2])
    return None


def resolve(address, timeout=5.0):
    """MAC of the next hop: a datagram to the discard port makes the kernel ask for it."""
    hop, _ = next_hop(address)
    end = time.monotonic() + timeout
    while True:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as udp:
            try:
                udp.sendto(b"", (address, 9))
            except OSError:
                pass
        found = neighbour(hop)
        if found or time.monotonic() > end:
            return {"nextHop": hop, "mac": found}
        time.sleep(0.05)


def statistic(name):
    with open("/sys/class/net/%s/statistics/%s" % (INTERFACE, name)) as file:
        return int(file.read())


def counters():
    return {name: statistic(name) for name in ("tx_packets", "tx_dropped", "rx_packets", "rx_dropped")}


class Watch:
    """Counts received frames by marker."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {}
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((INTERFACE, ETH_P_ALL))
        self.missed = 0

    def run(self):
        while True:
            frame, source = self.socket.recvfrom(1 << 16)
            if source[2] == PACKET_OUTGOING:
                continue
            with self.lock:
                for marker in self.counts:
                    if marker in frame:
                        self.counts[marker] += 1

    def report(self):
        _, drops = struct.unpack("=II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        with self.lock:
            self.missed += drops
            return {"counts": {marker.hex(): count for marker, count in self.counts.items()}, "missed": self.missed}

    def start(self, markers):
        with self.lock:
            for marker in markers:
                self.counts.setdefault(bytes.fromhex(marker), 0)


class Job:
    """Sends frames in turn, each `count` times, or without a limit until it is stopped."""

    def __init__(self, frames, count, rate):
        self.frames = [bytes.fromhex(frame) for frame in frames]
        self.count, self.rate = count, rate
        self.sent = [0] * len(frames)
        self.error = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
                out.bind((INTERFACE, 0))
                self.send(out)
        except OSError as error:
            self.error = str(error)

    def send(self, out):
        begin, total = time.monotonic(), 0
        while not self.stop.is_set() and (self.count is None or total < self.count * len(self.frames)):
            index = total % len(self.frames)
            try:
                out.send(self.frames[index])
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                time.sleep(0.001)
                continue
            self.sent[index] += 1
            total += 1
            if self.rate and total % FRAMES_BEFORE_A_CLOCK_READ == 0:
                ahead = begin + total / self.rate - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)

    def report(self):
        return {"sent": list(self.sent), "running": self.thread.is_alive(), "error": self.error, **counters()}


def first_act(spec):
    """Sends datagrams with a forged source as the first act of the pod; the kernel adds the link header."""
    six = family_of(spec["to"]) == socket.AF_INET6
    payload = bytes.fromhex(spec["marker"])
    datagram = struct.pack(">HHHH", 9, 9, 8 + len(payload), 0) + payload
    source, target = (socket.inet_pton(family_of(spec["to"]), spec[name]) for name in ("from", "to"))
    if six:
        packet = struct.pack(">IHBB", 6 << 28, len(datagram), 17, 64) + source + target + datagram
    else:
        packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0) + source + target + datagram
    with socket.socket(family_of(spec["to"]), socket.SOCK_RAW, socket.IPPROTO_RAW) as out:
        sent = 0
        for _ in range(spec["count"]):
            try:
                out.sendto(packet, (spec["to"], 0))
                sent += 1
            except OSError:
                pass
    return {"sent": sent, **counters()}


def once(spec):
    """The first act as the only one. The kernel holds the packets until it knows the next hop."""
    report = first_act(spec)
    resolve(spec["to"])
    with open("/dev/termination-log", "w") as file:
        json.dump(report, file)


class Server:
    def __init__(self):
        self.watch = Watch()
        threading.Thread(target=self.watch.run, daemon=True).start()
        self.jobs = {}
        spec = os.environ.get("LIVE_FIRST_ACT")
        self.first = first_act(json.loads(spec)) if spec else None

    def handle(self, request):
        op = request["op"]
        if op == "info":
            with open("/sys/class/net/%s/address" % INTERFACE) as file:
                mac = file.read().strip()
            return {"interface": INTERFACE, "mac": mac, "first": self.first, **counters()}
        if op == "resolve":
            return {address: resolve(address) for address in request["addresses"]}
        if op == "watch":
            self.watch.start(request["markers"])
            return self.watch.report()
        if op == "counts":
            return self.watch.report()
        if op == "send":
            before = counters()
            job = self.jobs[request["job"]] = Job(request["frames"], request.get("count"), request.get("rate"))
            if request.get("count") is not None and request.get("wait", True):
                job.thread.join()
            return {"before": before, **job.report()}
        if op == "job":
            return self.jobs[request["job"]].report()
        if op == "stop":
            job = self.jobs[request["job"]]
            job.stop.set()
            job.thread.join()
            return job.report()
        if op == "read":
            return {"error": read_error(request["path"])}
        if op == "list":
            return {"files": sorted(found for path in request["paths"] for found in below(path))}
        if op == "datagrams":
            return datagrams(request)
        raise ValueError("unknown request " + op)

    def serve(self):
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(SOCKET)
            listener.listen(16)
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection, connection.makefile("rw") as stream:
            try:
                reply = self.handle(json.loads(stream.readline()))
            except Exception as error:  # the caller gets it
                reply = {"failed": "%s: %s" % (type(error).__name__, error)}
            stream.write(json.dumps(reply) + "\n")


def read_error(path):
    try:
        with open(path, "rb") as file:
            file.read(1)
        return ""
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))


def below(path):
    if os.path.exists(path):
        yield path
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            yield os.path.join(folder, name)


def datagrams(request):
    """Honest traffic through the socket API, from the pod's own address."""
    family = family_of(request["to"])
    payload = bytes.fromhex(request["marker"])
    sent = 0
    with socket.socket(family, socket.SOCK_DGRAM) as out:
        for _ in range(request["count"]):
            try:
                out.sendto(payload, (request["to"], 9))
                sent += 1
            except ConnectionRefusedError:
                out.sendto(payload, (request["to"], 9))
                sent += 1
            time.sleep(0.001)
    return {"sent": sent}


def pod_interface():
    for address in ("192.0.2.1", "2001:db8::1"):
        try:
            return next_hop(address)[1]
        except OSError:
            continue
    return "eth0"


def call():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(SOCKET)
        with connection.makefile("rw") as stream:
            stream.write(json.dumps(json.loads(sys.stdin.read())) + "\n")
            stream.flush()
            sys.stdout.write(stream.readline())


if sys.argv[1:] == ["call"]:
    call()
elif sys.argv[1:] == ["once"]:
    INTERFACE = pod_interface()
    once(json.loads(os.environ["LIVE_FIRST_ACT"]))
else:
    INTERFACE = pod_interface()
    Server().serve()
