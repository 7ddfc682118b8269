/** SCTP between the pods of a node. */
import type { TestNode } from './node.ts';
import { command } from './processes.ts';

/**
 * One process, because Node has no SCTP: listens in one namespace, connects from another, prints
 * the number of bytes in each direction.
 */
const SCRIPT = `
import ctypes, os, socket, sys, threading
receiver, attacker, address, size = sys.argv[1:]
family = socket.AF_INET6 if ':' in address else socket.AF_INET
data = b'x' * int(size)
def open_in(namespace):
    fd = os.open('/run/netns/' + namespace, os.O_RDONLY)
    if ctypes.CDLL(None).setns(fd, 0) != 0:
        raise RuntimeError('setns')
    os.close(fd)
    return socket.socket(family, socket.SOCK_STREAM, 132)
try:
    server = open_in(receiver)
except OSError:
    print('none')
    sys.exit()
server.bind((address, 0))
server.listen()
client = open_in(attacker)
client.settimeout(60)
client.connect(server.getsockname()[:2])
peer, _ = server.accept()
peer.settimeout(60)
def send(to):
    for at in range(0, len(data), 20000):
        to.send(data[at:at + 20000])
for sender, taker in ((client, peer), (peer, client)):
    thread = threading.Thread(target=send, args=(sender,))
    thread.start()
    received = b''
    while len(received) < len(data):
        received += taker.recv(65536)
    thread.join()
    print(len(received) if received == data else -1)`;

/**
 * Sends from the attacker to the receiver, then back. @returns the bytes that arrived; null: this
 * kernel has no SCTP
 */
export async function sendBySctp(node: TestNode, address: string, bytes: number): Promise<number[] | null> {
  const { attacker, receiver } = node.pods;
  const printed = await command('python3', '-c', SCRIPT, receiver.netns, attacker.netns, address, String(bytes));
  return printed.trim() === 'none' ? null : printed.trim().split('\n').map(Number);
}
