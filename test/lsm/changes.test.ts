// Changes while pods run: policies are flipped, the collector restarts, its programs are replaced.
// A task that is refused before and after is refused at every moment between, and the counts match
// the attempts.
import { mkdtempSync, readdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BpfLink, openRuntimeObject, type RuntimeObject } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setOf } from '../../libs/runtime/src/testing.ts';
import { recordedVersions, unpackCollector } from '../versions/recording.ts';
import { compileProgram } from '../vm/compile.ts';
import {
  EXEC_AND_OPEN_HOOKS,
  presentAmong,
  withHooksOnly,
  withOtherError,
  withRenamedHook,
} from './harness/doctored.ts';
import { loadOwn, type OwnLoaded } from './harness/loaded.ts';
import {
  type Container,
  countsAt,
  LOAD_TIMEOUT_MS,
  type Pod,
  prepareSubject,
  Rig,
  type Running,
} from './harness/rig.ts';

/** Of the adoption tests: two more for changed names. */
const HOOKS = [...EXEC_AND_OPEN_HOOKS, 'path_chown', 'path_chroot'];
const PROCESSES = 3;
const FLIPS = 60;
/** More than processors, so that most of them are interrupted at any moment. */
const CROWD = 8;
/**
 * Pause between two attempts of a task while programs are loaded; without it the tasks use all
 * processors. While programs change, the emulated kernel takes several times as long for each
 * attempt.
 */
const PAUSE_US = 1_000;
/** The first object is tried twice. */
const TAKEOVER_TIMEOUT_MS = 2 * LOAD_TIMEOUT_MS;

const rule = (name: string, action: 'block' | 'audit', ...paths: string[]): RuntimePolicyInput => ({
  rules: [{ name, action, file: { paths, operations: ['read'] } }],
});

/** Name, link and program of each pin. */
const pinnedLinks = (pinDir: string): (readonly [string, number, number])[] =>
  readdirSync(path.join(pinDir, 'runtime/links'))
    .sort()
    .map((name) => {
      using link = BpfLink.openPinned(path.join(pinDir, 'runtime/links', name));
      const { linkId, programId } = link.info();
      return [name, linkId, programId];
    });

interface Tally {
  readonly tried: number;
  readonly refused: number;
  readonly landed: number;
}

class Hammering {
  readonly #running: Running;

  constructor(container: Container, file: string, pauseUs = 0, processes = PROCESSES, ...mode: 'fork'[]) {
    this.#running = container.start(['/bin/hammer', String(processes), file, String(pauseUs), ...mode]);
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

function podUnder(rig: Rig, policy: RuntimePolicyInput): { pod: Pod; container: Container } {
  const pod = rig.pod();
  const container = containerOf(pod);
  pod.apply(policy);
  return { pod, container };
}

describe('policies', () => {
  // Each fork adds a state, and each end of a task deletes one, while others do the same.
  it.each([
    { name: 'tasks', mode: [] as 'fork'[], least: 10_000n },
    { name: 'children that live for one operation', mode: ['fork'] as 'fork'[], least: 1_000n },
  ])(
    'crowd - $name that interrupt each other anywhere: each keeps its pod, and no fork fails',
    async ({ mode, least }) => {
      using rig = new Rig();
      const { pod, container } = podUnder(rig, rule('secret', 'block', '/etc/secret'));
      const { maps } = rig.object;
      const before = maps.losses()['no-state'];
      const hammering = new Hammering(container, '/etc/secret', 0, CROWD, ...mode);
      await hammering.started();
      const enough = () => maps.counters(pod.counterBase, 1)[0]! >= least;
      await waitFor(enough, { what: `${least} operations`, timeoutMs: LOAD_TIMEOUT_MS / 2 });
      const tally = await hammering.stop();
      expect(tally).toEqual({ tried: tally.tried, refused: tally.tried, landed: 0 });
      expect(pod.counts()).toEqual({ secret: tally.tried });
      expect(maps.losses()['no-state']).toBe(before);
    },
    LOAD_TIMEOUT_MS,
  );

  it(
    'flip - while tasks are hammering, each operation is judged and counted by exactly one of the two sets',
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
        // Lets the tasks run between two flips, for one turn of the event loop.
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
    'control - an operation that only one of the sets denies lands under the other',
    async () => {
      using rig = new Rig();
      const { pod, container } = podUnder(rig, rule('old', 'block', '/etc/secret'));
      const hammering = new Hammering(container, '/etc/plain');
      await hammering.started();
      pod.apply(rule('new', 'block', '/etc/plain'));
      const subject = pod.subject();
      const { maps } = rig.object;
      const denied = () => maps.counters(subject.counterBase, 1)[0]! > 0n;
      await waitFor(denied, { what: 'a denial by the new set', timeoutMs: 20_000 });
      const { landed, refused } = await hammering.stop();
      expect(landed).toBeGreaterThan(0);
      expect(pod.counts()).toEqual({ new: refused });
    },
    LOAD_TIMEOUT_MS,
  );
});

it(
  'restart - the programs of all hooks: a second object keeps every link, and counts are not doubled',
  async () => {
    using rig = new Rig();
    const policies = [rule('secret', 'block', '/etc/secret'), rule('plain', 'audit', '/etc/plain')];
    const { pod, container } = podUnder(rig, { rules: policies.flatMap(({ rules = [] }) => rules) });
    const { pinDir } = rig.loaded;
    const before = pinnedLinks(pinDir);
    using again = openRuntimeObject({ pinDir });
    expect(again.reused).toBe(true);
    expect(pinnedLinks(pinDir)).toEqual(before);
    const present = again.programs.filter(({ missing }) => missing === null);
    expect(before.map(([name]) => name)).toEqual(present.map(({ name }) => name).sort());
    const done = await container.acts('map-plain', '/etc/secret', 'map-plain', '/etc/plain');
    expect(done).toEqual(['map-plain /etc/secret: EPERM', 'map-plain /etc/plain: ok']);
    // Two programs at a hook would count the audited operation twice; the first refusal ends a hook.
    expect(pod.counts()).toEqual({ secret: 1, plain: 1 });
  },
  LOAD_TIMEOUT_MS,
);

// The emulated verifier takes most of the time here. So these tests share one set of programs, with
// few hooks, and each starts from the current state.
describe('adoption', () => {
  const few = withHooksOnly(HOOKS);
  const objectPath = withRenamedHook('lsm/path_chroot', 'lsm/path_chrooo', few);
  let loaded: OwnLoaded;
  let rig: Rig;
  let first: { programs: RuntimeObject['programs']; links: string[] };
  const linkNames = (): string[] => readdirSync(path.join(loaded.pinDir, 'runtime/links')).sort();
  beforeAll(() => {
    loaded = loadOwn('takeover', { objectPath });
    rig = new Rig(loaded);
    first = { programs: loaded.object.programs, links: linkNames() };
  }, TAKEOVER_TIMEOUT_MS);
  afterAll(() => rig?.[Symbol.dispose]());

  const guarded = () => podUnder(rig, rule('secret', 'block', '/etc/secret'));

  it('missing hook - a program whose hook this kernel lacks is left out and named, the others hold', async () => {
    const missing = first.programs.filter((program) => program.missing !== null);
    expect(missing).toContainEqual(
      expect.objectContaining({
        name: 'handle_path_chroot',
        section: 'lsm/path_chrooo',
        instructions: 0,
        missing: 'the kernel has no hook path_chrooo',
      }),
    );
    // An older kernel lacks further hooks.
    expect(presentAmong(missing.map(({ section }) => section))).toEqual([]);
    expect(first.links).not.toContain('handle_path_chroot');
    expect(first.links).toHaveLength(first.programs.length - missing.length);
    const { container } = guarded();
    const [refused, passed] = await container.acts('map-plain', '/etc/secret', 'map-plain', '/etc/plain');
    expect([refused, passed]).toEqual([expect.stringMatching(/secret: E(PERM|ACCES)$/), 'map-plain /etc/plain: ok']);
  });

  // The next test upgrades from the last of them.
  it.each(recordedVersions())(
    'downgrade - the programs of %s replace newer ones: no operation passes meanwhile, denials are counted once',
    async (version) => {
      const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-recorded-'));
      expect(unpackCollector(version, directory)).toBe(true);
      const { pod, container } = guarded();
      // One slow task, as the load takes most of the time.
      const hammering = new Hammering(container, '/etc/secret', 10 * PAUSE_US, 1);
      await hammering.started();
      const recorded = withHooksOnly(HOOKS, path.join(directory, 'runtime.bpf.o'));
      const again = loaded.reopen({ objectPath: withRenamedHook('lsm/path_chroot', 'lsm/path_chrooo', recorded) });
      expect(again.reused).toBe(true);
      const tally = await hammering.stop();
      expect(tally).toEqual({ tried: tally.tried, refused: tally.tried, landed: 0 });
      expect(again.maps.counters(pod.counterBase, 1)).toEqual([BigInt(tally.tried)]);
    },
    TAKEOVER_TIMEOUT_MS,
  );

  it(
    'upgrade - a changed program replaces the old one: no operation passes meanwhile, denials are counted once',
    async () => {
      const { pod, container } = guarded();
      const hammering = new Hammering(container, '/etc/secret', PAUSE_US);
      await hammering.started();
      const dir = path.join(loaded.pinDir, 'runtime/links');
      renameSync(path.join(dir, 'handle_path_chown'), path.join(dir, 'handle_that_is_no_more'));
      const again = loaded.reopen({ objectPath: withOtherError('lsm/file_open', few) });
      expect(again.reused).toBe(true);
      // Not kept: the changed one, the one with a missing name, the one without a hook in the
      // release before, and those that differ from the recorded version.
      const present = again.programs.filter(({ missing }) => missing === null);
      expect(again.keptLinks).toBeLessThanOrEqual(present.length - 3);
      expect(linkNames()).toEqual(present.map(({ name }) => name).sort());
      const tally = await hammering.stop();
      expect(tally).toEqual({ tried: tally.tried, refused: tally.tried, landed: 0 });
      expect(again.maps.counters(pod.counterBase, 1)).toEqual([BigInt(tally.tried)]);
      // The changed program is in force now.
      expect(await container.acts('map-plain', '/etc/secret')).toEqual(['map-plain /etc/secret: EACCES']);
    },
    TAKEOVER_TIMEOUT_MS,
  );

  it(
    'restart - keeps maps, links and counts, and no operation passes meanwhile',
    async () => {
      const { pod, container } = guarded();
      const key = rig.object.maps.settings().hashKey;
      const links = linkNames();
      const hammering = new Hammering(container, '/etc/secret', PAUSE_US);
      await hammering.started();
      // As after a kill between attaching the first link and renaming its pin.
      const pin = path.join(loaded.pinDir, 'runtime/links/handle_file_open');
      renameSync(pin, `${pin}-new`);
      const again = loaded.reopen();
      expect(again).toMatchObject({ reused: true, keptLinks: links.length });
      expect(again.maps.settings().hashKey).toEqual(key);
      expect(linkNames()).toEqual(links);
      const tally = await hammering.stop();
      expect(tally).toEqual({ tried: tally.tried, refused: tally.tried, landed: 0 });
      expect(again.maps.counters(pod.counterBase, 1)).toEqual([BigInt(tally.tried)]);
    },
    TAKEOVER_TIMEOUT_MS,
  );

  it.each(['rt_sets', 'rt_settings'])(
    'a deleted pin - without %s the programs would use maps that no process can write: they are replaced, and a policy holds',
    async (name) => {
      unlinkSync(path.join(loaded.pinDir, 'runtime/maps', name));
      const again = loaded.reopen();
      expect(again).toMatchObject({ reused: name !== 'rt_settings', keptLinks: 0 });
      const { pod, container } = guarded();
      expect(await container.acts('map-plain', '/etc/secret', 'map-plain', '/etc/plain')).toEqual([
        expect.stringMatching(/secret: E(PERM|ACCES)$/),
        'map-plain /etc/plain: ok',
      ]);
      expect(pod.counts()).toEqual({ secret: 1 });
    },
    TAKEOVER_TIMEOUT_MS,
  );
});
