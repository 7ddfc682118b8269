/** A collector of a test's node, without a bus. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openPinnedMaps, type Vector } from '@bailiff/bpf';
import { writeCacheRecord } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { nodeArgs } from '../../../tools/children.ts';
import { launch, type RunningProcess } from '../../support/process.ts';
import { ATTACKER, type TestNode } from './node.ts';
import { command } from './processes.ts';

export interface StoredInterface {
  readonly generation: number;
  readonly conservationBase: number | null;
  readonly binding: { readonly podUid: string } | null;
  readonly packetsBeforeGuard: number;
  readonly occurrences: Readonly<Record<string, number>>;
}

/** A collector starts within it in an emulated machine. */
export const START_MS = 120_000;

/** Also reads what it has stored of the attacker's interface. */
export class Collector implements AsyncDisposable {
  readonly #node: TestNode;
  readonly #stateDir = mkdtempSync(path.join(tmpdir(), 'bailiff-state-'));
  readonly #process: RunningProcess;

  constructor(node: TestNode) {
    const flags = {
      ...{ 'node-name': 'node-a', 'nats-url': 'nats://127.0.0.1:1', runtime: 'off', 'metrics-address': '127.0.0.1:0' },
      ...{ 'bpf-dir': node.pinDir, 'state-dir': this.#stateDir, 'cni-results-dir': this.#stateDir },
      ...{ 'cgroup-root': '/proc/nonexistent', 'sweep-interval-ms': '250', 'unknown-grace-ms': '0' },
    };
    this.#node = node;
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
    const program = [process.execPath, ...nodeArgs('apps/collector/src/main.ts')];
    this.#process = launch('nsenter', [`--net=/run/netns/${node.netns}`, ...program, ...args]);
  }

  /** Runs `collector detach --all` or `collector attach`. */
  run(...words: string[]): Promise<string> {
    const args = [...nodeArgs('apps/collector/src/main.ts'), ...words, '--bpf-dir', this.#node.pinDir];
    return command(process.execPath, ...args, '--state-dir', this.#stateDir);
  }

  /** Waits for a part of its log. */
  printed(text: string): Promise<void> {
    return this.#process.printed(text, START_MS);
  }

  stored(): StoredInterface {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const dir = path.join(this.#stateDir, boot);
    const { ifindex } = this.#node.pods.attacker;
    const generationOf = (file: string) => Number(file.split(/[-.]/)[1]);
    const files = existsSync(dir) ? readdirSync(dir).filter((file) => file.startsWith(`${ifindex}-`)) : [];
    const name = files.sort((a, b) => generationOf(a) - generationOf(b)).at(-1);
    const none = { generation: 0, conservationBase: null, binding: null, packetsBeforeGuard: -1, occurrences: {} };
    return name === undefined ? none : JSON.parse(readFileSync(path.join(dir, name), 'utf8'));
  }

  until(what: string, isWanted: (stored: StoredInterface) => boolean): Promise<StoredInterface> {
    const state = () => [this.stored(), this.#process.out()];
    return waitFor(() => this.stored(), { what, timeoutMs: START_MS, until: isWanted, state });
  }

  /** Waits until its programs have dropped this many frames. */
  async dropped(vector: Vector, frames: number): Promise<void> {
    const { generation } = this.stored();
    const read = () => {
      using open = openPinnedMaps(this.#node.pinDir);
      const cells = open?.maps.counters.read({ ifindex: this.#node.pods.attacker.ifindex, generation }) ?? [];
      return cells.reduce((sum, cell) => sum + (cell.vector === vector ? Number(cell.packets) : 0), 0);
    };
    await waitFor(read, { what: `${vector} drop`, until: (packets) => packets === frames });
  }

  /** The CNI plugins have recorded the pod. @param number of the pod: another one is newer */
  async bind(number = 1): Promise<StoredInterface> {
    const attachment = {
      ...{ conf: { cniVersion: '1.0.0', name: 'pods', plugins: [] }, ifName: 'eth0', containerId: `c${number}` },
      ...{
        podUid: `uid-${number}`,
        podNamespace: 'shop',
        podName: `web-${number}`,
        podAnnotations: {},
        cgroupParent: '/kubepods/pod1',
      },
    };
    const { hostInterface, hostMac, identity, netns } = this.#node.pods.attacker;
    const sides = [
      { name: hostInterface, mac: hostMac },
      { name: 'eth0', mac: identity.mac, sandbox: `/run/netns/${netns}` },
    ];
    const ips = [{ address: `${ATTACKER.ipv4}/24`, interface: 1 }];
    await writeCacheRecord(this.#stateDir, attachment, { cniVersion: '1.0.0', interfaces: sides, ips });
    return this.until('a bound interface', ({ binding, packetsBeforeGuard }) => {
      return binding?.podUid === `uid-${number}` && packetsBeforeGuard >= 0;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill();
    rmSync(this.#stateDir, { recursive: true });
  }
}
