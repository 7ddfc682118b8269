// The collector's socket for the CNI plugin on real directories: who reaches it, and its limits.
import { chmodSync, existsSync, mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SocketServer } from './socket-server.ts';

describe('socket of the CNI plugin', () => {
  let dir = '';
  let problems: string[] = [];
  let servers: SocketServer[] = [];
  let handled: string[] = [];
  const file = () => path.join(dir, 'run/cni.sock');
  beforeEach(() => {
    dir = temporaryDirectory();
    [problems, servers, handled] = [[], [], []];
  });
  afterEach(() => {
    for (const server of servers) server.close();
  });

  const serve = (at = file()) => {
    const server = new SocketServer({
      path: at,
      ownUid: process.getuid?.() ?? 0,
      handle: (json) => {
        handled.push(json);
        return 'answer';
      },
      onProblem: (_, reason) => problems.push(reason),
    });
    servers.push(server);
    server.listen();
    return server;
  };
  const isServed = (server: SocketServer) => waitFor(() => server.isListening, { what: 'the socket' });
  /** @returns text of the answer; empty: the connection ended without one */
  const ask = (request: string | Buffer, at = file()) =>
    new Promise<string>((resolve) => {
      let text = '';
      const socket = connect({ path: at, allowHalfOpen: true }, () => socket.end(request));
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(text));
    });

  it('a new directory and the socket are for root alone, and the mask of the process is as before', async () => {
    const mask = process.umask();
    const server = serve();
    // Read before anything else runs: the socket never had another mode.
    expect([statSync(path.dirname(file())).mode & 0o777, statSync(file()).mode & 0o777]).toEqual([0o700, 0o600]);
    await isServed(server);
    expect(process.umask()).toBe(mask);
    expect(await ask('x')).toBe('answer');
    expect([handled, problems]).toEqual([['x'], []]);
  });

  it('an existing directory keeps its mode: other programs may use it', async () => {
    mkdirSync(path.dirname(file()));
    chmodSync(path.dirname(file()), 0o755);
    await isServed(serve());
    expect(statSync(path.dirname(file())).mode & 0o777).toBe(0o755);
  });

  it('a directory that others can write to is refused: they could replace the socket', () => {
    mkdirSync(path.dirname(file()));
    chmodSync(path.dirname(file()), 0o777);
    serve();
    expect(problems).toEqual([expect.stringMatching(/other users can write to/)]);
    expect(existsSync(file())).toBe(false);
  });

  it('a file or a link at the path is not removed; the socket of an earlier process is', async () => {
    mkdirSync(path.dirname(file()), { mode: 0o700 });
    writeFileSync(file(), 'data');
    serve();
    expect([problems, existsSync(file())]).toEqual([[expect.stringMatching(/is no socket/)], true]);
    rmSync(file());
    symlinkSync('/etc/hosts', file());
    serve();
    expect(problems).toHaveLength(2);
    rmSync(file());
    await isServed(serve());
    // A second server takes the path of the first, as after a crash.
    const second = serve();
    await isServed(second);
    expect(await ask('x')).toBe('answer');
  });

  it('a removed socket is served again by the next check', async () => {
    const server = serve();
    server.check();
    expect(problems, 'control: a check of a socket in place').toEqual([]);
    // Before the server reports that it listens, which is in the next turn of the loop.
    rmSync(file());
    server.check();
    expect(existsSync(file())).toBe(true);
    await isServed(server);
    expect(await ask('x')).toBe('answer');
    rmSync(file());
    server.check();
    await isServed(server);
    expect(await ask('x')).toBe('answer');
    expect(problems).toEqual([expect.stringMatching(/was removed/), expect.stringMatching(/was removed/)]);
  });

  it('a server that could not listen is served by the next check', async () => {
    mkdirSync(path.dirname(file()));
    chmodSync(path.dirname(file()), 0o777);
    const server = serve();
    expect(server.isListening).toBe(false);
    chmodSync(path.dirname(file()), 0o700);
    server.check();
    await isServed(server);
    expect(await ask('x')).toBe('answer');
  });

  it('a request above its limit ends the connection; one below it is answered', async () => {
    await isServed(serve());
    expect(await ask(Buffer.alloc(1024 * 1024, 'x')), 'control').toBe('answer');
    expect(await ask(Buffer.alloc(2 * 1024 * 1024, 'x'))).toBe('');
    expect(handled).toHaveLength(1);
  });

  it('unfinished requests have a common limit, after which others are answered again', async () => {
    await isServed(serve());
    const open: Socket[] = [];
    let closed = 0;
    for (let i = 0; i < 20; i += 1) {
      const socket = connect(file());
      socket.on('error', () => undefined);
      socket.on('close', () => {
        closed += 1;
      });
      socket.write(Buffer.alloc(1024 * 1024, 'x'));
      open.push(socket);
    }
    // 16 of 20 MiB are within the limit.
    await waitFor(() => closed >= 4, { what: 'the end of the connections above the limit' });
    for (const socket of open) socket.destroy();
    await waitFor(async () => (await ask('x')) === 'answer', { what: 'an answer' });
  });
});
