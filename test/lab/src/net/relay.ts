/**
 * Makes the lab's NATS server reachable at 127.0.0.1:4222 in a node's namespace without a route to
 * the host. A short-lived child enters the namespace, opens the listening socket (a socket stays in
 * its namespace) and passes it over. The supervisor connects each client to the server on the
 * host's loopback.
 */
import { spawn } from 'node:child_process';
import { connect, type Server, type Socket } from 'node:net';
import { LabError } from '../errors.ts';
import { labtoolArgs } from '../native-tool.ts';

/** NATS' default port, as on a node. */
export const NODE_NATS_PORT = 4222;
export const NODE_NATS_URL = `nats://127.0.0.1:${NODE_NATS_PORT}`;
/** A node's collector has one connection; manual tools may add a few. */
const MAX_CONNECTIONS = 64;
/** Limit of a process start on a busy machine. */
const HANDOVER_TIMEOUT_MS = 60_000;

const LISTEN = `
  const server = require('node:net').createServer();
  server.on('error', (error) => { console.error(String(error)); process.exit(1); });
  server.listen({ host: '127.0.0.1', port: ${NODE_NATS_PORT}, backlog: ${MAX_CONNECTIONS} }, () =>
    process.send('listening', server));
  // A handed-over server stays open in both processes: this one must be gone before the first client comes.
  process.on('disconnect', () => process.exit(0));
`;

/** A server whose listening socket lives in the namespace. @throws LabError LAB_NOT_READY */
async function listenInside(labtool: string, netns: string): Promise<Server> {
  const child = spawn(labtool, labtoolArgs({ netns }, ['run', '--', process.execPath, '-e', LISTEN]), {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    detached: true,
  });
  let output = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    output = (output + chunk).slice(-2000);
  });
  return new Promise((resolve, reject) => {
    let server: Server | null = null;
    const timer = setTimeout(() => child.kill('SIGKILL'), HANDOVER_TIMEOUT_MS);
    child.on('error', (cause) =>
      reject(new LabError('LAB_NOT_READY', `relay in ${netns}: ${cause.message}`, { cause })),
    );
    child.on('message', (_, handle) => {
      server = handle as Server;
      child.disconnect();
    });
    child.on('exit', (status) => {
      clearTimeout(timer);
      if (server) resolve(server);
      else reject(new LabError('LAB_NOT_READY', `relay in ${netns}: no socket (${status}) ${output.trim()}`));
    });
  });
}

export interface Relay {
  /** Connections since the start. */
  readonly carried: () => number;
  /**
   * While down, connections are refused and open ones closed: the bus is unreachable for this node
   * only.
   */
  setDown(down: boolean): void;
  /**
   * From now on requests reach the server but responses are dropped until the connections end: acks
   * are lost.
   */
  loseAnswers(): void;
  close(): Promise<void>;
}

/** @param targetPort server port on the host's loopback; the server may restart */
export async function startRelay(labtool: string, netns: string, targetPort: number): Promise<Relay> {
  const server = await listenInside(labtool, netns);
  const sockets = new Set<Socket>();
  const replies = new Map<Socket, Socket>();
  let carried = 0;
  let down = false;
  server.maxConnections = MAX_CONNECTIONS;
  server.on('connection', (inside: Socket) => {
    if (down) return void inside.destroy();
    carried += 1;
    const outside = connect({ host: '127.0.0.1', port: targetPort });
    for (const [socket, other] of [
      [inside, outside],
      [outside, inside],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      // Either end may close at any time; both sides of the connection are then closed.
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        replies.delete(socket);
        other.destroy();
      });
    }
    replies.set(outside, inside);
    inside.pipe(outside).pipe(inside);
  });
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    carried: () => carried,
    setDown(value) {
      down = value;
      if (down) cut();
    },
    loseAnswers() {
      // Unread data is lost with the connection.
      for (const [outside, inside] of replies) outside.unpipe(inside);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}
