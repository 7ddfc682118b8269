/**
 * `pods/portforward` by WebSocket, with the framing of a kubelet: each message begins with its
 * channel, 0 for data and 1 for errors, and the first message of each has the port's number. As on a
 * real server, a WebSocket is a GET, and needs the verb `create` too (Kubernetes 1.35).
 */
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Tokens } from '../access/auth.ts';
import { forbidden, mayDo } from '../access/users.ts';
import { ApiError, badRequest, notFound } from '../errors.ts';
import { parseRequest } from '../request/path.ts';
import type { Store } from '../store/store.ts';
import { keyOf } from '../store/store.ts';
import type { KubeObject } from '../types.ts';

const PROTOCOL = 'v4.channel.k8s.io';

export interface Target {
  host: string;
  port: number;
}

/** Where a port of a pod is on this machine. */
export type PortOfPod = (pod: KubeObject, port: number) => Target;

export const atPodAddress: PortOfPod = ({ status }, port) => ({
  host: String((status as { podIP?: string } | undefined)?.podIP ?? ''),
  port,
});

interface Parts {
  tokens: Tokens;
  store: Store;
  portOfPod: PortOfPod;
}

/** Listener for the server's 'upgrade' event. */
export function portForwards({ tokens, store, portOfPod }: Parts) {
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(PROTOCOL) ? PROTOCOL : false),
  });

  const targetOf = (request: IncomingMessage): { at: Target; port: number } => {
    const info = parseRequest(request.method ?? 'GET', request.url ?? '/');
    const user = tokens.identify(request.headers.authorization);
    if (info?.kind !== 'resource' || info.resource !== 'pods' || info.subresource !== 'portforward') {
      throw badRequest('only pods/portforward can be upgraded');
    }
    for (const verb of ['get', 'create'] as const) {
      if (!mayDo(user, { ...info, verb })) throw forbidden(user, { ...info, verb });
    }
    const pod = store.get('pods', keyOf(info.namespace, info.name));
    if (pod === undefined) throw notFound({ kind: 'Pod', plural: 'pods', group: '' }, info.name);
    const port = Number(info.query.get('ports'));
    return { at: portOfPod(pod, port), port };
  };

  return (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    try {
      const { at, port } = targetOf(request);
      sockets.handleUpgrade(request, socket, head, (client) => join(client, at, port));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const body = JSON.stringify(error.toStatus());
      socket.end(
        `HTTP/1.1 ${error.httpStatus} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
    }
  };
}

function join(client: WebSocket, { host, port: targetPort }: Target, port: number): void {
  const number = Buffer.alloc(2);
  number.writeUInt16LE(port);
  const send = (channel: number, data: Buffer) =>
    client.send(Buffer.concat([Buffer.of(channel), data]), () => undefined);
  send(0, number);
  send(1, number);
  const target = connect(targetPort, host);
  target.on('data', (data: Buffer) => send(0, data));
  target.on('error', (error) => send(1, Buffer.from(`error forwarding port ${port} to pod: ${error.message}`)));
  target.on('close', () => client.close());
  client.on('message', (message) => {
    if (message[0] === 0) target.write(message.subarray(1));
  });
  client.on('close', () => target.destroy());
  client.on('error', () => target.destroy());
}
