// One tenant's verdicts that wait for an approval, a delay or a cooldown: the responder goes on for
// its neighbours, and a refused task is recorded.

import { publishOnce, responseSubject } from '@bailiff/bus';
import { denialOf } from '@bailiff/response';
import { encodeResponse, type Response, type Verdict } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunningService } from '../support/service.ts';
import { acting, Rig } from './responder/rig.ts';

type Asked = [Verdict, Response];

describe('responder backlog', () => {
  const MOST = 8;
  let rig: Rig;
  beforeEach(async () => {
    rig = await Rig.start();
    for (const name of ['noisy', 'calm']) rig.api.api.create('namespaces', { metadata: { name } });
    await rig.policies({
      ask: acting('ask', [{ action: 'delete' }], { approval: 'required' }),
      later: acting('later', [{ action: 'label' }, { action: 'delete', after: '1h' }]),
      cool: acting('cool', [{ action: 'delete' }], { cooldown: '1h' }),
      cut: acting('cut', [{ action: 'quarantine' }]),
    });
  });
  afterEach(() => rig[Symbol.asyncDispose]());

  const about = (namespace: string, rule: string) => rig.verdict(rig.pod({ namespace }), { rule });
  /** One after the other, so that each is decided before the next one. */
  async function ask(namespace: string, count: number): Promise<Asked[]> {
    const asked: Asked[] = [];
    for (let index = 0; index < count; index++) {
      const verdict = await about(namespace, 'ask');
      asked.push([verdict, await rig.until(verdict, 'delete', ['pending', 'refused'])]);
    }
    return asked;
  }
  const untilOpen = (responder: RunningService, count: number) =>
    waitFor(async () => (await responder.metric('outstanding_verdicts')) === count, { what: `${count} open verdicts` });
  const phases = (asked: Asked[]) => asked.map(([, { phase }]) => phase);

  it('a tenant fills its share - further steps that would wait are refused, others run, neighbours get theirs', async () => {
    const first = await rig.start({}, { maxOutstanding: MOST });
    const noisy = await ask('noisy', MOST);
    expect(phases(noisy)).toEqual([...Array(4).fill('pending'), ...Array(4).fill('refused')]);
    expect(noisy.at(-1)?.[1]).toMatchObject({ reasonCode: 'backlog-full', apiVerb: '' });
    // Of the tenant: a delay is refused, the step before it is not, nor what acts at once.
    const delayed = await about('noisy', 'later');
    expect((await rig.until(delayed, 'delete', 'refused')).reasonCode).toBe('backlog-full');
    await rig.until(delayed, 'label', 'succeeded');
    await rig.until(await about('noisy', 'cut'), 'quarantine', 'succeeded');
    await untilOpen(first, 4);
    // Cooldown: the first deletion of an owner runs, the second one would wait.
    const owner = rig.replicaSet('web', 4);
    const [cooling, cooled] = [rig.pod({ owner }), rig.pod({ owner })];
    expect(phases(await ask('shop', 2))).toEqual(['pending', 'pending']);
    await rig.until(await rig.verdict(cooling, { rule: 'cool' }), 'delete', 'succeeded');
    const second = await rig.verdict(cooled, { rule: 'cool' });
    expect((await rig.until(second, 'delete', 'refused')).reasonCode).toBe('backlog-full');
    await untilOpen(first, 6);
    // A neighbour.
    expect(phases(await ask('calm', 1))).toEqual(['pending']);
    await rig.until(await about('calm', 'cut'), 'quarantine', 'succeeded');
    await untilOpen(first, 7);

    // A new responder, without the jobs: the same tasks wait, and none is refused or acted on again.
    const before = rig.responses.length;
    await first.stop();
    await rig.redis.flush();
    const next = await rig.start({}, { maxOutstanding: MOST });
    await untilOpen(next, 7);
    const [verdict, pending] = noisy[0] as Asked;
    const denial = denialOf(pending, { by: 'anna', nowMicros: Date.now() * 1000 });
    await publishOnce(rig.bus, responseSubject(denial), encodeResponse(denial));
    await rig.until(verdict, 'delete', 'refused');
    await untilOpen(next, 6);
    // Its place is free, for the one who has fewer.
    const [[refused], [asked]] = [...(await ask('noisy', 1)), ...(await ask('calm', 1))] as [Asked, Asked];
    expect([refused, asked].map((one) => rig.of(one).map(({ phase }) => phase))).toEqual([['refused'], ['pending']]);
    const since = rig.responses.slice(before).map(({ verdictId }) => verdictId);
    expect(since).toEqual([verdict, refused, asked].map(({ verdictId }) => verdictId));
  });

  it('control - with one place there is nothing to share: the neighbour’s step that would wait is refused', async () => {
    await rig.start({}, { maxOutstanding: 1 });
    expect(phases([...(await ask('noisy', 1)), ...(await ask('calm', 1))])).toEqual(['pending', 'refused']);
    // What acts at once does so.
    await rig.until(await about('calm', 'cut'), 'quarantine', 'succeeded');
  });
});
