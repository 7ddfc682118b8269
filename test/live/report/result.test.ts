import { describe, expect, it } from 'vitest';
import { type Counts, judged, problemsOf, summaryOf } from './result.ts';

const good: Counts = {
  vector: 'ipv4-source',
  control: { sent: 200, landed: 200 },
  guarded: { sent: 200, landed: 0, counted: 200 },
};

describe('problemsOf', () => {
  it('a dropped and exactly counted attack with a control that landed has no problem', () => {
    expect(problemsOf(good)).toEqual([]);
  });

  it.each<[string, Partial<Counts>, string]>([
    ['no control', { control: null }, 'ipv4-source: no control run'],
    ['a control that sent nothing', { control: { sent: 0, landed: 0 } }, 'ipv4-source: the control sent nothing'],
    [
      'a control that the network itself drops',
      { control: { sent: 200, landed: 3 } },
      'ipv4-source: 3 of 200 landed unguarded, so the control proves nothing',
    ],
    ['nothing sent', { guarded: { sent: 0, landed: 0, counted: 0 } }, 'ipv4-source: nothing was sent'],
    ['a packet that landed', { guarded: { sent: 200, landed: 1, counted: 200 } }, 'ipv4-source: 1 of 200 landed'],
    [
      'a packet that is not counted',
      { guarded: { sent: 200, landed: 0, counted: 199 } },
      'ipv4-source: the bus counts 199 of 200',
    ],
    [
      'a packet that is counted twice',
      { guarded: { sent: 200, landed: 0, counted: 201 } },
      'ipv4-source: the bus counts 201 of 200',
    ],
  ])('%s is a problem', (_name, change, problem) => {
    expect(problemsOf({ ...good, ...change })).toEqual([problem]);
  });
});

describe('judged', () => {
  it('passes with the sums of all attacks', () => {
    expect(judged([good, { ...good, vector: 'ipv6-source' }])).toMatchObject({
      status: 'passed',
      detail: '400 forged packets: 0 landed, 400 counted on the bus',
    });
  });

  it('fails with every problem', () => {
    const bad = { ...good, guarded: { sent: 200, landed: 2, counted: 198 } };
    expect(judged([good, bad])).toMatchObject({
      status: 'failed',
      detail: 'ipv4-source: 2 of 200 landed; ipv4-source: the bus counts 198 of 200',
    });
  });
});

describe('judged, when the network itself drops the frames', () => {
  const blocked = { ...good, control: { sent: 200, landed: 0 } };

  it('is skipped with exact counts', () => {
    expect(judged([blocked])).toMatchObject({
      status: 'skipped',
      detail: 'ipv4-source: the network itself drops this frame, 0 of 200 landed unguarded; all were counted',
    });
  });

  it('fails with any other problem', () => {
    const lost = { ...blocked, guarded: { sent: 200, landed: 0, counted: 199 } };
    expect(judged([lost]).status).toBe('failed');
    expect(judged([blocked, { ...good, control: null }]).status).toBe('failed');
  });
});

it('summaryOf counts results by status', () => {
  const result = { scenario: 'a', detail: '', counts: [], measured: {}, seconds: 1 };
  expect(
    summaryOf([
      { ...result, status: 'passed' },
      { ...result, status: 'skipped' },
      { ...result, status: 'passed' },
    ]),
  ).toEqual({ passed: 2, failed: 0, skipped: 1 });
});
