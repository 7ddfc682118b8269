// A server of the bus whose clock was two days ahead and was set back: its streams have messages of the future.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { podRef } from '@bailiff/correlation/testing';
import type { Response } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { chooseClock, daysAhead } from '../../tools/clock/ahead.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';
import { acting, Rig } from './responder/rig.ts';

const users = testUsers([NODE_A, NODE_B]);
const [web, later, unlisted] = [podRef('web'), podRef('later'), podRef('unlisted')];

/** A server with a clock that is further ahead than the horizon of responses. */
async function startAhead(): Promise<TestNats> {
  const env: NodeJS.ProcessEnv = { BAILIFF_AHEAD: String(daysAhead(process.env) + 2) };
  chooseClock(env);
  const { LD_PRELOAD: before } = process.env;
  try {
    process.env['LD_PRELOAD'] = env['LD_PRELOAD'];
    return await startNats({ users });
  } finally {
    if (before === undefined) delete process.env['LD_PRELOAD'];
    else process.env['LD_PRELOAD'] = before;
  }
}

/** The same store under the present clock. */
async function setBack(nats: TestNats): Promise<TestNats> {
  await nats.kill();
  return startNats({ users, storeDir: nats.storeDir });
}

it('clock set back - a correlator that starts judges, also without further frames', async () => {
  await using ahead = await CorrelatorRig.start(await startAhead());
  await ahead.list(NODE_A, [web, later]);
  await ahead.settle();
  await ahead.spoof(NODE_A, web, 10);
  await using rig = await CorrelatorRig.start(await setBack(ahead.nats));
  await rig.correlator();
  await rig.verdictCount(1);
  // The server knows message ids of the future until then, and both rigs count from the same one on.
  await rig.spoof(NODE_A, web, 1);
  await rig.spoof(NODE_A, later, 10);
  await rig.verdictCount(2);
  await rig.spoof(NODE_A, unlisted, 10);
  await rig.list(NODE_A, [web, later, unlisted]);
  await rig.verdictCount(3);
  expect(rig.verdicts.map(({ groupKey }) => groupKey)).toEqual([web.uid, later.uid, unlisted.uid]);

  // Frames of the future come before those of the range.
  const file = (name: string): string => path.join(rig.directory, name);
  writeFileSync(file('cli.password'), 'password-of-cli', { mode: 0o600 });
  const env = { BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: file('cli.password') };
  const output = async (...words: string[]): Promise<string> => (await runCli(words, { env })).stdout;
  const exported = await output('evidence', 'export', `${rig.verdicts[1]?.verdictId}`, '--out', file('evidence'));
  expect(exported).toMatch(/PASS {2}judged .*give the same verdict id/);
  const soon = new Date(Date.now() + 600_000).toISOString();
  const events = await output('events', '-A', '--since', '1h', '--until', soon, '--json');
  expect(events).toContain(later.uid);
  expect(events).not.toContain(web.uid);
  const { check }: { check: object } = JSON.parse(await output('backtest', '--live', '--since', '1h', '--json'));
  expect(check).toMatchObject({ issued: 2, same: 2, vanished: [] });
});

it('clock set back - a responder that starts responds to later verdicts, also after responses of the future', async () => {
  const ended: Response['phase'][] = ['succeeded', 'refused', 'failed', 'dryrun'];
  await using ahead = await Rig.start(await startAhead());
  const former = await ahead.start();
  // The built-in policy: the rig cannot wait for its own under this clock.
  const early = await ahead.until(await ahead.verdict(ahead.pod(), { level: 'high' }), 'label', ended);
  expect(early.phase).toBe('dryrun');
  await former.stop();
  await using rig = await Rig.start(await setBack(ahead.nats));
  await rig.policies({ all: acting('all', [{ action: 'label' }]) });
  await rig.start();
  const done = await rig.until(await rig.verdict(rig.pod(), { rule: 'all' }), 'label', ended);
  expect(done).toMatchObject({ phase: 'succeeded', reasonCode: '' });
});
