/**
 * Gives processes inside a node's namespace the lab's NATS server at 127.0.0.1:4222 without giving the namespace a route to the
 * host: a short-lived child enters the namespace, opens the listening socket there (a socket stays in the namespace
 * in which it was made) and hands it over; the supervisor joins each connection to the server on the host's loopback.
 */
import { spawn } from 'node:child_process';
import { connect, type Server, type Socket } from 'node:net';
import { LabError } from '../errors.ts';
import { labtoolArgs } from '../native-tool.ts';

/** NATS' usual port, as a node would have it. */
export const NODE_NATS_PORT = 4222;
export const NODE_NATS_URL = `nats://127.0.0.1:${NODE_NATS_PORT}`;
/** A node's collector has one connection; tools run by hand may add a few. */
const MAX_CONNECTIONS = 64;
/** A process that starts, on a busy machine. */
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
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    said = (said + chunk).slice(-2000);
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
      else reject(new LabError('LAB_NOT_READY', `relay in ${netns}: no socket (${status}) ${said.trim()}`));
    });
  });
}

export interface Relay {
  /** Connections carried since the start, for the lab's own status. */
  readonly carried: () => number;
  /** While down, connections are refused and live ones cut: the bus is away for this node alone. */
  setDown(down: boolean): void;
  /** From now on what clients say reaches the server and nothing comes back, until their connections end: acknowledgements are lost. */
  loseAnswers(): void;
  close(): Promise<void>;
}

/** @param targetPort of the server on the host's loopback; it may restart at any time */
export async function startRelay(labtool: string, netns: string, targetPort: number): Promise<Relay> {
  const server = await listenInside(labtool, netns);
  const sockets = new Set<Socket>();
  const answers = new Map<Socket, Socket>();
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
      // Either end may break at any time; the client reconnects, and this connection goes as a whole.
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        answers.delete(socket);
        other.destroy();
      });
    }
    answers.set(outside, inside);
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
      // Nobody reads them any more: they are gone with the connection.
      for (const [outside, inside] of answers) outside.unpipe(inside);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}
