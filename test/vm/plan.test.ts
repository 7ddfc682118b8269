// What is started and what is read back, without starting anything.
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LINE_MARK, readLines, type TestLine } from './lines.ts';
import { jobScript, kernelCommandLine, quote, virtiofsdArguments } from './plan.ts';

const plan = {
  kernel: { name: 'k', release: '6.12.1', dir: '/cache/k', image: '/cache/k/boot/vmlinuz-6.12.1' },
  repo: '/repo',
  dir: '/tmp/job',
  kernelArgs: ['preempt=full'],
};

describe('virtual machine plan', () => {
  it('words - sh reads back what was given', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string().filter((s) => !s.includes('\0')),
          { minLength: 1, maxLength: 8 },
        ),
        (words) => {
          const script = `printf '%s\\0' ${words.map(quote).join(' ')}`;
          expect(execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1)).toEqual(words);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('job - passes the environment that is meant to pass, and no other', () => {
    const script = jobScript(['a b', '$c'], plan, {
      CI: '1',
      BAILIFF_X: 'y z',
      AWS_SECRET: 'no',
      VITEST_WORKER_ID: undefined,
    });
    expect(script).toContain("export CI=1\nexport BAILIFF_X='y z'\n");
    expect(script).not.toContain('AWS_SECRET');
    expect(script).not.toContain('VITEST');
    expect(script).toMatch(/\ncd \/repo\n'a b' '\$c'\n$/);
  });

  it('kernel - bpf among the security modules, own arguments last', () => {
    expect(kernelCommandLine(plan)).toMatch(/ lsm=[a-z,]*\bbpf\b.* preempt=full$/);
  });

  it('shares - the root read-only, the repository not', () => {
    expect(virtiofsdArguments(plan, 'root')).toContain('--readonly');
    expect(virtiofsdArguments(plan, 'repo')).not.toContain('--readonly');
    expect(virtiofsdArguments(plan, 'repo')).toContain('/repo');
  });

  it('lines - read between other output; one that was cut off is left out', () => {
    const line: TestLine = { file: 'f', name: 'n', state: 'passed', note: '', errors: [], durationMs: 1 };
    const text = `${LINE_MARK}${JSON.stringify(line)}`;
    expect(readLines(`noise\n${text}\nmore\n${text}\n${text.slice(0, -4)}`)).toEqual([line, line]);
  });
});
