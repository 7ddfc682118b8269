/**
 * Connections of the listener. A new one is always admitted: at the limit, it displaces an idle one of the
 * source with most of them. Only connections with a place are busy (a page, a reading, a trial, a change): a
 * client without rights, or without room, that does not read its response has an idle one. So a source that holds
 * connections keeps no visitor out and ends no open page.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ConnectionShares } from '@bailiff/service/connection-shares';

/** With TLS, a request has another socket object than its connection. */
const nameOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

/**
 * Call before requests are handled. @param onDisplaced an older connection was closed
 * @returns a function that keeps the connection of a request until its response is sent
 */
export function limitConnections(
  http: Server,
  most: number,
  onDisplaced: () => void,
): (request: IncomingMessage, response: ServerResponse) => void {
  const shares = new ConnectionShares<string>({ perSource: most, total: most, idleFirst: true });
  const open = new Map<string, Socket>();
  http.on('connection', (socket: Socket) => {
    const { localAddress, remoteAddress: source = '' } = socket;
    // With `route_localnet`, the kernel delivers packets of pods to 127.0.0.1.
    if (localAddress?.startsWith('127.') && !source.startsWith('127.')) return void socket.destroy();
    const name = nameOf(socket);
    // The end of the former connection of this port may not be noticed yet.
    shares.remove(source, name);
    const displaced = shares.add(source, name);
    if (displaced) {
      onDisplaced();
      open.get(displaced.connection)?.destroy();
    }
    open.set(name, socket);
    socket.once('close', () => {
      if (open.get(name) !== socket) return;
      open.delete(name);
      shares.remove(source, name);
    });
  });
  return ({ socket }, response) => {
    const [source, name] = [socket.remoteAddress ?? '', nameOf(socket)];
    shares.setBusy(source, name);
    response.once('close', () => shares.setBusy(source, name, false));
  };
}
