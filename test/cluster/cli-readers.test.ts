/**
 * Commands whose reader closes the pipe, or whose output cannot be written: the real program, on
 * pipes.
 */
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readConfig } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { startCli } from './cli/process.ts';
import { CART, healthyStatus, NODE_A, publishStory, violationOf, WEB, World } from './cli/world.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

let world: World;
beforeAll(async () => {
  world = await World.start();
  await publishStory(world);
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** Runs without a reader of stdout and stderr. @returns the exit code */
async function unread(words: readonly string[]): Promise<number | null> {
  const { child, ended } = startCli(world, words);
  child.stdout?.destroy();
  child.stderr?.destroy();
  return (await ended).code;
}

describe('a reader that closes the pipe', () => {
  it('every command that changes something - runs to its end, with its own exit code', async () => {
    await world.status(healthyStatus(NODE_A));
    const admin = await world.as('admin');
    const revision = async (key: string) => (await readConfig(admin, key))?.revision ?? null;
    const [spoof, policy] = ['spoof.namespace.shop.default', 'runtime.cluster._.no-shell'];
    const tree = path.join(world.directory, 'tree');
    const file = path.join(world.directory, 'no-shell.yaml');
    writeFileSync(file, readFileSync(path.join(ROOT, 'policies/no-shell.yaml')));
    await world.cli(['config', 'set', spoof, 'modes.tunnel=audit', '--yes']);
    await world.cli(['config', 'export', tree]);
    const now = (key: string) => () => revision(key);
    const disarmed = async () => (await readConfig(admin, 'disarm.cluster._.all')) !== null;
    const quarantined = async () => (await world.cli(['quarantine', 'list', '--json'])).stdout.includes(CART.uid);
    // In order: each builds on the ones before it.
    const changes: [string[], () => Promise<unknown>, unknown][] = [
      [['config', 'set', spoof, 'modes.tunnel=off'], now(spoof), 2],
      [['config', 'rollback', spoof], now(spoof), 3],
      [['config', 'delete', spoof], now(spoof), null],
      [['config', 'import', tree], now(spoof), 4],
      [['policy', 'apply', file], now(policy), 1],
      [['policy', 'delete', 'no-shell'], now(policy), null],
      [['policy', 'rollback', 'no-shell'], now(policy), 2],
      [['disarm', '--all', '--for', '1h', '--reason', 'reader'], disarmed, true],
      [['quarantine', 'release', 'shop/cart-1'], quarantined, false],
    ];
    for (const [words, state, wanted] of changes) {
      expect([words, await unread([...words, '--yes']), await state()]).toEqual([words, 0, wanted]);
    }
    // A refused command still exits with its error.
    expect(await unread(['config', 'set', spoof, 'modes.tunnel=perhaps', '--yes'])).toBe(6);
  });

  it('follow - ends with its reader', async () => {
    const { child, output, ended } = startCli(world, ['events', '--follow', '--json']);
    await waitFor(() => output() !== '', { what: 'the first row', state: output });
    child.stdout?.destroy();
    await world.frame(NODE_A, [violationOf(world.t0Micros, WEB, { counterEpoch: 'boot/2' })]);
    expect((await ended).code).toBe(0);
  });

  it('status --watch - ends with its reader', async () => {
    const { child, output, ended } = startCli(world, ['status', '--watch']);
    await waitFor(() => output().includes('on the bus:'), { what: 'the first status', state: output });
    child.stdout?.destroy();
    expect((await ended).code).toBe(0);
  });

  it('output that is lost for another reason - is an error, and the exit code is not 0', async () => {
    const { child, ended } = startCli(world, ['config', 'get', 'spoof.cluster._.default'], {
      stdout: openSync('/dev/full', 'w'),
    });
    expect(child.stdout).toBeNull();
    const { code, stderr } = await ended;
    expect([code, stderr]).toEqual([7, expect.stringMatching(/bailiff: cannot write the output: ENOSPC/)]);
  });

  it('Secrets of which the disk has room for a part - are an error too, also if nothing is written afterwards', async () => {
    const out = path.join(world.directory, 'credentials');
    const whole = await runCli(['credentials', 'init', '--out', out, '--kubernetes']);
    await using disk = await SmallDisk.mount();
    const file = path.join(disk.place, 'secrets.yaml');
    const written = async () => {
      const words = ['credentials', 'render', '--out', out, '--kubernetes'];
      const { code, stderr } = await startCli(world, words, { stdout: openSync(file, 'w') }).ended;
      return { code, isWhole: readFileSync(file, 'utf8') === whole.stdout, stderr };
    };
    writeFileSync(path.join(disk.place, 'filler'), Buffer.alloc(disk.freeBytes - 8_192));
    expect(await written()).toEqual({
      code: 7,
      isWhole: false,
      stderr: expect.stringMatching(/bailiff: cannot write the output: ENOSPC/),
    });
    disk.makeRoom();
    expect(await written()).toMatchObject({ code: 0, isWhole: true });
  });

  it('events - is no error', async () => {
    for (let frame = 0; frame < 40; frame += 1) {
      const violations = Array.from({ length: 60 }, (_, index) =>
        violationOf(world.t0Micros, WEB, { counterEpoch: `boot/${frame}/${index}` }),
      );
      await world.frame(NODE_A, violations);
    }
    const { child, ended } = startCli(world, ['events', '--json']);
    child.stdout?.once('data', () => child.stdout?.destroy());
    const { code, stderr } = await ended;
    expect([code, stderr]).toEqual([0, '']);
  });
});
