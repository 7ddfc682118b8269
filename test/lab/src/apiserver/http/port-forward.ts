/**
 * `pods/portforward` by WebSocket, with the framing of a kubelet: each message begins with its
 * channel, 0 for data and 1 for errors, and the first message of each has the port's number. As on a
 * real server, a WebSocket is a GET, and needs the verb `create` too (Kubernetes 1.35).
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
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

/** URL of a runtime's streaming server for a port of a pod, as a kubelet gets it. */
export type StreamOfPod = (pod: KubeObject, port: number) => Promise<URL>;

interface Parts {
  tokens: Tokens;
  store: Store;
  portOfPod: PortOfPod;
  /** In place of `portOfPod`: the upgrade is passed on, as the API server and the kubelet do. */
  streamOfPod?: StreamOfPod | undefined;
}

/** Listener for the server's 'upgrade' event. */
export function portForwards({ tokens, store, portOfPod, streamOfPod }: Parts) {
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(PROTOCOL) ? PROTOCOL : false),
  });

  const targetOf = (request: IncomingMessage): { pod: KubeObject; port: number } => {
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
    return { pod, port: Number(info.query.get('ports')) };
  };

  return (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    try {
      const { pod, port } = targetOf(request);
      if (streamOfPod) {
        streamOfPod(pod, port).then(
          (url) => passOn(request, socket, head, url),
          () => socket.destroy(),
        );
      } else sockets.handleUpgrade(request, socket, head, (client) => join(client, portOfPod(pod, port), port));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const body = JSON.stringify(error.toStatus());
      socket.end(
        `HTTP/1.1 ${error.httpStatus} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
    }
  };
}

/** The upgrade as it is, and then bytes. */
function passOn(
  { headers: { authorization: _own, ...headers } }: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  url: URL,
) {
  const upstream = httpRequest(url, { headers: { ...headers, host: url.host } });
  const end = () => {
    socket.destroy();
    upstream.destroy();
  };
  socket.on('error', end).on('close', end);
  upstream.on('error', end);
  upstream.on('response', end);
  upstream.on('upgrade', (response, peer, begun) => {
    const lines = Object.entries(response.headers).map(([name, value]) => `${name}: ${String(value)}`);
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`);
    socket.write(begun);
    peer.write(head);
    peer.on('error', end).on('close', end);
    peer.pipe(socket).pipe(peer);
  });
  upstream.end();
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
