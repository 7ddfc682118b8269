import type { ServiceStatus } from '@bailiff/answer';
import { describe, expect, it } from 'vitest';
import { correlatorGone, responderGone, serviceProblems, servicesLine, whyUnanswered } from './services.ts';

const AT = 1_790_000_000_000;
const correlator = { readers: 1, newestFrameAtMs: AT - 1_000, newestVerdictAtMs: AT - 9_000, newestVerdictDelayMs: 34 };
const responder = {
  readers: 1,
  newestResponseAtMs: AT - 8_000,
  due: 3,
  unanswered: 0,
  oldestUnansweredAtMs: null,
  unansweredIds: [],
};
function status(part: {
  correlator?: Partial<ServiceStatus['correlator']>;
  responder?: Partial<ServiceStatus['responder']>;
}): ServiceStatus {
  return {
    atMs: AT,
    cut: false,
    correlator: { ...correlator, ...part.correlator },
    responder: { ...responder, ...part.responder },
  };
}
const ID = '5f1d3c7a9b2e4d60aa11bb22cc33dd44';
const waiting = { unanswered: 1, oldestUnansweredAtMs: AT - 45_000, unansweredIds: [ID] };

describe('services', () => {
  it('well - no problem, and a line that says how late verdicts are', () => {
    expect(serviceProblems(status({}))).toEqual([]);
    expect(servicesLine(status({}))).toBe(
      'correlator: 1 reader, newest verdict 9s ago, 34 ms after its violation; responder: 1 reader, 3 of 3 verdicts of the last hour answered',
    );
    const fresh = status({
      correlator: { newestVerdictAtMs: null, newestVerdictDelayMs: null },
      responder: { due: 0 },
    });
    expect(servicesLine(fresh)).toMatch(/no verdict yet; .*no verdict of the last hour is due/);
  });

  it('nobody reads - is shouted, with the exit code of what cannot be reached', () => {
    expect(correlatorGone(status({ correlator: { readers: 0 } }))).toMatchObject({
      severity: 'shout',
      exitCode: 7,
      text: expect.stringMatching(/nobody reads VIOLATIONS/),
    });
    const gone = responderGone(status({ responder: { readers: 0, ...waiting } }));
    expect(gone).toMatchObject({
      exitCode: 7,
      text: expect.stringMatching(/nobody reads VERDICTS.*1 verdict without/),
    });
  });

  it('verdicts that wait although somebody reads - point at Redis', () => {
    expect(serviceProblems(status({ responder: waiting }))).toMatchObject([
      {
        node: 'responder',
        text: '1 verdict without a response (5f1d3c7a9b, for 45s)',
        remedy: expect.stringMatching(/Redis/),
      },
    ]);
  });

  it('late verdicts - are a warning while they are recent', () => {
    const late = { newestVerdictDelayMs: 20_000 };
    expect(serviceProblems(status({ correlator: late }))).toMatchObject([{ severity: 'warn', exitCode: 0 }]);
    const old = { ...late, newestVerdictAtMs: AT - 3_600_000 };
    expect(serviceProblems(status({ correlator: old }))).toEqual([]);
  });

  it('a verdict without a response - is explained by what is missing, and only when it waits itself', () => {
    expect(whyUnanswered(status({ responder: waiting }))(ID)).toMatch(/^responder: 1 verdict without .*Redis/);
    expect(whyUnanswered(status({ responder: waiting }))('another')).toBe('');
    expect(whyUnanswered(status({ responder: { readers: 0 } }))('another')).toMatch(/nobody reads VERDICTS/);
    expect(whyUnanswered(status({}))(ID)).toBe('');
    expect(whyUnanswered(null)(ID)).toBe('');
  });
});
