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
    [new BpfError({ operation: 'map.openPinned', errno: 2 }), EXIT.dependencyUnreachable, 'ask again'],
    [noEntry, EXIT.dependencyUnreachable, '/x/links'],
  ])('%s is one line that says what to do', (error, exit, says) => {
    const problem = pinProblem(error, '/x');
    expect(problem?.exit).toBe(exit);
    expect(problem?.message).toContain(says);
    expect(problem?.message).not.toContain('\n');
  });
  it.each([
    ['000001c000201000', 'BPF_LOAD'],
    ['0000008000001000', 'SERVICE_PRIVILEGE'],
  ])('a load that the verifier refuses, with the capabilities %s, is %s', (mask, code) => {
    const refused = new BpfError({ operation: 'object.load', errno: 7 });
    const told = startProblem(refused, `Name:\tnode\nCapEff:\t${mask}\nCapBnd:\tff\n`);
    expect(told).toMatchObject({ code });
    if (code === 'SERVICE_PRIVILEGE') expect((told as Error).message).toContain('CAP_PERFMON');
  });
  it.each([13, 22, 7])(
    'a load that the verifier gives a reason for (errno %i) is the kernel, with the floor and the reason',
    (errno) => {
      const verifierLog = "0: R1=ctx()\narg#1 type 'PTR' is not supported\nprocessed 0 insns (limit 1000000)\n";
      const cause = new BpfError({ operation: 'object.load', errno, detail: 'program spoof_ingress', verifierLog });
      const told = startProblem(cause, 'CapEff:\t000001ffffffffff\n');
      expect(told).toMatchObject({ code: 'SERVICE_KERNEL', exitCode: EXIT.kernelLacksFeature, cause });
      expect((told as Error).message).toMatch(/spoof_ingress.*arg#1 type 'PTR' is not supported.*Linux 5\.12/);
      expect((told as Error).message).not.toContain('\n');
    },
  );
  it('a bug stays one', () => {
    expect(pinProblem(new TypeError('x is undefined'), '/x')).toBeNull();
    expect(pinProblem(null, '/x')).toBeNull();
  });
});
