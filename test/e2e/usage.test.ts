// Wrong use and help of the commands as processes: a clear message, the right exit code, and no
// side effects.
import { describe, expect, it } from 'vitest';
import { startBailiff, startDemo } from './support.ts';

const STACK = /^\s+at /m;

describe('usage', () => {
  it.each([
    [['--help'], 0, /^usage: npm run demo/],
    [['--bogus'], 2, /^npm run demo: there is no flag --bogus/],
    [['--cni', 'calico'], 2, /--cni must be bridge or ptp, not "calico"/],
    [['extra'], 2, /no argument "extra"/],
  ] as [string[], number, RegExp][])('demo %j - ends with %d', async (args, code, printed) => {
    const demo = startDemo(...args);
    expect([await demo.ended, demo.out()]).toEqual([code, expect.stringMatching(printed)]);
    expect(demo.out()).not.toMatch(STACK);
  });

  it.each([
    [['down', '--id', 'nope'], /no lab "nope"/],
    [['info', '--id', 'nope'], /no lab "nope"/],
    [['up', '--pods', '100000'], /--pods must be a whole number from 0 to 250/],
    [['up', '--bogus'], /there is no flag --bogus/],
  ] as [string[], RegExp][])('lab %j - ends with 2', async (args, printed) => {
    const lab = startBailiff('lab', ...args);
    expect([await lab.ended, lab.out()]).toEqual([2, expect.stringMatching(printed)]);
    expect(lab.out()).not.toMatch(STACK);
  });
});
