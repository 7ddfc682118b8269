/**
 * Serves the CNI plugin on a unix socket that only root can use: its mode is 0600 from the start,
 * only root can write to its directory, and the credentials of each peer are checked. One request
 * per connection; its end is marked by the end of the peer's stream.
 *
 * A stale socket of an earlier process is replaced. `check()` on a slow timer listens again if the
 * socket was removed. Nothing throws after the construction.
 */

import { lstatSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { peerCredentials } from '@bailiff/bpf';
import type { OnProblem } from '../process/problem-log.ts';

/** The plugin reads at most 1 MiB and adds the environment. */
export const MAX_REQUEST_BYTES = 1536 * 1024;
/** A runtime starts few pods at the same time; the others retry. */
const MAX_CONNECTIONS = 128;
/** Limit of all requests that are not complete yet. */
const MAX_PENDING_BYTES = 16 * 1024 * 1024;
/** A peer that sends nothing for so long is disconnected. */
const IDLE_MS = 10_000;

export interface SocketServerOptions {
  path: string;
  /** Handles one request. @returns the answer, as text */
  handle(json: string): string;
  /** uid that may connect beside root. */
  ownUid: number;
  onProblem: OnProblem;
}

export class SocketServer {
  readonly #o: SocketServerOptions;
  readonly #connections = new Set<Socket>();
  #server: Server | null = null;
  /** null: there was no file after the call that creates it. */
  #inode: bigint | null = null;
  #pendingBytes = 0;
  #closed = false;

  constructor(options: SocketServerOptions) {
    this.#o = options;
  }

  listen(): void {
    const file = this.#o.path;
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    server.maxConnections = MAX_CONNECTIONS;
    server.on('error', (error) => {
      this.#o.onProblem('socket', `cannot serve ${file}: ${error.message}`, error);
      if (this.#server === server) this.#server = null;
    });
    // The socket is created during this call, with the mode that the mask leaves.
    const mask = process.umask(0o177);
    try {
      this.#prepare(file, mask);
      this.#server = server;
      server.listen(file);
      // Read at once: a socket that is removed before the next turn of the loop is noticed too.
      this.#inode = this.#inodeNow();
    } catch (error) {
      this.#o.onProblem('socket', `cannot serve ${file}: ${(error as Error).message}`, error);
    } finally {
      process.umask(mask);
    }
  }

  /**
   * Removes the socket of an earlier process. The directory keeps its mode, because others may use
   * it too.
   * @throws Error if the path is not safe
   */
  #prepare(file: string, mask: number): void {
    const dir = path.dirname(file);
    const inside = process.umask(mask);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    process.umask(inside);
    const { uid, mode } = statSync(dir);
    if (uid !== 0 && uid !== this.#o.ownUid) throw new Error(`${dir} belongs to user ${uid}: it must be root's`);
    if ((mode & 0o022) !== 0) throw new Error(`other users can write to ${dir}: choose a directory of its own`);
    const found = lstatSync(file, { throwIfNoEntry: false });
    if (found && !found.isSocket()) throw new Error('it exists and is no socket: remove it, or choose another path');
    rmSync(file, { force: true });
  }

  get isListening(): boolean {
    return this.#server?.listening === true;
  }

  /** Listens again if the socket is gone or another one took its place. */
  check(): void {
    if (this.#closed) return;
    if (this.#server?.listening !== true) {
      if (this.#server === null) this.listen();
      return;
    }
    if (this.#inode !== null && this.#inodeNow() === this.#inode) return;
    this.#o.onProblem('socket', `${this.#o.path} was removed: listening again`);
    this.#server.close();
    this.listen();
  }

  #inodeNow(): bigint | null {
    return lstatSync(this.#o.path, { bigint: true, throwIfNoEntry: false })?.ino ?? null;
  }

  #accept(socket: Socket): void {
    this.#connections.add(socket);
    socket.on('close', () => this.#connections.delete(socket));
    // The plugin may stop waiting at any time; it then counts the pod itself.
    socket.on('error', () => socket.destroy());
    if (!this.#mayConnect(socket)) {
      socket.destroy();
      return;
    }
    this.#readRequest(socket);
  }

  /** A peer that is disconnected at a limit asks again, within its own bound. */
  #readRequest(socket: Socket): void {
    const chunks: Buffer[] = [];
    let bytes = 0;
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    socket.on('close', () => {
      this.#pendingBytes -= bytes;
      bytes = 0;
    });
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      this.#pendingBytes += chunk.length;
      if (bytes > MAX_REQUEST_BYTES || this.#pendingBytes > MAX_PENDING_BYTES) socket.destroy();
      else chunks.push(chunk);
    });
    socket.on('end', () => {
      if (!socket.destroyed) socket.end(this.#o.handle(Buffer.concat(chunks).toString('utf8')));
    });
  }

  #mayConnect(socket: Socket): boolean {
    // Node has no call for the credentials of a peer.
    const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
    if (fd < 0) return false;
    try {
      const { uid, pid } = peerCredentials(fd);
      if (uid === 0 || uid === this.#o.ownUid) return true;
      this.#o.onProblem('socket', `process ${pid} of user ${uid} is not root: its connection was refused`);
    } catch (error) {
      this.#o.onProblem('socket', `cannot read the credentials of a peer: ${(error as Error).message}`, error);
    }
    return false;
  }

  /** Node removes the socket with its server. */
  close(): void {
    this.#closed = true;
    this.#server?.close();
    for (const socket of this.#connections) socket.destroy();
  }
}
