// The siem-relay beside a bus that is restored from an older backup: new messages have the sequences of lost
// ones, whose events the SIEM has. Their events must have other uids, and repeated ones the same.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { readAll } from '../support/bus.ts';
import { launchApp } from '../support/process.ts';
import { NODE_A, violationOf, WEB, World } from './cli/world.ts';

const PATIENCE_MS = 60_000;

it.each([
  ['while the relay runs', true, 2],
  ['while it is stopped, and longer than its position', false, 8],
])(
  'restored %s - new events have uids that the SIEM does not have, repeated events theirs',
  async (_, runs, more) => {
    await using world = await World.start();
    const file = (name: string) => path.join(world.directory, name);
    for (const user of ['admin', 'siem-relay']) writeFileSync(file(user), `password-of-${user}`, { mode: 0o600 });
    const busOf = (user: string) => [
      ...['--nats-url', world.nats.url, '--nats-user', user, '--nats-password-file', file(user)],
    ];
    const admin = async (...args: string[]) => {
      const { exitCode, stdout, stderr } = await runCli([...args, ...busOf('admin')]);
      expect(exitCode, stderr).toBe(0);
      return stdout;
    };
    const launch = () => launchApp('siem-relay', [...busOf('siem-relay'), '--metrics-address', '127.0.0.1:0']);
    let frames = 0;
    const send = async (count: number) => {
      for (let n = 0; n < count; n++) {
        const counterEpoch = `boot/${++frames}`;
        await world.frame(NODE_A, [violationOf(Date.now() * 1000, WEB, { counterEpoch })]);
      }
    };
    const bus = await world.as('admin');
    /** By counter epoch, the uids of its events on the bus. */
    const uids = async () => {
      const found = new Map<string, string>();
      for (const { headers, data } of await readAll(bus, 'SIEM')) {
        const epoch = /boot\/\d+/.exec(Buffer.from(data).toString('utf8'))?.[0] ?? '';
        found.set(epoch, headers?.get('Bailiff-Uid') ?? '');
      }
      return found;
    };
    const until = (last: number) =>
      waitFor(uids, {
        what: `the event of frame ${last}`,
        timeoutMs: PATIENCE_MS,
        until: (found) => found.has(`boot/${last}`),
        state: uids,
      });

    const first = launch();
    await send(3);
    await until(3);
    await admin('backup', file('bus.tar'));
    await send(3);
    const before = await until(6);
    if (!runs) await first.kill('SIGTERM');
    await admin('restore', file('bus.tar'), '--replace', '--yes');
    await send(more);
    const second = runs ? first : launch();
    const after = await until(6 + more);
    const had = new Set(before.values());
    expect(had.size).toBe(6);
    for (const [epoch, uid] of after) expect([epoch, had.has(uid)]).toEqual([epoch, before.has(epoch)]);
    for (const [epoch, uid] of before) if (after.has(epoch)) expect(after.get(epoch)).toBe(uid);
    expect([...after.keys()], 'lost with the bus').not.toContain('boot/4');
    const replayed = await admin('replay', '--since', 'all', '--format', 'ocsf');
    for (const uid of after.values()) expect(replayed).toContain(uid);
    await second.kill('SIGTERM');
    const third = launch();
    await send(1);
    const last = await until(6 + more + 1);
    for (const [epoch, uid] of after) expect(last.get(epoch)).toBe(uid);
    await third.kill('SIGTERM');
  },
  180_000,
);
