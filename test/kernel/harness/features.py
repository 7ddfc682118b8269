"""Switches offloads of an interface by name: features.py <interface> <name>=<on|off> ..."""

import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
GET_STRINGS, GET_COUNT, SET_FEATURES = 0x1B, 0x37, 0x3B
FEATURES = 4  # ETH_SS_FEATURES
NAME_BYTES = 32


def call(interface, request):
    buffer = array.array("B", request)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCETHTOOL, struct.pack("16sP", interface.encode(), buffer.buffer_info()[0]))
    return buffer.tobytes()


interface, *wanted = sys.argv[1:]
(count,) = struct.unpack_from("I", call(interface, struct.pack("IIQI", GET_COUNT, 0, 1 << FEATURES, 0)), 16)
head = struct.pack("III", GET_STRINGS, FEATURES, count)
names = call(interface, head + bytes(NAME_BYTES * count))[len(head) :]
bits = {names[at : at + NAME_BYTES].split(b"\0")[0].decode(): at // NAME_BYTES for at in range(0, len(names), NAME_BYTES)}
valid, value = 0, 0
for name, _, state in (one.partition("=") for one in wanted):
    # Older kernels lack some names.
    if name in bits:
        valid |= 1 << bits[name]
        value |= (state == "on") << bits[name]
words = (count + 31) // 32
pairs = [(number >> 32 * word) & 0xFFFFFFFF for word in range(words) for number in (valid, value)]
call(interface, struct.pack(f"II{2 * words}I", SET_FEATURES, words, *pairs))
