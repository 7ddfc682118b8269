import { BpfError, SpoofError } from '@bailiff/bpf';
import { EXIT } from '@bailiff/service';
import { describe, expect, it } from 'vitest';
import { pinProblem, startProblem } from './pin-problem.ts';

const noEntry = Object.assign(new Error("ENOENT: no such file or directory, scandir '/x/links'"), {
  code: 'ENOENT',
  syscall: 'scandir',
});

describe('pin problems', () => {
  it.each([
    [new SpoofError('ERR_SPOOF_ABI', 'pinned maps are of ABI 3, not 4'), EXIT.dependencyUnreachable, 'detach --all'],
    [new SpoofError('ERR_SPOOF_PINS', 'pinned maps are missing: seen'), EXIT.dependencyUnreachable, 'missing: seen'],
    [new BpfError({ operation: 'map.openPinned', errno: 1 }), EXIT.missingPrivilege, 'as root'],
    [new BpfError({ operation: 'map.openPinned', errno: 2 }), EXIT.dependencyUnreachable, 'try again'],
    [noEntry, EXIT.dependencyUnreachable, '/x/links'],
  ])('%s - one line with a remedy', (error, exit, remedy) => {
    const problem = pinProblem(error, '/x');
    expect(problem?.exit).toBe(exit);
    expect(problem?.message).toContain(remedy);
    expect(problem?.message).not.toContain('\n');
  });
  it.each([
    ['000001c000201000', 'BPF_LOAD'],
    ['0000008000001000', 'SERVICE_PRIVILEGE'],
  ])('load that the verifier rejects, with the capabilities %s - %s', (mask, code) => {
    const refused = new BpfError({ operation: 'object.load', errno: 7 });
    const problem = startProblem(refused, `Name:\tnode\nCapEff:\t${mask}\nCapBnd:\tff\n`);
    expect(problem).toMatchObject({ code });
    if (code === 'SERVICE_PRIVILEGE') expect((problem as Error).message).toContain('CAP_PERFMON');
  });
  it.each([13, 22, 7])(
    'load that the verifier rejects with a reason (errno %i) - the kernel, with its minimum version and the reason',
    (errno) => {
      const verifierLog = "0: R1=ctx()\narg#1 type 'PTR' is not supported\nprocessed 0 insns (limit 1000000)\n";
      const cause = new BpfError({ operation: 'object.load', errno, detail: 'program spoof_ingress', verifierLog });
      const problem = startProblem(cause, 'CapEff:\t000001ffffffffff\n');
      expect(problem).toMatchObject({ code: 'SERVICE_KERNEL', exitCode: EXIT.kernelLacksFeature, cause });
      expect((problem as Error).message).toMatch(/spoof_ingress.*arg#1 type 'PTR' is not supported.*Linux 5\.12/);
      expect((problem as Error).message).not.toContain('\n');
    },
  );
  it('unknown error - unchanged', () => {
    expect(pinProblem(new TypeError('x is undefined'), '/x')).toBeNull();
    expect(pinProblem(null, '/x')).toBeNull();
  });
});
