import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { BpfProgram } from '../core/bpf-program.ts';
import { BpfError } from '../core/errors.ts';
import { attachNotes, btfHasNetkit, noteRedirections } from './netkit.ts';
import { notePin, programsDir } from './pins.ts';

it.each([
  ['a kernel with the driver', ['netkit', 'netkit_link', 'netkit_peer_dev'], true],
  ['a kernel without it, which names the hooks and has an empty netkit_peer_dev', ['netkit', 'netkit_peer_dev'], false],
  ['a longer name', ['bpf_netkit_link', 'netkit_link_ops'], false],
])('netkit in the BTF of %s', (_, names, expected) => {
  expect(btfHasNetkit(Buffer.from(`\0${names.join('\0')}\0`))).toBe(expected);
});

describe('the program that notes redirections', () => {
  let pinDir: string;
  let open: number;
  let errno: number | null;
  const note = {
    attach() {
      if (errno !== null) throw new BpfError({ operation: 'link.attach', errno });
      open += 1;
      const close = () => {
        open -= 1;
      };
      return { pin: (file: string) => writeFileSync(file, ''), close, [Symbol.dispose]: close };
    },
  } as unknown as BpfProgram;

  beforeEach(() => {
    pinDir = temporaryDirectory();
    mkdirSync(programsDir(pinDir));
    open = 0;
    errno = null;
  });
  const isPinned = () => existsSync(notePin(pinDir));

  it('stays by its pin, also in place of an earlier one; a process that may attach nothing leaves nothing', () => {
    expect([noteRedirections(note, pinDir, false).available, isPinned()]).toEqual([true, false]);
    for (let round = 0; round < 2; round += 1)
      expect([noteRedirections(note, pinDir, true).available, isPinned()]).toEqual([true, true]);
    expect(open).toBe(0);
  });

  it('refused - the feature is missing, with the reason; a passing error and a later refusal are thrown', () => {
    expect(noteRedirections(null, pinDir, true)).toMatchObject({ available: false, errnoName: 'EINVAL' });
    errno = constants.errno.EBUSY;
    expect(noteRedirections(note, pinDir, true)).toMatchObject({ available: false, errnoName: 'EBUSY' });
    expect(() => attachNotes(note, pinDir)).toThrow(/EBUSY/);
    errno = constants.errno.ENOMEM;
    expect(() => noteRedirections(note, pinDir, true)).toThrow(/ENOMEM/);
    expect(isPinned()).toBe(false);
  });
});
