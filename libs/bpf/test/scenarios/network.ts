/**
 * Veths and further network namespaces for the scenarios in this folder. Everything is in the
 * child's own network namespace, or in one held by a process that ends with the child.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { waitFor } from '@bailiff/service/testing';
import { BpfError, dumpLinks } from '../../src/index.ts';

export function ip(...args: string[]): void {
  execFileSync('ip', args);
}

export function ifindexOf(name: string): number {
  const link = dumpLinks().find((candidate) => candidate.name === name);
  assert(link, `no interface ${name}`);
  return link.ifindex;
}

/** A network namespace, held by a process that ends when its standard input closes. */
export class Namespace implements Disposable {
  readonly pid: number;
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    assert(holder.pid !== undefined);
    this.pid = holder.pid;
    this.#holder = holder;
  }

  static async create(): Promise<Namespace> {
    const holder = spawn('unshare', ['-n', '--', 'cat'], { stdio: ['pipe', 'ignore', 'inherit'] });
    const namespace = new Namespace(holder);
    const own = readlinkSync('/proc/self/ns/net');
    await waitFor(() => readlinkSync(`/proc/${namespace.pid}/ns/net`) !== own, { what: 'a new network namespace' });
    return namespace;
  }

  run(command: string, ...args: string[]): { ok: boolean; output: string } {
    const done = spawnSync('nsenter', ['-t', String(this.pid), '-n', '--', command, ...args], { encoding: 'utf8' });
    return { ok: done.status === 0, output: `${done.stdout}${done.stderr}` };
  }

  [Symbol.dispose](): void {
    this.#holder.stdin?.end();
  }
}

/** Two ends of a wire in this namespace. */
export function addVeth(name: string, peer: string): number {
  ip('link', 'add', name, 'type', 'veth', 'peer', 'name', peer);
  return ifindexOf(name);
}

/**
 * Moves `peer` into the namespace and gives both ends an address of 192.0.2.0/30 (.1 here, .2
 * there).
 */
export function wire(name: string, peer: string, namespace: Namespace): void {
  ip('link', 'set', peer, 'netns', String(namespace.pid));
  ip('addr', 'add', '192.0.2.1/30', 'dev', name);
  ip('link', 'set', name, 'up');
  const there = namespace.run('sh', '-c', `ip addr add 192.0.2.2/30 dev ${peer} && ip link set ${peer} up`);
  assert(there.ok, there.output);
}

type Ping = (answered?: 'answered') => boolean;

/**
 * A veth whose far end is in a namespace, and a ping from there. A ping that should be answered
 * waits for the reply.
 */
export async function wired(): Promise<{ ifindex: number; ping: Ping; namespace: Namespace }> {
  const namespace = await Namespace.create();
  const ifindex = addVeth('va', 'vb');
  wire('va', 'vb', namespace);
  const ping: Ping = (answered) =>
    namespace.run('ping', '-c', '1', ...(answered ? ['-w', '20'] : ['-W', '1']), '192.0.2.1').ok;
  return { ifindex, namespace, ping };
}

/** Code and errno of the BpfError that the call throws; 'none' if it does not throw. */
export function failure(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    assert(error instanceof BpfError, String(error));
    return `${error.code} ${error.errnoName}`;
  }
  return 'none';
}
