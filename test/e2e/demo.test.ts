/**
 * `npm run demo -- --json`: its numbers, its duration, and that it leaves nothing behind, also when
 * it is interrupted.
 */
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { whyNoVm } from '../vm/machine.ts';
import { startDemo, startDemoWith, tracesOf, tracesOfMachine, uniqueId } from './support.ts';

/** Two minutes after set-up, for the first act. */
const BUDGET_MS = 120_000;
/** The second act waits for an emulated processor: 90 seconds on an idle machine. */
const SECOND_ACT_MS = 900_000;

type Numbers = Record<string, number>;
/**
 * One verdict for each rule, pod and cooldown epoch. A run across the end of an epoch may have one
 * more, with or without a response by then.
 */
const COOLDOWN_MS = 600_000;
/**
 * Rules that the first act can match: repeated-spoofing, and spoofed-then-quarantine-breach if the
 * pod goes on spoofing after its deletion began, because its node then cuts it off.
 */
const NETWORK_RULES = 2;
/** How far the machine's clock may be from ours. */
const SKEW_MS = 60_000;
function expectAnswered(summary: unknown, begunAtMs: number, rules: number): void {
  const { verdicts, responses } = summary as Numbers;
  const epoch = (atMs: number) => Math.floor(atMs / COOLDOWN_MS);
  const ends = epoch(Date.now() + SKEW_MS) - epoch(begunAtMs - SKEW_MS);
  expect(verdicts).toBeGreaterThanOrEqual(1);
  expect(verdicts).toBeLessThanOrEqual(rules * (1 + ends));
  expect(responses).toBeGreaterThanOrEqual(3);
  expect(responses).toBeLessThanOrEqual(3 * verdicts!);
}
const lastLine = (output: string) => JSON.parse(output.trim().split('\n').at(-1)!) as Record<string, unknown>;

describe('demo', () => {
  /** Where the machine's files are; its processes name it. */
  let dir = '';
  beforeAll(() => {
    dir = temporaryDirectory();
  });

  it('first act - the last line holds the numbers, and they match the documentation', async () => {
    const id = uniqueId('m');
    const begun = performance.now();
    const begunAtMs = Date.now();
    const demo = startDemo('--json', '--act', '1', '--lab', id);
    expect(await demo.ended, demo.out()).toBe(0);
    expect(performance.now() - begun).toBeLessThan(BUDGET_MS);
    const summary = lastLine(demo.out());
    const { control, guarded, legit, latencyMs } = summary as Record<string, Numbers>;
    expect(Object.keys(summary)).toEqual([
      'control',
      'guarded',
      'legit',
      'verdicts',
      'responses',
      'deletedPods',
      'latencyMs',
      'runtime',
    ]);
    expect(control).toEqual({ sent: 200, landed: 200 });
    expect(guarded!['sent']).toBeGreaterThanOrEqual(10);
    expect(guarded!['dropped']).toBeGreaterThanOrEqual(guarded!['sent']!);
    expect(guarded!['countedOnBus']).toBeGreaterThanOrEqual(guarded!['dropped']!);
    expect(guarded!['landed']).toBe(0);
    expect(legit!['received']).toBe(legit!['sent']);
    expectAnswered(summary, begunAtMs, NETWORK_RULES);
    expect(summary).toMatchObject({ deletedPods: 1, runtime: { skipped: expect.stringContaining('--act 1') } });
    expect(latencyMs!['firstViolation']).toBeLessThan(latencyMs!['deleteCall']!);
    expect(tracesOf(id)).toEqual([]);
  });

  it('first act interrupted - in the middle of the attack it removes everything first', async () => {
    const id = uniqueId('i');
    const demo = startDemo('--lab', id);
    await demo.printed('Guarded run');
    demo.interrupt();
    expect(await demo.ended).toBe(130);
    expect(demo.out()).not.toContain('Second act');
    expect(tracesOf(id)).toEqual([]);
  });

  it(
    'second act - the escape lands without the policy; with it every attempt is blocked, counted and correlated, and the pod deleted',
    async (context) => {
      const why = whyNoVm();
      if (why !== null) return context.skip(why);
      const begunAtMs = Date.now();
      const demo = startDemoWith({ TMPDIR: dir }, '--json', '--act', '2');
      expect(await demo.ended, demo.out()).toBe(0);
      const summary = lastLine(demo.out());
      expect(summary).toMatchObject({ control: null, guarded: null, latencyMs: null });
      const runtime = summary['runtime'] as Record<string, Numbers>;
      const attempts = runtime['guarded']!['attempts']!;
      expect(attempts).toBeGreaterThanOrEqual(3);
      expect(runtime).toEqual({
        control: { attempts: 3, landed: 3 },
        guarded: { attempts, blocked: attempts, landed: 0, countedOnBus: attempts },
        verdicts: expect.any(Number),
        responses: expect.any(Number),
        deletedPods: 1,
      });
      expectAnswered(runtime, begunAtMs, 1);
      expect(tracesOfMachine(dir)).toEqual([]);
    },
    SECOND_ACT_MS,
  );

  it(
    'second act interrupted - the machine ends too',
    async (context) => {
      const why = whyNoVm();
      if (why !== null) return context.skip(why);
      const demo = startDemoWith({ TMPDIR: dir }, '--act', '2');
      // During the boot: what ends the machine is the same later, when 20 s more have passed.
      await waitFor(() => tracesOfMachine(dir).some((trace) => trace.startsWith('process')), {
        what: 'a process of the machine',
        timeoutMs: SECOND_ACT_MS / 2,
        state: demo.out,
      });
      demo.interrupt();
      expect(await demo.ended).toBe(130);
      expect(tracesOfMachine(dir)).toEqual([]);
    },
    SECOND_ACT_MS,
  );

  it('second act without its tools - prints the reason and how to install them', async () => {
    const demo = startDemoWith({ PATH: '/proc/nonexistent' }, '--json', '--act', '2');
    expect(await demo.ended, demo.out()).toBe(3);
    const { runtime } = lastLine(demo.out());
    expect(runtime).toEqual({ skipped: expect.stringMatching(/is not installed: scripts\/setup installs it/) });
  });
});
