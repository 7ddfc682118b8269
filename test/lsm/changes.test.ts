// What changes while pods run: policies are flipped, the collector restarts, its programs are replaced. A task that is refused
// before and after is refused in every moment between, and what is counted is what was tried.
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { setOf } from '../../libs/runtime/src/testing.ts';
import { compileProgram } from '../vm/compile.ts';
import { withOtherError, withRenamedHook } from './harness/doctored.ts';
import { loadOwn } from './harness/loaded.ts';
import {
  type Container,
  countsAt,
  LOAD_TIMEOUT_MS,
  type Pod,
  prepareSubject,
  Rig,
  type Running,
} from './harness/rig.ts';

const PROCESSES = 3;
const FLIPS = 60;
/** Two loads of the programs, the verifier being emulated. */
const TAKEOVER_TIMEOUT_MS = 2 * LOAD_TIMEOUT_MS;

const rule = (name: string, action: 'block' | 'audit', ...paths: string[]): RuntimePolicyInput => ({
  rules: [{ name, action, file: { paths, operations: ['read'] } }],
});

interface Tally {
  readonly tried: number;
  readonly refused: number;
  readonly landed: number;
}

class Hammering {
  readonly #running: Running;

  constructor(container: Container, file: string) {
    this.#running = container.start(['/bin/hammer', String(PROCESSES), file]);
  }

  started(): Promise<void> {
    return this.#running.line('hammering');
  }

  async stop(): Promise<Tally> {
    this.#running.go();
    const code = await this.#running.exit();
    const found = /tried (\d+) refused (\d+) landed (\d+)/.exec(this.#running.lines.join('\n'));
    expect({ code, lines: this.#running.lines }).toMatchObject({ code: 0 });
    const [tried, refused, landed] = found!.slice(1).map(Number) as [number, number, number];
    return { tried, refused, landed };
  }
}

function containerOf(pod: Pod): Container {
  const container = pod.container();
  container.install(
    compileProgram(path.join(import.meta.dirname, 'programs/hammer.c'), { flags: ['-static'] }),
    '/bin/hammer',
  );
  for (const name of ['secret', 'plain']) writeFileSync(container.image(`/etc/${name}`), name);
  return container;
}

describe('policies', () => {
  it(
    'flip - while tasks are hammering, each operation is judged and counted by the one or the other set, none by neither',
    async () => {
      using rig = new Rig();
      const pod = rig.pod();
      const container = containerOf(pod);
      const sets = [
        setOf(rule('old', 'block', '/etc/secret')),
        setOf(rule('new', 'block', '/etc/secret', '/etc/plain')),
      ];
      const indexes = sets.map(() => rig.loaded.nextIndex());
      const subjects = sets.map((set, i) => prepareSubject(rig.loaded, indexes[i]!, set));
      const { pods } = rig.object.maps;
      pods.set(pod.uid, subjects[0]!);
      const denied = new Hammering(container, '/etc/secret');
      await denied.started();
      for (let i = 1; i <= FLIPS; i++) {
        pods.set(pod.uid, subjects[i % 2]!);
        // Lets the tasks run between two flips, for as long as the loop takes.
        await new Promise(setImmediate);
      }
      const tally = await denied.stop();
      expect(tally).toEqual({ tried: tally.tried, refused: tally.tried, landed: 0 });
      const [old, fresh] = sets.map((set, i) => countsAt(rig.object, indexes[i]!, set));
      expect((old!['old'] ?? 0) + (fresh!['new'] ?? 0)).toBe(tally.tried);
      expect(old!['old']).toBeGreaterThan(0);
    },
    LOAD_TIMEOUT_MS,
  );

  it(
    'control - what only one of the sets denies lands under the other',
    async () => {
      using rig = new Rig();
      const pod = rig.pod();
      const container = containerOf(pod);
      pod.apply(rule('old', 'block', '/etc/secret'));
      const hammering = new Hammering(container, '/etc/plain');
      await hammering.started();
      pod.apply(rule('new', 'block', '/etc/plain'));
      const subject = pod.subject();
      const { maps } = rig.object;
      await expect.poll(() => maps.counters(subject.counterBase, 1)[0], { timeout: 20_000 }).toBeGreaterThan(0n);
      const { landed, refused } = await hammering.stop();
      expect(landed).toBeGreaterThan(0);
      expect(pod.counts()).toEqual({ new: refused });
    },
    LOAD_TIMEOUT_MS,
  );
});

describe('taking over', () => {
  const linkNames = (pinDir: string): string[] => readdirSync(path.join(pinDir, 'runtime/links')).sort();

  it(
    'restart - keeps maps, links and counts, and no operation passes meanwhile',
    async () => {
      const loaded = loadOwn('restart');
      using rig = new Rig(loaded);
      const pod = rig.pod();
      const container = containerOf(pod);
      pod.apply(rule('secret', 'block', '/etc/secret'));
      const key = rig.object.maps.settings().hashKey;
      const links = linkNames(loaded.pinDir);
      const hammering = new Hammering(container, '/etc/secret');
      await hammering.started();
      // As one leaves it that was killed before its first link had its name.
      const pin = path.join(loaded.pinDir, 'runtime/links/handle_file_open');
      renameSync(pin, `${pin}-new`);
      const again = loaded.reopen();
      expect(again).toMatchObject({ reused: true, keptLinks: again.programs.length });
      expect(again.maps.settings().hashKey).toEqual(key);
      expect(linkNames(loaded.pinDir)).toEqual(links);
      const tally = await hammering.stop();
      expect(tally).toEqual({ tried: tally.tried, refused: tally.tried, landed: 0 });
      expect(again.maps.counters(pod.counterBase, 1)).toEqual([BigInt(tally.tried)]);
    },
    TAKEOVER_TIMEOUT_MS,
  );

  it(
    'upgrade - a changed program takes the place of the old one: no operation passes meanwhile, denials are counted once',
    async () => {
      const loaded = loadOwn('upgrade');
      using rig = new Rig(loaded);
      const pod = rig.pod();
      const container = containerOf(pod);
      pod.apply(rule('secret', 'block', '/etc/secret'));
      const hammering = new Hammering(container, '/etc/secret');
      await hammering.started();
      const links = linkNames(loaded.pinDir);
      const dir = path.join(loaded.pinDir, 'runtime/links');
      renameSync(path.join(dir, 'handle_path_chroot'), path.join(dir, 'handle_that_is_no_more'));
      const again = loaded.reopen({ objectPath: withOtherError('lsm/file_open') });
      expect(again.reused).toBe(true);
      expect(again.keptLinks).toBe(again.programs.length - 2);
      expect(linkNames(loaded.pinDir)).toEqual(links);
      const tally = await hammering.stop();
      expect(tally).toEqual({ tried: tally.tried, refused: tally.tried, landed: 0 });
      expect(again.maps.counters(pod.counterBase, 1)).toEqual([BigInt(tally.tried)]);
      // The one that is in force now is the changed one.
      expect(await container.acts('map-plain', '/etc/secret')).toEqual(['map-plain /etc/secret: EACCES']);
    },
    TAKEOVER_TIMEOUT_MS,
  );

  it(
    'missing hook - a program that this kernel has no place for is left out and named, the others hold',
    async () => {
      const loaded = loadOwn('missing', { objectPath: withRenamedHook('lsm/path_chroot', 'lsm/path_chrooo') });
      using rig = new Rig(loaded);
      const missing = rig.object.programs.filter((program) => program.missing !== null);
      expect(missing).toEqual([
        expect.objectContaining({
          ...{ name: 'handle_path_chroot', section: 'lsm/path_chrooo', instructions: 0 },
          missing: 'the kernel has no hook path_chrooo',
        }),
      ]);
      expect(existsSync(path.join(loaded.pinDir, 'runtime/links/handle_path_chroot'))).toBe(false);
      const pod = rig.pod();
      const container = containerOf(pod);
      pod.apply(rule('secret', 'block', '/etc/secret'));
      expect(await container.acts('map-plain', '/etc/secret', 'map-plain', '/etc/plain')).toEqual([
        'map-plain /etc/secret: EPERM',
        'map-plain /etc/plain: ok',
      ]);
    },
    TAKEOVER_TIMEOUT_MS,
  );
});
